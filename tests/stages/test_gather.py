"""The cohort's tables, made of what the stages report."""

import pytest

from slidemill.core.columns import SLIDE_COLUMNS, STORE_COLUMNS, UNREADABLE_COLUMNS
from slidemill.core.csv_tables import read_table
from slidemill.core.outcomes import Outcome
from slidemill.core.pyramid import SlideInfo
from slidemill.core.results_layout import CohortTables
from slidemill.core.stage_facts import LabelFacts, SampleFacts, SlideFacts, StoreFacts, UnreadablePatch
from slidemill.stages.gather import SlideResults, slide_row, write_cohort

INFO = SlideInfo("aperio", ((640, 480), (320, 240)), (1.0, 2.0), (1, 2, 3, 4), 0.5, 0.25, 20.0, "ffffff", "sRGB")
KNOWN = {
    "path": "a.svs",
    "fingerprint": "f",
    "facts": SlideFacts(info=INFO, deepzoom_levels=3, mpp_source="slide", file_size=9),
    "sample": SampleFacts(grid=5, patches=4, dropped={"blur": 1}, ink_fraction="0.1"),
    "slide_notes": ("pale",),
}
LABELS = LabelFacts(
    counts={"A": 4}, regions=2, annotation="a.xml", unmapped_regions=0, region_patches=3, unmapped_patches=1
)
LABELLED = Outcome("a", "write_metadata", labels=LABELS, **KNOWN)
BAD = UnreadablePatch(patch_id="r1_c1", column=1, row=1, x0=8, y0=8, width0=8, height0=8, reason="a broken tile")


def stored(backend, **facts):
    known = {"encoding": "raw", "content": "c", "patches": 3, "bytes": 7, "files": 1, "seconds": 1.5, "peak_mb": 2.0}
    store = StoreFacts(backend=backend, reader="tiles", reader_reason="they are equal", **known | facts)
    return Outcome("a", "store_patches", store=store, **KNOWN)


def test_slide_row_has_what_the_stages_report():
    row = slide_row(SlideResults(LABELLED, [stored("lmdb", colour_note="no profile"), stored("hdf5")]), [], False)
    assert row == {
        **{"slide": "a", "path": row["path"], "status": "ok", "stage": "", "message": "", "notes": "pale; no profile"},
        **{"warnings": "", "grid_patches": 5, "dropped": "blur 1", "ink_fraction": "0.1", "patches": 3},
        **{"unreadable": 0, "annotation": "a.xml", "regions": 2, "unmapped_regions": 0, "region_patches": 3},
        **{"unmapped_patches": 1, "reader": "tiles", "reader_reason": "they are equal", "vendor": "aperio"},
        **{"width": 640, "height": 480, "levels": 2, "level_downsamples": "1;2", "mpp_x": 0.5, "mpp_y": 0.25},
        **{"mpp_source": "slide", "objective_power": 20.0, "icc": "sRGB", "bounds": "1;2;3;4", "deepzoom_levels": 3},
        **{"file_size": 9, "fingerprint": "f"},
    }
    assert row.keys() == set(SLIDE_COLUMNS)
    assert str(row["path"]) == "a.svs"


@pytest.mark.parametrize(("skip", "patches", "status"), [(True, 3, "ok"), (True, 0, "failed"), (False, 3, "failed")])
def test_unreadable_patches_fail_a_slide_unless_skipped(skip, patches, status):
    later = [stored("lmdb", unreadable=(BAD,), patches=patches)]
    row = slide_row(SlideResults(LABELLED, later), [], skip)
    assert (row["status"], row["unreadable"]) == (status, 1)
    assert ("a broken tile" in row["message"]) == (status == "failed")


def test_slide_that_was_not_opened_has_a_row():
    failed = Outcome("a", "discover_slides", "failed", "a.svs: is truncated", path="a.svs", fingerprint="f")
    row = slide_row(SlideResults(failed, [failed]), [], False)
    assert (row["status"], row["stage"], row["message"], row["patches"]) == (
        *("failed", "discover_slides", "a.svs: is truncated", 0),
    )


def test_tables_of_stores_and_unreadable_patches(tmp_path):
    tables = CohortTables.below(tmp_path)
    later = [stored("lmdb", unreadable=(BAD,)), stored("hdf5", unreadable=(BAD,))]
    write_cohort([SlideResults(LABELLED, later)], True, tables)
    stores = list(read_table(tables.stores, STORE_COLUMNS))
    assert [(row["backend"], row["patches"], row["seconds"]) for row in stores] == [
        *(("lmdb", "3", "1.5"), ("hdf5", "3", "1.5")),
    ]
    (row,) = read_table(tables.unreadable, UNREADABLE_COLUMNS)
    assert row == {name: "a" if name == "slide" else str(getattr(BAD, name)) for name in UNREADABLE_COLUMNS}
