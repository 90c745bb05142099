"""The widgets: figures to play with, in a notebook with a kernel and on a page without one."""

from nnvocab.widgets.base import Widget

__all__ = ["Widget"]
