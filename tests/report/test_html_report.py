"""The report's page and pictures."""

import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from shapely.geometry import box

import slidemill
from slidemill.annotations.regions import Annotation, Region
from slidemill.core.columns import ESTIMATE_COLUMNS, SLIDE_COLUMNS, VALIDATION_COLUMNS
from slidemill.core.outcomes import Outcome
from slidemill.core.stage_facts import LabelAudit, LabelFacts, QualitySummary, SampleFacts
from slidemill.report._label_tables import label_table
from slidemill.report.html_report import Pictures, ReportData, render
from slidemill.report.legend import Classes
from slidemill.report.overlay import Outlines, draw_overlay
from slidemill.report.split_summary import FoldSummary, SplitSummary
from slidemill.report.versions import Run
from slidemill.sampling.quality_notes import all_counts

TEMPLATES = Path(slidemill.__file__).parent / "report" / "templates"
EVIL = "<script>alert('x')</script>\"&'"


class Tags(HTMLParser):
    def __init__(self):
        super().__init__()
        self.found = []

    def handle_starttag(self, tag, attrs):
        self.found.append(tag)


def rendered(
    tmp_path, slides, outcomes, validation=(), unmapped="ignore", parameters=None, stored=(), run=None, **more
):
    Image.new("RGB", (8, 8)).save(tmp_path / "o.jpg")
    pictures = {outcome.slide: Pictures(tmp_path / "o.jpg", tmp_path / "o.jpg") for outcome in outcomes}
    labels = {"map": {EVIL: 1}, "unmapped": unmapped}
    versions = {"slidemill": "0", "Python": EVIL}
    run = Run({"labels": labels, **(parameters or {})}, versions, f"snakemake {EVIL}", "today", **(run or {}))
    page = tmp_path / "report.html"
    data = ReportData(
        slides=slides,
        stored=stored,
        validation=validation,
        measured=[],
        outcomes=outcomes,
        label_map={"Normal": 0},
        pictures=pictures,
        run=run,
        **more,
    )
    render(page, data)
    return page.read_text(encoding="utf-8")


def slide_row(**values):
    return {**dict.fromkeys(SLIDE_COLUMNS, ""), "patches": "0", **values}


def test_title_names_folder_date_duration_and_size(tmp_path):
    run = {"folder": "/data/study/results", "seconds": 91.0}
    stored = [{"slide": "a", "backend": "lmdb", "bytes": "103000000"}, {"slide": "b", "backend": "lmdb", "bytes": ""}]
    page = rendered(tmp_path, [slide_row(slide="a", status="ok", patches="7")], [], run=run, stored=stored)
    assert "<title>study/results: 1 slide, 7 patches – slidemill report</title>" in page
    assert "<h1>study/results</h1>" in page
    words = text_of(page)
    assert "slidemill report of today, after a run of 1 min 31 s; the stores take 103 MB" in words
    assert "/data/study/results" in words
    assert "7 patches stored, 103 MB" in words


def test_title_without_folder_duration_and_size(tmp_path):
    words = text_of(rendered(tmp_path, [slide_row(slide="a", status="ok")], []))
    assert words.lstrip().count("slidemill report of today") == 1
    assert "after a run" not in words
    assert "stores take" not in words


def test_slides_are_named_by_path_first(tmp_path):
    outcome = Outcome("a-1f", "write_metadata", labels=LabelFacts(counts={"Fold": 2}, unmapped=["Fold"], notes=["n"]))
    finding = dict.fromkeys(VALIDATION_COLUMNS, "x") | {"slide": "a-1f", "status": "failed", "checked": "1"}
    row = slide_row(slide="a-1f", path="sub/a.svs", status="ok", patches="2", warnings="pale")
    page = rendered(tmp_path, [row], [outcome], [finding])
    assert page.count('>sub/a.svs</a><div class="id">a-1f</div>') == 3
    assert '<h3>sub/a.svs <span class="id">a-1f</span></h3>' in page
    words = text_of(page)
    for told in ("(1 slide: sub/a.svs)", "sub/a.svs: n", "2 patches of sub/a.svs"):
        assert told in words
    assert 'alt="Slide sub/a.svs with its patches by label: 2 Fold"' in page
    # Earlier versions wrote no path.
    assert ">a-1f</a></td>" in rendered(tmp_path, [row | {"path": ""}], [outcome])


CANDIDATES = [
    dict.fromkeys(ESTIMATE_COLUMNS, "")
    | {"backend": "lmdb", "encoding": "zstd", "configured": "yes", "recommended": "yes", "patch_bytes": "5"}
    | {"space": "1700000000", "free": "9e9", "patches": "34120", "slides": "12", "sample": "256", "cores": "4"}
    | {"hours": "0.5", "write": "812", "random": "3100", "batches": "12345"},
    dict.fromkeys(ESTIMATE_COLUMNS, "") | {"backend": "tar", "encoding": "png", "note": EVIL},
]


def test_candidates_are_shown_with_what_was_not_measured(tmp_path):
    page = rendered(tmp_path, [slide_row(slide="a", status="ok", patches="7")], [], candidates=CANDIDATES)
    words = text_of("</style>" + page[page.index("Other backends and encodings") :])
    assert "* lmdb zstd 1.7 GB 30 min 812 3,100 12,345" in words
    assert "Not measured: tar png (&lt;script&gt;" in words
    assert 'id="estimate"' not in page


def test_an_estimate_is_shown_with_its_recommendation(tmp_path):
    page = rendered(tmp_path, [slide_row(slide="a", status="ok", patches="7")], [], estimate=CANDIDATES)
    words = text_of("</style>" + page[page.index('<h2 id="estimate">') :])
    assert "Recommended: lmdb with zstd: 1.7 GB" in words
    assert "stores: {lmdb: {encoding: zstd}}" in words
    assert "for 34,120 patches of 12 slides" in words
    assert "This run has 7 patches" in words
    assert 'href="#estimate"' in page


def test_a_run_without_benchmark_says_so(tmp_path):
    page = rendered(tmp_path, [slide_row(slide="a", status="ok")], [], parameters={"benchmark": False})
    assert "since benchmark is false" in page
    assert "All measurements" not in page


def test_names_stay_text(tmp_path):
    outcome = Outcome(EVIL, "write_metadata", labels=LabelFacts(counts={EVIL: 2}, unmapped=[EVIL], notes=[EVIL]))
    finding = dict.fromkeys(VALIDATION_COLUMNS, EVIL) | {"status": "failed", "checked": "1"}
    rows = [slide_row(slide=EVIL, path=EVIL, status="failed", message=EVIL, stage=EVIL, vendor=EVIL)]
    page = rendered(tmp_path, rows, [outcome], [finding])
    tags = Tags()
    tags.feed(page)
    assert tags.found.count("script") == 1
    (script,) = re.findall(r"<script[^>]*>(.*?)</script>", page, re.DOTALL)
    assert script == (TEMPLATES / "report.js").read_text(encoding="utf-8").rstrip("\n")
    assert page.count("&lt;script&gt;") > 10


def test_nothing_is_asked_of_a_network(tmp_path):
    page = rendered(tmp_path, [slide_row(slide="a", status="ok")], [])
    assert not re.findall(r"https?://", page)


def test_a_cohort_without_a_good_slide_has_a_report(tmp_path):
    failed = Outcome("a", "discover_slides", "failed", "no slide")
    page = rendered(tmp_path, [slide_row(slide="a", status="failed", message="no slide")], [failed])
    assert "No slide was labelled" in page
    assert "no slide" in page


AUDIT = LabelAudit(
    patches=50,
    differing=5,
    pairs={"centre and top_left": 4, "centre and area": 1, "top_left and area": 5},
    examples=[{"patch_id": "r1_c2", "centre": EVIL, "top_left": "Normal", "area": EVIL}],
    unreached=1,
    names={EVIL: 1},
    regions=[{"name": EVIL, "box": [1, 2, 3, 4]}],
)


def text_of(page):
    """The page's words, tags left out."""
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", page.partition("</style>")[2]))


def test_the_audit_tells_of_each_slide_the_most_doubtful_first(tmp_path):
    calm = LabelFacts(counts={"Normal": 50}, regions=7, audit=replace(AUDIT, differing=0, examples=[]))
    outcomes = [
        Outcome("calm", "write_metadata", labels=calm),
        Outcome("doubtful", "write_metadata", labels=replace(calm, counts={"Normal": 1234}, audit=AUDIT)),
        Outcome("bare", "write_metadata", labels=LabelFacts(counts={"Normal": 3}, regions=0)),
    ]
    rows = [
        slide_row(slide=one.slide, status="ok", annotation="" if one.slide == "bare" else "a.xml") for one in outcomes
    ]
    page = rendered(tmp_path, rows, outcomes)
    section = page[page.index('<h2 id="audit">') : page.index('<h2 id="pictures">')]
    words = text_of("</style>" + section)
    assert words.index("doubtful") < words.index("calm")
    assert "1 of 3 slides have no annotation" in words
    assert "bare" in words
    assert "doubtful 50 a sample of 1,234 5 (10.0 %) 4 1 5 1 of 7" in words
    assert "calm 50 0 (0.0 %) 4 1 5 1 of 7" in words
    assert "x 1 to 3, y 2 to 4" in words
    assert "<script" not in section
    for anchor in re.findall(r'href="#(picture-[0-9]+)"', section):
        assert f'id="{anchor}"' in page
    assert 'href="#picture-2">doubtful' in section


def test_labels_are_counted_by_slide():
    outcomes = [
        Outcome("a", "write_metadata", labels=LabelFacts(counts={"Normal": 3, "Fold": 1})),
        Outcome("b", "write_metadata", labels=LabelFacts(counts={"Normal": 4})),
        Outcome("c", "write_metadata", "failed"),
    ]
    table = label_table(outcomes, {"Rare": 1, "Normal": 0})
    assert [(label, name) for label, name, _ in table.labels] == [(1, "Rare"), (0, "Normal"), (-1, "Fold")]
    assert table.rows == {"a": [0, 3, 1], "b": [0, 4, 0]}
    assert table.totals == [0, 7, 1]


def test_an_overlay_draws_the_outlines_of_regions_and_their_holes():
    region = Region("Tumour", box(100, 100, 300, 300).difference(box(160, 160, 240, 240)))
    outlines = Outlines(Annotation((region,)))
    thumbnail = Image.new("RGB", (400, 400), "red")
    picture = np.asarray(draw_overlay(thumbnail, 400, [], classes=Classes({}), outlines=outlines))
    assert (picture[200, 100] == 0).all()
    assert (picture[200, 160] == 0).all()
    assert picture[200, 130].tolist() == [255, 0, 0]


def measured(slide, focus, marked=0):
    counts = {"blur": [0] * 19 + [100], "white_fraction": [100] + [0] * 19}
    summary = QualitySummary(measured=100, counts=counts, focus=focus, focus_patches=90, marked=marked)
    sample = SampleFacts(grid=100, patches=100, quality=summary)
    return Outcome(slide, "write_metadata", sample=sample, labels=LabelFacts(counts={"Normal": 100}))


def test_quality_is_shown_with_what_is_worth_a_look(tmp_path):
    outcomes = [measured("a", 300.0), measured("b", 310.0, marked=40), measured("c", 20.0), measured("d", 290.0)]
    page = rendered(tmp_path, [slide_row(slide=one.slide, status="ok") for one in outcomes], outcomes)
    assert page.count("<svg ") == 1
    assert "pen: 40 of 100 patches have colours of felt pens on them" in page
    assert page.count("focus: ") == 1
    assert "focus: its median blur is 20, and 295 over the slides" in page


def test_without_measures_the_report_has_no_section_for_them(tmp_path):
    plain = Outcome("a", "write_metadata", labels=LabelFacts(counts={"Normal": 3}))
    page = rendered(tmp_path, [slide_row(slide="a", status="ok")], [plain])
    assert 'id="quality"' not in page
    assert page.count("<svg ") == 0


def test_distributions_are_summed_over_the_slides():
    failed = replace(measured("f", 1.0), status="failed")
    sums = all_counts([measured("a", 1.0), measured("b", 1.0), failed, Outcome("plain", "write_metadata")])
    assert sums == {"blur": [0] * 19 + [200], "white_fraction": [200] + [0] * 19}
    assert all_counts([]) == {}


SPLITS = SplitSummary(
    "patient",
    [
        FoldSummary("train", 8, 5, 12345, {"Normal": 12000, EVIL: 345}),
        FoldSummary("test", 2, 1, 50, {"Normal": 50}),
    ],
    "No patient is in two folds.",
    lonely=[f"{EVIL} (fold train)"],
)


def test_splits_are_shown_where_there_are_some(tmp_path):
    rows = [slide_row(slide="a", status="ok")]
    assert 'id="splits"' not in rendered(tmp_path, rows, [])
    page = rendered(tmp_path, rows, [], splits=SPLITS)
    section = page[page.index('<h2 id="splits">') : page.index('<h2 id="pictures">')]
    words = text_of("</style>" + section)
    assert "with the same patient are in the same fold. No patient is in two folds." in words
    assert "train 8 5 12,345 12,000 345" in words
    assert "test 2 1 50 50 0" in words
    assert "<script" not in section
    assert '<p class="warn">Labels in only one fold' in section
    assert "(fold train)" in words
    assert "Labels in only one fold" not in rendered(tmp_path, rows, [], splits=replace(SPLITS, lonely=[]))
    assert "1 label in only one fold" in page[: page.index('<h2 id="slides">')]
    leaking = rendered(tmp_path, rows, [], splits=replace(SPLITS, verdict="It leaks.", leaks=[f"{EVIL} in two folds"]))
    assert "in two folds</li>" in leaking


def test_of_a_name_that_the_map_lacks_twenty_slides_are_named(tmp_path):
    outcomes = [
        Outcome(f"s{number:02}", "write_metadata", labels=LabelFacts(counts={"Fold": 2}, unmapped=["Fold"]))
        for number in range(30)
    ]
    words = text_of(rendered(tmp_path, [slide_row(slide=one.slide, status="ok") for one in outcomes], outcomes))
    assert words.count("2 patches of s") == 20
    assert "2 patches of s19 , and of 10 more slides" in words.replace("s19, and", "s19 , and")


def test_warnings_stand_first_and_nothing_passes_in_green(tmp_path):
    row = slide_row(slide="a", path="a.svs", status="ok", patches="3", warnings=f"pale {EVIL}")
    finding = dict.fromkeys(VALIDATION_COLUMNS, "") | {"slide": "a", "status": "ok", "checked": "3"}
    clean = rendered(tmp_path, [{**row, "warnings": ""}], [], [finding])
    assert '<b class="good">passed</b>' in clean
    page = rendered(tmp_path, [row], [], [finding])
    assert 'class="good"' not in page.replace('class="badge good"', "")
    assert '<span class="badge warn">ok</span>' in page
    assert page.index("One warning") < page.index("slides ok")
    assert '<b class="warn">passed, with warnings</b>' in page
    assert '<b class="good">passed' not in page
    assert '<p class="say good">' not in page
    assert "nothing to check" not in page
    assert EVIL not in page


def test_untrusted_labels_are_told_first(tmp_path):
    """All checks of the stores have passed, and nothing of it is green."""
    numbers = {"regions": "2", "unmapped_regions": "2", "region_patches": "9", "unmapped_patches": "9"}
    warning = "labels.map lacks 'Fold' (did you mean fold?), label -1 [9 patches]"
    rows = [slide_row(slide="a", status="ok", **numbers | {"warnings": warning, "patches": "9"})]
    checks = [dict.fromkeys(VALIDATION_COLUMNS, "") | {"slide": "a", "status": "ok", "checked": "9"}]
    pages = {
        policy: rendered(tmp_path, rows, [], checks, unmapped=policy) for policy in ("fail_if_most", "fail", "ignore")
    }
    for policy, page in pages.items():
        top = page[page.index('<h2 id="summary">') : page.index('<h2 id="slides">')]
        assert ("The labels cannot be trusted" in top) == (policy != "ignore")
        assert 'class="bad">labels failed' in top or policy == "ignore"
        assert 'class="good">passed' not in page
        assert 'class="say good"' not in page
        assert "label -1: 9 patches" in top
    assert "passed, with warnings" in pages["ignore"]


def test_skipped_slides_are_counted(tmp_path):
    rows = [
        slide_row(slide="a", status="ok", patches="9", annotation="a.xml"),
        slide_row(slide="b", status="empty", dropped="unannotated 12"),
    ]
    words = text_of(rendered(tmp_path, rows, []))
    assert "1 of 2 slides have no annotation and were skipped ( labels.unannotated: skip )." in words


def unstored(tmp_path, **more):
    row = slide_row(slide="a", status="ok", patches="7", annotation="a.xml")
    outcome = Outcome("a", "write_metadata", labels=LabelFacts(counts={"Normal": 7}))
    return text_of(rendered(tmp_path, [row], [outcome], parameters={"stores": {}}, **more))


def test_report_without_stores_validates_nothing(tmp_path):
    words = unstored(tmp_path)
    assert "7 patches sampled, none stored" in words
    assert words.count("This run writes no stores (stores: {}), so there is nothing to validate.") == 2
    assert "This run writes no stores (stores: {}), so there is nothing to benchmark." in words
    assert "name a backend, such as stores: {lmdb: {encoding: zstd}}, and run again" in words
    assert "stores {} " in words[words.index("Parameters and versions", 500) :]
    for absent in ("passed", "The store opens", "LMDB", "Cold:", "patches stored"):
        assert absent not in words


def test_report_without_stores_still_says_that_labels_failed(tmp_path):
    row = slide_row(
        slide="a", status="ok", region_patches="5", unmapped_patches="5", unmapped_regions="1", annotation="a.xml"
    )
    words = text_of(rendered(tmp_path, [row], [], unmapped="fail", parameters={"stores": {}}))
    assert "labels failed" in words


@pytest.mark.parametrize(
    ("method", "masked", "slides", "said"),
    [
        ("none", 0, 2, "The tissue filter is off (tissue.method: none): patches without tissue are kept."),
        (
            "none",
            1,
            3,
            "The tissue filter is off for 2 of 3 slides (tissue.method: none): patches without tissue are kept.",
        ),
        ("none", 3, 3, ""),
        ("otsu", 0, 2, ""),
    ],
)
def test_summary_says_that_the_tissue_filter_is_off(tmp_path, method, masked, slides, said):
    facts = [SampleFacts(grid=1, patches=1, mask_fingerprint="f" if one < masked else None) for one in range(slides)]
    outcomes = [Outcome(str(number), "write_metadata", sample=own) for number, own in enumerate(facts)]
    rows = [slide_row(slide=one.slide, status="ok", annotation="a.xml") for one in outcomes]
    page = rendered(tmp_path, rows, outcomes, parameters={"tissue": {"method": method}})
    summary = text_of("</style>" + page[page.index('<h2 id="summary">') : page.index('<h2 id="slides">')])
    assert said in summary
    assert ("filter is off" in summary) == bool(said)
