"""The report in a real browser: what a reader sees, clicks and prints, and what a name in it cannot do."""

import io
import re
import shutil
import socket
from pathlib import Path

import pytest
from PIL import Image

from tests.browser.conftest import EVIL

pytestmark = pytest.mark.long

SECTIONS = ["summary", "slides", "labels", "audit", "quality", "splits", "pictures", "validation", "benchmark", "run"]
SLIDES = "section:has(#slides) table.sortable >> nth=0"
IMAGES = """async () => {
    const all = [...document.querySelectorAll('img[src]')];
    all.forEach(one => { one.loading = 'eager'; });
    await Promise.allSettled(all.map(one => one.decode()));
    return all.filter(one => !one.naturalWidth).length;
}"""
WIDTH = "async one => { await one.decode(); return one.naturalWidth; }"
CONTRASTS = """() => {
    const parts = text => [...text.match(/[\\d.]+/g).map(Number), 1].slice(0, 4);
    const linear = value => value <= 10 ? value / 255 / 12.92 : ((value / 255 + .055) / 1.055) ** 2.4;
    const lightness = ([red, green, blue]) => {
        return .2126 * linear(red) + .7152 * linear(green) + .0722 * linear(blue);
    };
    const ground = (node) => {
        for (; node; node = node.parentElement) {
            const own = parts(getComputedStyle(node).backgroundColor);
            if (own[3] === 1) return own;
        }
        throw Error('no ground');
    };
    const found = new Map();
    for (const node of document.querySelectorAll('body *')) {
        const said = [...node.childNodes].some(one => one.nodeType === 3 && one.textContent.trim());
        if (!said || !node.checkVisibility() || node.closest('script')) continue;
        const [one, other] = [parts(getComputedStyle(node).color), ground(node)].map(lightness);
        const contrast = (Math.max(one, other) + .05) / (Math.min(one, other) + .05);
        found.set(node.tagName + '.' + node.className, contrast);
    }
    return Object.fromEntries(found);
}"""


def column(page, place):
    return page.locator(SLIDES).locator(f"tbody td:nth-child({place})").all_inner_texts()


def number(text):
    return int(text.replace(",", ""))


def test_every_section_is_there_and_the_navigation_leads_to_it(visit, small):
    page, heard = visit(small)
    assert page.eval_on_selector_all("nav a", "all => all.map(one => one.hash)") == [f"#{name}" for name in SECTIONS]
    for name in SECTIONS:
        assert page.locator(f"h2#{name}").is_visible()
        page.click(f'nav a[href="#{name}"]')
        assert page.url.endswith(f"#{name}")
    # The place where one is stands out, and takes more room.
    page.eval_on_selector_all("nav a", "all => all.forEach(one => one.setAttribute('aria-current', 'true'))")
    widths = page.eval_on_selector_all(
        "nav, nav ul, nav a", "all => all.map(one => [one.scrollWidth, one.clientWidth])"
    )
    assert all(needed <= given for needed, given in widths)
    assert page.evaluate(IMAGES) == 0
    assert heard.elsewhere == []
    assert heard.faults == []


def test_what_is_named_in_the_results_stays_text(visit, small):
    page, heard = visit(small)
    page.click("a.zoom >> nth=0")
    assert page.evaluate("window.ran") is None
    assert page.evaluate("document.scripts.length") == 1
    assert page.locator("[onerror]").count() == 0
    text = page.inner_text("body")
    for section in SECTIONS[1:]:
        assert EVIL in page.locator(f"section:has(#{section})").evaluate("one => one.textContent"), section
    assert "{{ 7*7 }}" in text
    assert heard.faults == []
    assert [url for url in heard.requests if url.startswith("file:")] == [small.as_uri()]


def test_the_policy_lets_no_script_and_no_request_through(visit, small):
    page, _ = visit(small)
    server = socket.create_server(("127.0.0.1", 0))
    server.setblocking(False)
    refused = page.evaluate(
        """place => new Promise(done => {
        const found = new Set();
        document.addEventListener('securitypolicyviolation', event => {
            found.add(event.effectiveDirective);
            if (found.size === 4) done([...found]);
        });
        setTimeout(() => done([...found]), 4000);
        const script = document.createElement('script');
        script.textContent = 'window.ran = 1';
        document.body.append(script);
        document.body.insertAdjacentHTML('beforeend', `<img src="${place}" onerror="window.ran = 1">`);
        fetch(place).catch(() => 0);
    })""",
        f"http://127.0.0.1:{server.getsockname()[1]}/",
    )
    assert set(refused) == {"script-src-elem", "script-src-attr", "img-src", "connect-src"}
    assert page.evaluate("window.ran") is None
    with server, pytest.raises(BlockingIOError):
        server.accept()


def test_numbers_are_sorted_as_numbers_either_way(visit, small):
    page, _ = visit(small)
    table = page.locator(SLIDES)
    for way, reverse in (("ascending", False), ("descending", True)):
        table.locator("th", has_text="patches").get_by_role("button").click()
        seen = [number(text) for text in column(page, 3)]
        assert seen == sorted(seen, reverse=reverse)
        assert max(seen) > 1000 > min(seen)
        assert table.locator("th", has_text="patches").get_attribute("aria-sort") == way
    table.locator("th", has_text="pixels").get_by_role("button").press("Enter")
    widths = [number(text.split(" ")[0]) for text in column(page, 5)]
    assert widths == sorted(widths)
    assert table.locator("[aria-sort]").count() == 1


def test_rows_are_filtered_by_every_word(visit, small):
    page, _ = visit(small)
    box = page.get_by_role("searchbox", name="Filter: Slides", exact=True)
    rows = page.locator(SLIDES).locator("tbody tr")
    assert rows.count() == 12
    box.fill("GONE slide-003")
    assert [row.is_visible() for row in rows.all()].count(True) == 1
    assert page.get_by_text("1 of 12 rows").is_visible()
    box.fill("no such slide")
    assert not any(row.is_visible() for row in rows.all())
    box.fill("")
    assert all(row.is_visible() for row in rows.all())


def test_a_picture_opens_large_and_closes_by_escape(visit, small):
    page, _ = visit(small)
    link = page.locator("a.zoom").first
    link.focus()
    page.keyboard.press("Enter")
    picture = page.locator("dialog[open] img")
    assert picture.is_visible()
    assert picture.evaluate(WIDTH) == 1000
    assert picture.bounding_box()["width"] > link.bounding_box()["width"]
    assert "by label: 90 Normal, 9 " in picture.get_attribute("alt")
    page.keyboard.press("Escape")
    assert page.locator("dialog[open]").count() == 0
    assert link.evaluate("one => one === document.activeElement")


def test_the_page_is_reached_by_keyboard(visit, small):
    page, _ = visit(small)
    page.keyboard.press("Tab")
    skip = page.locator(":focus")
    assert skip.inner_text() == "Skip to the report"
    assert skip.bounding_box()["y"] >= 0
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.id") == "main"


def test_paper_has_all_rows_and_none_of_the_controls(visit, small):
    page, _ = visit(small, color_scheme="dark", viewport={"width": 703, "height": 1000})
    page.get_by_role("searchbox", name="Filter: Slides", exact=True).fill("slide-003")
    page.emulate_media(media="print")
    assert all(row.is_visible() for row in page.locator("tbody tr").all())
    assert not any(one.is_visible() for one in page.locator("nav, .skip, .filter").all())
    assert page.locator("section:has(#benchmark) details td").first.is_visible()
    assert not page.get_by_text("examples", exact=True).first.is_visible()
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    for side in ("Width", "Height"):
        cut = f"all => all.filter(one => one.scroll{side} > one.client{side} + 1).length"
        assert page.eval_on_selector_all(".scroll", cut) == 0
    assert page.evaluate("document.documentElement.scrollWidth") <= 703
    # Plots are drawn by lines. A browser prints no picture that it was to load when it comes into sight.
    assert page.pdf().count(b"/Subtype /Image") >= 4
    assert page.locator(".plot svg").count() == 2


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_text_is_legible_in_both_themes(visit, small, scheme):
    page, _ = visit(small, color_scheme=scheme)
    page.eval_on_selector_all("details", "all => all.forEach(one => { one.open = true; })")
    page.click("a.zoom >> nth=0")
    contrasts = page.evaluate(CONTRASTS)
    assert len(contrasts) > 20
    assert {name: ratio for name, ratio in contrasts.items() if ratio < 4.5} == {}
    ground = [int(one) for one in re.findall(r"\d+", page.evaluate("getComputedStyle(document.body).backgroundColor"))]
    assert max(ground) < 60 if scheme == "dark" else min(ground) > 240


def test_a_telephone_scrolls_down_alone(visit, small):
    page, _ = visit(small, viewport={"width": 390, "height": 844})
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    assert page.locator("nav").is_visible()


def test_without_scripts_the_page_is_whole(visit, small):
    page, heard = visit(small, java_script_enabled=False)
    assert page.locator(SLIDES).locator("tbody tr").count() == 12
    assert all(page.locator(f"h2#{name}").is_visible() for name in SECTIONS)
    assert page.locator("input, th button, dialog[open]").count() == 0
    page.click("a.zoom >> nth=0")
    assert page.locator("figure:target img").is_visible()
    assert heard.faults == []


def test_a_hundred_slides_fit_and_their_large_pictures_are_beside_the_page(visit, large):
    assert large.stat().st_size < 10_000_000
    page, heard = visit(large)
    assert page.evaluate(IMAGES) == 0
    link = page.locator("a.zoom").first
    assert link.locator("img").evaluate("one => one.naturalWidth") < 400
    link.click()
    picture = page.locator("dialog[open] img")
    assert picture.evaluate(WIDTH) == 1000
    assert picture.is_visible()
    assert heard.elsewhere == []
    assert heard.faults == []


def test_a_page_that_was_sent_alone_says_that_the_large_picture_is_not_there(visit, large, tmp_path):
    page, heard = visit(Path(shutil.copy(large, tmp_path)))
    page.click("a.zoom >> nth=0")
    page.get_by_text("is not there").wait_for()
    assert 0 < page.locator("dialog[open] img").evaluate(WIDTH) < 400
    assert heard.elsewhere == []


def colours_of(picture, box):
    """Number of colours in a part of a screenshot."""
    x, y, width, height = (round(box[side]) for side in ("x", "y", "width", "height"))
    return len(picture.crop((x, y, x + width, y + height)).getcolors(1 << 24))


def test_nothing_is_blank_in_a_picture_of_the_whole_page(visit, small):
    page, _ = visit(small)
    picture = Image.open(io.BytesIO(page.screenshot(full_page=True, timeout=60_000))).convert("RGB")
    shown = [one for one in page.locator(".zoom img, .plot svg, table").all() if one.is_visible()]
    assert len(shown) > 10
    assert min(colours_of(picture, one.bounding_box()) for one in shown) > 10


def test_plots_follow_the_theme(visit, small):
    for scheme, is_dark in (("light", False), ("dark", True)):
        page, _ = visit(small, color_scheme=scheme)
        for plot in page.locator(".plot svg").all():
            picture = Image.open(io.BytesIO(plot.screenshot())).convert("L")
            ground = picture.getpixel((4, picture.height // 2))
            assert (ground < 60) == is_dark
            # Its texts and lines stand out.
            assert abs(picture.getextrema()[1 if is_dark else 0] - ground) > 120


def test_tables_show_at_which_edge_they_go_on(visit, small):
    page, _ = visit(small, viewport={"width": 390, "height": 844})
    table = page.locator(".scroll").first
    assert table.evaluate("one => one.scrollWidth > one.clientWidth + 20")

    def edges():
        picture = Image.open(io.BytesIO(table.screenshot())).convert("L")
        middle = picture.height - 30
        return [picture.getpixel((x, middle)) for x in (2, picture.width - 3)]

    left, right = edges()
    assert right < left - 15
    table.evaluate("one => { one.scrollLeft = one.scrollWidth; }")
    left, right = edges()
    assert left < right - 15
