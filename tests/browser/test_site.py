"""The site in a browser, opened from its folder as `make docs` names it."""

import pytest

from tests.conftest import once, site_at
from tests.project.searches import SEARCHES

pytestmark = pytest.mark.long


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    return once(tmp_path_factory, "a site", site_at)


@pytest.mark.parametrize(("words", "page"), SEARCHES)
def test_search_finds_the_page_that_one_looks_for(site, visit, words, page):
    """It is among the first five results."""
    tab, heard = visit(site / "index.html")
    tab.locator("input.md-search__input").click()
    tab.locator("input.md-search__input").press_sequentially(words)
    tab.locator("a.md-search-result__link").first.wait_for(state="attached")
    tab.locator(f'a.md-search-result__link[href*="{page}"]').first.wait_for(state="attached")
    items = tab.locator("li.md-search-result__item")
    found = [items.nth(place).locator("a").all() for place in range(min(5, items.count()))]
    assert any(page in link.get_attribute("href") for item in found for link in item)
    assert heard.faults == []


def test_search_finds_a_page_without_a_server(site, visit):
    page, heard = visit(site / "index.html")
    page.locator("input.md-search__input").click()
    page.locator("input.md-search__input").press_sequentially("magnification")
    page.locator('a.md-search-result__link[href*="configuration.html"]').first.wait_for(state="attached")
    assert heard.elsewhere == []
    assert heard.faults == []
