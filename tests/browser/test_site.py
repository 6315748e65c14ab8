"""The site in a browser, opened from its folder as `make docs` names it."""

import pytest

from tests.conftest import once, site_at

pytestmark = pytest.mark.long


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    return once(tmp_path_factory, "a site", site_at)


def test_search_finds_a_page_without_a_server(site, visit):
    page, heard = visit(site / "index.html")
    page.locator("input.md-search__input").click()
    page.locator("input.md-search__input").press_sequentially("magnification")
    page.locator('a.md-search-result__link[href*="configuration.html"]').first.wait_for(state="attached")
    assert heard.elsewhere == []
    assert heard.faults == []
