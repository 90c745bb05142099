"""The buttons of every page: the list of chapters, the list of a page's parts, and the search."""

from __future__ import annotations

import pytest

PAGE = "book/layers/linear"


def inside(box: dict[str, float], width: int) -> bool:
    return box["x"] >= 0 and box["x"] + box["width"] <= width + 1


def test_on_a_phone_both_menus_open_close_and_lead_on(visit):
    page, _ = visit(PAGE, width=390, height=844, reduced_motion="reduce")  # what opens does not slide
    chapter = page.get_by_role("link", name="Names into vectors", exact=True)
    assert not chapter.is_visible()
    page.locator(".primary-toggle:visible").click()
    chapter.wait_for(state="visible")
    assert inside(chapter.bounding_box(), 390)
    page.keyboard.press("Escape")
    chapter.wait_for(state="hidden")
    page.locator(".secondary-toggle:visible").click()
    part = page.locator("dialog[open] a", has_text="Bilinear layer").first
    part.wait_for(state="visible")
    page.keyboard.press("Escape")
    page.locator(".primary-toggle:visible").click()
    chapter.click()
    page.wait_for_url("**/embedding.html")


def test_on_a_desktop_the_list_of_chapters_folds_away_and_comes_back(visit):
    page, _ = visit(PAGE, reduced_motion="reduce")
    bar, article = page.locator(".bd-sidebar-primary"), page.locator(".bd-article")
    before = article.bounding_box()
    page.locator(".primary-toggle:visible").click()
    assert bar.bounding_box()["x"] + bar.bounding_box()["width"] <= 1
    assert 0 <= article.bounding_box()["x"] < before["x"]
    page.locator(".primary-toggle:visible").click()
    assert bar.bounding_box()["x"] == 0
    assert article.bounding_box() == before


@pytest.mark.parametrize("width", [1280, 390])
def test_the_search_button_opens_the_search(visit, width):
    page, _ = visit(PAGE, width=width)
    page.locator(".search-button__button:visible").click()
    field = page.locator("input[type=search]:visible")
    field.fill("embedding")
    field.press("Enter")
    page.wait_for_url("**/search.html?q=embedding*")
