"""Exercises of the chapter."""
