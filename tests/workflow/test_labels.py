"""Labels that are not to be trusted, through a whole run: what is refused, what fails, what is said where."""

import csv

import pytest

pytestmark = pytest.mark.long


def rows(path):
    with path.open(newline="", encoding="utf-8") as file:
        return {row["path"]: row for row in csv.DictReader(file)}


def test_untrusted_labels_fail_the_run_and_are_said(project):
    """Names in another case: all patches in regions have label -1, and all checks of the stores pass."""
    project.add("one.svs")
    project.add("bare.svs", seed=2, annotated=False)
    (project.annotations / "bear.xml").write_bytes((project.annotations / "one.xml").read_bytes())
    project.config |= {"stores": {"lmdb": {}}, "labels": {"map": {"Normal": 0, "benign": 1}}}
    refused = project.snakemake()
    assert refused.code != 0
    assert "the configuration is wrong, and nothing has been run" in refused.text
    assert "labels.unannotated is missing: 1 of 2 slides has no annotation: bare.svs" in refused.text
    assert "bear.xml (did you mean bare.svs?)" in refused.text
    assert "  unannotated: skip " in refused.text
    assert not list(project.results.glob("slides/*"))

    project.config["labels"]["unannotated"] = "skip"
    failed = project.snakemake()
    assert failed.code != 0
    assert "1 of 2 slides has no annotation; they are skipped (labels.unannotated: skip): " in failed.text
    assert "the labels cannot be trusted; everything else is done and kept in" in failed.text
    assert failed.text.count("annotations: 1 of 2 files fits no slide: bear.xml (did you mean bare.svs?)") == 1
    warnings = [line for line in failed.text.splitlines() if "slidemill: warning: one" in line]
    assert len(set(warnings)) == len(warnings)
    assert sum("labels.map lacks 'Benign' (did you mean benign?), label -1: " in line for line in warnings) == 1
    table = rows(project.results / "slides.csv")
    assert {path: row["status"] for path, row in table.items()} == {"one.svs": "ok", "bare.svs": "empty"}
    assert "labels.map lacks 'Benign' (did you mean benign?), label -1 [" in table["one.svs"]["warnings"]
    page = (project.results / "report.html").read_text(encoding="utf-8")
    top = page[page.index('<h2 id="summary">') : page.index('<h2 id="slides">')]
    assert "The labels cannot be trusted" in top
    assert "did you mean benign?" in top
    assert 'class="good">passed' not in page
    assert "1 of 2 slides have no annotation and were skipped" in page

    project.config["labels"]["unmapped"] = "ignore"
    ignored = project.snakemake()
    assert ignored.code == 0, ignored.text
    assert ignored.rules == {"render_report", "gate", "all"}
    top = (project.results / "report.html").read_text(encoding="utf-8")
    assert "The labels cannot be trusted" not in top
    assert "passed, with warnings" in top

    # An annotation for the slide that was skipped samples that slide alone.
    (project.annotations / "bear.xml").rename(project.annotations / "bare.svs.xml")
    plan = project.plan()
    assert {slide.split("-")[0] for _, slide in plan.jobs if slide} == {"bare"}
    assert "discover_slides" not in plan.rules
