"""Outcomes as JSON: each stage's value comes back, and files of other kinds are refused."""

import json
from dataclasses import fields, replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slidemill.core.outcomes import Outcome, read_outcome, write_outcome
from slidemill.core.pyramid import SlideInfo
from slidemill.core.seals import Seal
from slidemill.core.specs import GridSpec
from slidemill.core.stage_facts import (
    FeatureFacts,
    LabelAudit,
    LabelFacts,
    QualitySummary,
    RegionCounts,
    SampleFacts,
    SlideFacts,
    StoreFacts,
    UnreadablePatch,
)
from slidemill.errors import SlidemillError
from tests.examples import examples

NAME = st.text(max_size=8)
COUNT = st.integers(0, 10**12)
NUMBER = st.floats(0, 1e9)
NAMES = st.lists(NAME, max_size=3).map(tuple)
COUNTS = st.dictionaries(NAME, COUNT, max_size=3)
INFO = st.builds(
    SlideInfo,
    vendor=NAME,
    dimensions=st.just(((640, 480), (320, 240))),
    downsamples=st.just((1.0, 2.0)),
    bounds=st.none() | st.just((1, 2, 300, 400)),
    mpp_x=st.none() | NUMBER,
    mpp_y=st.none() | NUMBER,
    objective_power=st.none() | NUMBER,
    background=st.just("ffffff"),
    icc=NAME,
)
FACTS = st.builds(
    SlideFacts, info=INFO, deepzoom_levels=st.none() | COUNT, mpp_source=NAME, file_size=st.none() | COUNT
)
QUALITY = st.builds(
    QualitySummary,
    measured=COUNT,
    counts=st.dictionaries(NAME, st.lists(COUNT, max_size=3).map(tuple), max_size=2),
    focus=st.none() | NUMBER,
    focus_patches=COUNT,
    marked=st.none() | COUNT,
)
SAMPLE = st.builds(
    SampleFacts,
    grid=COUNT,
    patches=COUNT,
    sampling=st.none()
    | st.builds(GridSpec, overlap=COUNT, level=st.none() | COUNT)
    | st.builds(GridSpec, mpp=st.floats(0.1, 9), filter=st.sampled_from(["area", "lanczos"])),
    dropped=COUNTS,
    mask_fingerprint=st.none() | NAME,
    ink_fraction=st.none() | NAME,
    quality=st.none() | QUALITY,
)
REGIONS = st.builds(RegionCounts, within=COUNTS, contested=COUNTS, label_patches=st.none() | COUNT)
AUDIT = st.builds(
    LabelAudit,
    patches=COUNT,
    differing=COUNT,
    pairs=COUNTS,
    examples=st.lists(st.dictionaries(NAME, NAME, max_size=2), max_size=2).map(tuple),
    unreached=COUNT,
    names=COUNTS,
    regions=st.lists(st.fixed_dictionaries({"name": NAME, "box": st.lists(COUNT, max_size=4)}), max_size=2).map(tuple),
)
LABELS = st.builds(
    LabelFacts,
    counts=COUNTS,
    unmapped=NAMES,
    regions=COUNT,
    reach=st.none() | st.tuples(NUMBER, NUMBER),
    notes=NAMES,
    audit=st.none() | AUDIT,
    annotation=NAME,
    annotation_fingerprint=st.none() | NAME,
    unmapped_regions=st.none() | COUNT,
    region_patches=st.none() | COUNT,
    unmapped_patches=st.none() | COUNT,
)
PLACE = dict.fromkeys(("column", "row", "x0", "y0", "width0", "height0"), COUNT)
STORE = st.builds(
    StoreFacts,
    backend=NAME,
    encoding=NAME,
    content=NAME,
    patches=COUNT,
    bytes=st.none() | COUNT,
    files=st.none() | COUNT,
    seconds=st.none() | NUMBER,
    peak_mb=st.none() | NUMBER,
    reader=NAME,
    reader_reason=NAME,
    colour_note=st.none() | NAME,
    unreadable=st.lists(st.builds(UnreadablePatch, patch_id=NAME, reason=NAME, **PLACE), max_size=2).map(tuple),
)
FEATURES = st.builds(
    FeatureFacts,
    name=NAME,
    model=NAME,
    rows=COUNT,
    dim=COUNT,
    dtype=NAME,
    device=NAME,
    source=NAME,
    transform=NAME,
    digest=NAME,
    seconds=st.none() | NUMBER,
    peak_mb=st.none() | NUMBER,
    checks=st.lists(st.fixed_dictionaries({"check": NAME, "checked": COUNT, "message": NAME}), max_size=2).map(tuple),
)
PARTS = {
    **{"facts": FACTS, "sample": SAMPLE, "regions": REGIONS, "labels": LABELS},
    **{"store": STORE, "features": FEATURES},
}
OUTCOMES = st.builds(
    Outcome,
    slide=NAME,
    stage=NAME,
    status=st.sampled_from(["ok", "empty", "failed"]),
    message=NAME,
    path=NAME,
    fingerprint=NAME,
    slide_notes=NAMES,
    warnings=NAMES,
    tables=st.dictionaries(NAME, st.builds(Seal, COUNT, st.just("0" * 32)), max_size=2),
    settings=st.dictionaries(NAME, NAME, max_size=2),
)


def through_json(outcome):
    return Outcome.from_json(json.loads(json.dumps(outcome.to_json())))


@pytest.mark.parametrize("name", ["area", "lanczos"])
def test_outcome_records_only_the_filter_area(name):
    """Outcomes of earlier versions name no filter, and their patches were shrunk by Lanczos."""
    facts = SampleFacts(grid=1, patches=1, sampling=GridSpec(mpp=0.5, filter=name))
    value = Outcome("a", "sample_patches", sample=facts).to_json()
    assert value["details"]["sampling"].get("filter", "none") == ("area" if name == "area" else "none")
    assert Outcome.from_json(value).kept.sampling == GridSpec(mpp=0.5, filter=name)


@pytest.mark.parametrize("name", PARTS)
@examples(50)
@given(data=st.data(), outcome=OUTCOMES)
def test_outcome_of_each_stage_comes_back(name, data, outcome):
    outcome = replace(outcome, **{name: data.draw(PARTS[name])})
    assert through_json(outcome) == outcome


@examples(50)
@given(outcome=OUTCOMES, facts=FACTS, sample=SAMPLE, store=STORE)
def test_store_outcome_keeps_the_sample(outcome, facts, sample, store):
    """The file has one number of patches; the sample's is that of the stored and the unreadable ones."""
    sample = replace(sample, patches=store.patches + len(store.unreadable))
    outcome = replace(outcome, facts=facts, sample=sample, store=store)
    assert through_json(outcome) == outcome
    assert outcome.to_json()["details"]["patches"] == store.patches


def test_strategies_cover_all_fields():
    assert {one.name for one in fields(Outcome)[4:]} == {*PARTS, "path", "fingerprint"} | {
        *("slide_notes", "warnings", "tables", "settings")
    }


DETAILS = {"counts": {"Normal": 3}, "grid": 5, "patches": 3, "warnings": ["pale"]}


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"more": 1}, "unexpected more"),
        ({"message": "twice"}, "unexpected message"),
        ({"facts": {}}, "unexpected facts"),
        ({"mpp_source": "slide"}, "unexpected mpp_source"),
        ({"patches": "3"}, "patches is '3'"),
        ({"patches": True}, "patches is True"),
        ({"patches": None}, "patches is None"),
        ({"counts": [3]}, r"counts is \[3\]"),
        ({"warnings": "pale"}, "warnings is 'pale'"),
        ({"quality": {"measured": 1, "more": 1}}, "quality is"),
        ({"tables": {"patches": {"rows": 1}}}, "tables is"),
        ({"backend": "lmdb", "unreadable": [{"patch_id": "r1_c2"}]}, "unreadable is"),
    ],
)
def test_details_of_another_kind_are_refused(tmp_path, change, words):
    path = tmp_path / "o.json"
    path.write_text(json.dumps({"slide": "a", "stage": "x", "details": DETAILS | change}))
    with pytest.raises(
        SlidemillError, match=rf"o\.json: holds no outcome of a stage \({words}.*remove it and run again"
    ):
        read_outcome(path)


def test_missing_details_are_refused(tmp_path):
    path = tmp_path / "o.json"
    path.write_text(json.dumps({"slide": "a", "stage": "x", "details": {"grid": 5}}))
    with pytest.raises(SlidemillError, match=r"o\.json: .*'patches'.*remove it and run again"):
        read_outcome(path)


def test_written_outcome_is_flat(tmp_path):
    """Earlier versions read ``details`` as one mapping."""
    outcome = Outcome("a", "write_metadata", sample=SampleFacts(grid=5, patches=3), labels=LabelFacts(counts={"A": 3}))
    write_outcome(tmp_path / "o.json", outcome)
    details = json.loads((tmp_path / "o.json").read_text())["details"]
    assert (details["grid"], details["patches"], details["counts"]) == (5, 3, {"A": 3})
