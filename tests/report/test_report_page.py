"""What the report's page is made of: the pictures that it has room for, its first words, its colours."""

import base64
import io
import re
from functools import partial
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import slidemill
from slidemill.core.columns import SLIDE_COLUMNS
from slidemill.core.outcomes import Outcome
from slidemill.core.stage_facts import LabelFacts
from slidemill.errors import SlidemillError
from slidemill.report import html_report
from slidemill.report._advice import advice, claim, recommendation
from slidemill.report._embedded_images import LONGEST, embed_pictures
from slidemill.report._summary import ConcernCounts, concerns, verdict
from slidemill.report.plots import as_svg, benchmark_figure, inline_svg
from slidemill.report.versions import Run

pytestmark = pytest.mark.cases

STYLE = (Path(slidemill.__file__).parent / "report" / "templates" / "report.css").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """Two pictures for each of five slides, of some 100 kB each."""
    folder = tmp_path_factory.mktemp("figures")
    found = {}
    for number in range(5):
        found[f"s{number}"] = (folder / f"o%{number}#.jpg", folder / f"m{number}.jpg")
        for file in found[f"s{number}"]:
            noise = np.random.default_rng(number).integers(0, 255, (300, 400, 3), np.uint8)
            Image.fromarray(noise).resize((800, 600)).save(file)
    return found


def decoded(shown):
    return Image.open(io.BytesIO(base64.b64decode(shown.url.partition(",")[2])))


def test_pictures_are_held_as_they_are_where_they_fit(files):
    shown = embed_pictures(files, files, files["s0"][0].parent)
    assert list(shown) == list(files)
    for slide, own in shown.items():
        for one, file in zip(own, files[slide], strict=True):
            assert base64.b64decode(one.url.removeprefix("data:image/jpeg;base64,")) == file.read_bytes()
            assert (one.width, one.height, one.large) == (800, 600, "")


def test_else_small_ones_of_those_first_that_fit(files):
    folder = files["s0"][0].parent
    everything = embed_pictures(files, files, folder, budget=10**6)
    sizes = [len(base64.b64decode(one.url.partition(",")[2])) for own in everything.values() for one in own]
    assert sum(sizes) < 10**6 < sum(file.stat().st_size for own in files.values() for file in own)
    some = embed_pictures(files, ["s3", "s1", "s0", "s2", "s4"], folder, budget=5 * max(sizes))
    assert list(some) == ["s1", "s3"]
    overlay, montage = some["s3"]
    assert decoded(overlay).size == (overlay.width, overlay.height)
    assert max(overlay.width, overlay.height) <= LONGEST
    assert overlay.width * 3 == overlay.height * 4
    assert (overlay.large, montage.large) == ("o%253%23.jpg", "m3.jpg")
    assert embed_pictures(files, files, folder / "unfinished", budget=10**6)["s0"][1].large == "../m0.jpg"


def test_a_picture_that_is_none_is_named(files, tmp_path):
    (tmp_path / "a.jpg").write_text("no picture")
    for budget in (10**6, 1):
        with pytest.raises(SlidemillError, match=r"a\.jpg: this picture cannot be read .* remove it and run again"):
            embed_pictures({"a": (tmp_path / "a.jpg",)}, ["a"], tmp_path, budget=budget)


def rendered(folder, files, **more):
    slides = [dict.fromkeys(SLIDE_COLUMNS, "") | {"slide": slide, "status": "ok", "patches": "9"} for slide in files]
    outcomes = [Outcome(slide, "write_metadata", labels=LabelFacts(counts={"Normal": 8, "Fold": 1})) for slide in files]
    pictures = {slide: html_report.Pictures(*own) for slide, own in files.items()}
    page = folder / "report.html"
    data = html_report.ReportData(
        slides=slides,
        stored=[],
        validation=[],
        measured=[],
        outcomes=outcomes,
        label_map={"Normal": 0},
        pictures=pictures,
        run=Run({}, {"slidemill": "0"}, "", "today"),
    )
    html_report.render(page, data)
    return page.read_text(encoding="utf-8")


def test_what_the_page_has_no_room_for_is_linked(files, monkeypatch):
    folder = files["s0"][0].parent
    monkeypatch.setattr(html_report, "embed_pictures", partial(embed_pictures, budget=200_000))
    page = rendered(folder, files)
    held = page.count("data:image/jpeg")
    assert 0 < held < 10
    assert held % 2 == 0
    assert f"room for pictures of {held // 2} slides" in page
    assert re.findall(r'id="(picture-\d)"', page) == [f"picture-{number}" for number in range(1, 6)]
    assert '<li id="picture-5">s4: <a href="o%254%23.jpg">slide</a>, <a href="m4.jpg">patches</a>' in page
    # From the table of slides, and from that of labels.
    assert page.count('href="#picture-5"') == 2


def test_every_picture_has_its_size_and_says_what_it_shows(files):
    page = rendered(files["s0"][0].parent, files)
    images = re.findall(r"<img [^>]+>", page)
    assert len(images) == 10
    for image in images:
        assert 'width="800" height="600" decoding="sync"' in image
    assert 'alt="Slide s0 with its patches by label: 8 Normal, 1 Fold"' in page


def test_the_same_results_give_the_same_page(files, tmp_path):
    folder = files["s0"][0].parent
    assert rendered(folder, files) == rendered(folder, files)


def test_the_verdict_is_said_in_words():
    fine = [{"slide": "a", "status": "ok"}] * 3
    assert verdict(fine) == "All 3 checks of the stores passed."
    assert verdict([*fine, {"slide": "b", "status": "failed"}]) == "1 of 4 checks failed, in 1 slide."
    assert verdict([]) == "No store was checked."


def test_what_is_worth_a_look_is_counted_the_worst_first():
    slides = [{"status": state} for state in ("ok", "failed", "failed", "empty")]
    found = concerns(slides, ConcernCounts(wrong=1, unreadable=1, unannotated=2, unmapped=1, doubtful=1, leaks=3))
    assert [(one.text, one.section) for one in found] == [
        ("2 slides failed", "slides"),
        ("1 check of the stores failed", "validation"),
        ("3 leaks between the folds of the splits", "splits"),
        ("1 slide gave no patch", "slides"),
        ("1 patch cannot be read", "slides"),
        ("1 name in annotations that labels.map lacks", "audit"),
        ("2 slides without an annotation", "audit"),
        ("1 slide with a note on sharpness or ink", "quality"),
    ]
    assert [one.kind for one in found] == ["bad"] * 3 + ["warn"] * 5
    assert concerns([{"status": "ok"}], ConcernCounts()) == []


def test_doubtful_labels_are_worth_a_look():
    found = concerns([{"status": "ok"}], ConcernCounts(lonely=2, untrusted=1))
    assert [(one.kind, one.text, one.section) for one in found] == [
        ("bad", "the labels cannot be trusted", "audit"),
        ("warn", "2 labels in only one fold", "splits"),
    ]


def rates(values, measure="batches"):
    blank = {"encoding": "raw", "workers": "2", "cache": "warm", "unit": "patches/s", "measure": measure}
    return [
        blank | {"source": source, "median": str(value), "low": str(value), "high": str(value)}
        for source, value in values.items()
    ]


def test_the_advice_is_one_sentence_that_names_what_the_recommendation_does():
    rows = rates({"lmdb": 1000, "hdf5": 950, "slide": 100})
    assert advice(rows) == (
        "Train from lmdb (raw): 1,000 patches per second in shuffled batches on this machine, "
        "about 10 times as fast as reading the slides."
    )
    assert "train from lmdb (raw)" in recommendation(rows)
    assert advice([]) == recommendation([])


@pytest.mark.parametrize(("rate", "words"), [(11_000, "about 110 times"), (136_000, "about 1,400 times")])
def test_advice_times_are_in_words(rate, words):
    """Two significant digits, and never 1.1e+02."""
    rows = rates({"lmdb": rate, "slide": 100})
    for sentence in (advice(rows), recommendation(rows), claim(rows)):
        assert "e+" not in sentence
    assert f", {words} as fast as reading the slides." in advice(rows)
    assert f"so a store is {words} as fast" in recommendation(rows)


def sized(values, sizes, cache="warm"):
    rows = [row | {"cache": cache} for row in rates(values)]
    blank = {"encoding": "raw", "workers": "", "cache": "", "unit": "bytes", "measure": "bytes"}
    return rows + [blank | {"source": source, "median": str(size)} for source, size in sizes.items()]


def test_stores_beyond_the_memory_are_compared_by_the_cold_cache():
    """A large store that is fastest in memory never is in memory."""
    sizes = {"lmdb": 40e9, "hdf5": 9e9}
    rows = sized({"lmdb": 9000, "hdf5": 3000, "slide": 30}, sizes) + sized(
        {"lmdb": 400, "hdf5": 300, "slide": 10}, {}, "cold"
    )
    for memory in (None, 64 * 10**9):
        assert "train from lmdb (raw): 9,000 patches" in recommendation(rows, memory)
        assert "On first reading, from the disk: lmdb (raw) 400, hdf5 (raw) 300" in recommendation(rows, memory)
    small = recommendation(rows, 16 * 10**9)
    assert "train from hdf5 (raw): 3,000 patches" in small
    assert "The other stores give: lmdb (raw) 400." in small
    assert "memory of 16 GB cannot hold lmdb (raw) (40 GB)" in small
    assert "Train from hdf5 (raw): 3,000 patches" in advice(rows, 16 * 10**9)
    tiny = recommendation(rows, 10**9)
    assert "train from lmdb (raw): 400 patches" in tiny
    assert "slides themselves give 10, so a store is about 40 times as fast" in tiny
    assert "read from the disk since the store exceeds the memory" in advice(rows, 10**9)


def test_claim_says_that_encodings_differ():
    rows = [row | {"workers": "0"} for row in rates({"lmdb": 500, "hdf5": 7000}, "random")]
    assert claim(rows).endswith("Decoding is included.")
    rows[0]["encoding"] = "zstd"
    assert "is not true" in claim(rows)
    assert claim(rows).endswith("Decoding is included; the encodings differ.")


def test_legend_of_the_plot_hides_no_point():
    figure = benchmark_figure(rates({"lmdb": 1000, "slide": 100}))
    figure.draw_without_rendering()
    (legend,) = figure.legends
    box = legend.get_window_extent()
    assert not any(box.overlaps(panel.get_tightbbox()) for panel in figure.axes)


def test_a_disturbed_repeat_makes_no_slow_store_equal():
    rows = [
        row | {"low": "10", "high": "9000"} if row["source"] == "lmdb" else row
        for row in rates({"lmdb": 6000, "disk": 300})
    ]
    assert "train from lmdb (raw): 6,000" in recommendation(rows)
    assert "within the spread" not in recommendation(rows)


def test_least_space_is_that_of_the_fastest():
    rows = sized({"lmdb": 1000, "hdf5": 990, "tar": 980, "disk": 100}, {"lmdb": 9, "hdf5": 8, "tar": 7, "disk": 1})
    assert "lmdb (raw) and hdf5 (raw) are as fast within the spread" in recommendation(rows)
    assert "tar takes the least space of these." in recommendation(rows)


def test_plots_are_in_the_page_in_its_colours():
    svg, again = (
        inline_svg(as_svg(benchmark_figure(rates({"lmdb": 1000, "slide": 100}))), 'a "plot" <of> rates')
        for _ in range(2)
    )
    assert svg == again
    assert 'aria-label="a &quot;plot&quot; &lt;of&gt; rates"' in svg
    assert ">lmdb (raw)</text>" in svg
    for named in ("var(--paper)", "currentColor"):
        assert named in svg
    for absent in ("#ffffff", "#000000", "http", "xlink", "<style", "<metadata", "<script", 'id="figure'):
        assert absent not in svg
    assert svg.endswith("</svg>\n")


@pytest.mark.parametrize("low", [1, 1900])
@pytest.mark.parametrize("factor", [1, 2, 4, 9, 15, 60, 4000])
def test_the_numbers_on_the_plots_axes_lie_apart(low, factor):
    rows = [*rates({"lmdb": low * factor, "slide": low}, "random"), *rates({"lmdb": low}), *rates({"lmdb": low}, "x")]
    figure = benchmark_figure(rows)
    figure.draw_without_rendering()
    for panel in figure.axes[:-1]:
        labels = [*panel.get_xticklabels(), *panel.get_xticklabels(minor=True)]
        boxes = [one.get_window_extent() for one in labels if one.get_text()]
        limits = panel.get_window_extent()
        seen = sorted((box.x0, box.x1) for box in boxes if limits.x0 <= (box.x0 + box.x1) / 2 <= limits.x1)
        assert len(seen) >= 1
        assert all(one[1] + 2 <= other[0] for one, other in pairwise(seen))


def lightness(colour):
    values = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    linear = [value / 12.92 if value <= 0.04045 else ((value + 0.055) / 1.055) ** 2.4 for value in values]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one, other):
    light, dark = sorted((lightness(one), lightness(other)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_colours_of_text_have_the_contrast_of_wcag_aa(theme):
    plain, dark = (dict(re.findall(r"--([\w-]+): (#\w{6})", part)) for part in STYLE.split("@media", 2)[:2])
    colours = plain | dark if theme == "dark" else plain
    assert contrast("#000000", "#ffffff") == pytest.approx(21)
    for ground in ("paper", "soft"):
        for text in ("ink", "quiet", "accent", "good", "bad", "warn"):
            assert contrast(colours[text], colours[ground]) >= 4.5, (text, ground)
    for kind in ("good", "bad", "warn"):
        for text in (kind, "ink", "accent"):
            assert contrast(colours[text], colours[f"{kind}-soft"]) >= 4.5, (text, kind)
