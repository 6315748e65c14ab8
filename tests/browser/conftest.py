"""A real Chromium, and reports for it to open."""

import os
import shutil
from dataclasses import dataclass, field

import numpy as np
import pytest
from PIL import Image

from slidemill.core.columns import SLIDE_COLUMNS, UNREADABLE_COLUMNS, VALIDATION_COLUMNS
from slidemill.core.outcomes import Outcome
from slidemill.core.stage_facts import LabelAudit, LabelFacts, QualitySummary, SampleFacts
from slidemill.report.html_report import Pictures, ReportData, render
from slidemill.report.plots import as_svg, benchmark_figure
from slidemill.report.split_summary import FoldSummary, SplitSummary
from slidemill.report.versions import Run

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
BROWSER = os.environ.get("CHROMIUM") or next(filter(None, map(shutil.which, NAMES)), None)
ARGUMENTS = (
    *("--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
)
EVIL = "<script>window.ran=1</script>\"><img src=x onerror=window.ran=1>{{ 7*7 }}'"
RATES = {"lmdb": 26000.0, "hdf5": 21000.0, "slide": 480.0}


@pytest.fixture(scope="session")
def chromium():
    """The browser, for all tests of a process."""
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    if not BROWSER:
        pytest.skip("no browser here: install chromium, or name one in the environment as CHROMIUM")
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=BROWSER, args=ARGUMENTS)
        yield browser
        browser.close()


@dataclass
class Heard:
    """What a page did besides being shown."""

    requests: list = field(default_factory=list)
    faults: list = field(default_factory=list)

    @property
    def elsewhere(self):
        return [url for url in self.requests if not url.startswith(("file:", "data:"))]


@pytest.fixture
def visit(chromium):
    """Open a page in a context of its own: ``(path, **context) -> (page, what it did)``."""
    contexts = []

    def open_page(path, **options):
        contexts.append(chromium.new_context(**{"viewport": {"width": 1280, "height": 900}, **options}))
        page, heard = contexts[-1].new_page(), Heard()
        page.set_default_timeout(5000)
        page.on("request", lambda request: heard.requests.append(request.url))
        page.on("requestfailed", lambda request: heard.faults.append(f"failed: {request.url}"))
        page.on("pageerror", lambda error: heard.faults.append(str(error)))
        page.on("dialog", lambda dialog: (heard.faults.append("a dialog"), dialog.dismiss()))
        page.on("console", lambda one: heard.faults.append(one.text) if one.type in ("error", "warning") else None)
        page.goto(path.as_uri())
        return page, heard

    yield open_page
    for context in contexts:
        context.close()


def picture(path, seed, size=(1000, 760)):
    """A picture as hard to compress as tissue."""
    rng = np.random.default_rng(seed)
    coarse = Image.fromarray(rng.integers(120, 255, (40, 50, 3), np.uint8)).resize(size, Image.Resampling.BICUBIC)
    pixels = np.asarray(coarse) + rng.normal(0, 9, (size[1], size[0], 1))
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(path, quality=85)
    return path


def measured(name):
    blank = {"encoding": "raw", "workers": "2", "cache": "warm", "repeats": "3", "note": name}
    rates = [
        blank
        | {"source": source, "measure": measure, "unit": "patches/s"}
        | dict.fromkeys(("low", "high"), str(rate))
        | {"median": str(rate)}
        for source, rate in RATES.items()
        for measure in ("random", "batches")
    ]
    sizes = [
        blank | {"source": source, "measure": "bytes", "unit": "bytes", "median": "1e6", "low": "", "high": ""}
        for source in ("lmdb", "hdf5")
    ]
    return rates + sizes


def slide_row(slide, number, name):
    status = "failed" if number == 3 else "ok"
    told = {"stage": "store_patches", "message": f"its tile is gone {name}"} if status == "failed" else {}
    facts = {"width": str(900 + 70 * number), "height": "800", "levels": "3", "mpp_x": "0.499", "vendor": name}
    facts |= {
        "objective_power": "20",
        "reader": "tiles",
        "file_size": str(10**7 * (number + 1)),
        "dropped": "tissue 12",
    }
    row = dict.fromkeys(SLIDE_COLUMNS, "") | {"slide": slide, "path": f"{slide}.svs", "status": status}
    patches = str((7 * number) % 12 * 350)
    return row | facts | told | {"patches": patches, "annotation": "a.xml" if number else "", "notes": name}


def labelled(slide, number, name):
    audit = LabelAudit(
        patches=50,
        differing=number % 7,
        pairs={"centre and top_left": 4, "centre and area": 1, "top_left and area": 5},
        examples=[{"patch_id": "r1_c2", "centre": name, "top_left": "Normal", "area": "Normal"}],
        unreached=1,
        names={name: 1},
        regions=[{"name": name, "box": [1, 2, 3, 4]}],
    )
    quality = QualitySummary(
        measured=100,
        counts={"blur": [1] * 20},
        focus=20.0 if number == 5 else 300.0,
        focus_patches=90,
        marked=40 if number == 7 else 0,
    )
    counts = {"Normal": 90 + number, name: 9}
    labels = LabelFacts(counts=counts, regions=7, audit=audit, unmapped=[name], notes=[f"a note {name}"])
    sample = SampleFacts(grid=100, patches=100, quality=quality)
    return Outcome(slide, "write_metadata", sample=sample, labels=labels)


def write_report(folder, slides, name="Tumour"):
    """Write and return the report of so many slides, with pictures of their real size; `name` is said everywhere."""
    figures = folder / "figures"
    files = [picture(figures / f"{seed}.jpg", seed) for seed in range(4)]
    # Not in the slides' ids, which name files: what a page is given is said all the same.
    ids = [f"slide-{number:03} {name}" for number in range(slides)]
    pictures = {slide: Pictures(files[place % 4], files[(place + 1) % 4]) for place, slide in enumerate(ids)}
    fault = dict.fromkeys(VALIDATION_COLUMNS, name) | {
        "slide": ids[3],
        "backend": "lmdb",
        "status": "failed",
        "checked": "5",
    }
    checks = [
        dict.fromkeys(VALIDATION_COLUMNS, "")
        | {"slide": slide, "backend": "lmdb", "check": "opens", "status": "ok", "checked": "9"}
        for slide in ids
    ]
    fold = FoldSummary(name, 8, 5, 1234, {name: 1234})
    leaks, lonely = [f"{name} is in two folds"], [f"{name} (fold {name})"]
    splits = SplitSummary(name, [fold], f"One leak {name}", leaks, lonely)
    broken = [dict.fromkeys(UNREADABLE_COLUMNS, "1") | {"slide": ids[0], "reason": name}]
    data = ReportData(
        slides=[slide_row(slide, number, name) for number, slide in enumerate(ids)],
        stored=[],
        validation=[*checks, fault],
        measured=measured(name),
        outcomes=[labelled(slide, number, name) for number, slide in enumerate(ids)],
        label_map={"Normal": 0},
        pictures=pictures,
        run=Run({"labels": {"map": {name: 1}}}, {"slidemill": "0", "Python": name}, f"snakemake {name}", "today"),
        unreadable=broken,
        splits=splits,
        plot=as_svg(benchmark_figure(measured(name))),
    )
    render(folder / "report.html", data)
    return folder / "report.html"


@pytest.fixture(scope="session")
def small(tmp_path_factory):
    """The report of twelve slides, in whose every text there is a script."""
    return write_report(tmp_path_factory.mktemp("small"), 12, EVIL)


@pytest.fixture(scope="session")
def large(tmp_path_factory):
    """The report of a hundred slides."""
    return write_report(tmp_path_factory.mktemp("large"), 100)
