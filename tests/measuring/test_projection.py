"""Which candidate is recommended."""

import pytest

from slidemill.core.columns import ESTIMATE_COLUMNS
from slidemill.measuring.projection import recommended
from slidemill.report.estimate_table import recommendation_lines


def row(backend, encoding, space, batches, configured=""):
    return {
        "backend": backend,
        "encoding": encoding,
        "patch_bytes": "1",
        "space": str(space),
        "batches": str(batches),
        "free": "1000",
        "configured": configured,
    }


RAW, ZSTD, PNG = row("lmdb", "raw", 400, 9000), row("lmdb", "zstd", 100, 4000), row("tar", "png", 70, 500)
JPEG, COPY = row("lmdb", "jpeg", 20, 3000), row("tar", "source", 20, 3000)


@pytest.mark.parametrize(
    ("rows", "best"),
    [
        ([RAW, ZSTD, PNG, JPEG], ZSTD),
        ([RAW, ZSTD, PNG, JPEG, COPY], COPY),
        ([RAW, PNG], RAW),
        ([RAW, ZSTD | {"space": "2000"}, PNG], RAW),
        ([RAW | {"space": "2000"}, PNG], PNG),
        ([RAW | {"space": "4000"}, PNG | {"space": "2000"}], RAW | {"space": "4000"}),
        ([PNG, JPEG | {"configured": "yes"}], JPEG | {"configured": "yes"}),
        ([ZSTD, row("hdf5", "zstd", 99, 4400)], ZSTD),
        ([ZSTD, row("hdf5", "zstd", 99, 8000)], row("hdf5", "zstd", 99, 8000)),
        ([ZSTD, row("hdf5", "zstd", 99, 4400, "yes")], row("hdf5", "zstd", 99, 4400, "yes")),
        ([row("lmdb", "raw", 400, 900), row("lmdb", "zstd", 100, 300)], row("lmdb", "zstd", 100, 300)),
        ([{"patch_bytes": ""}], None),
        ([], None),
    ],
    ids=[
        "smaller and fast enough",
        "the slide's own tiles",
        "small but slow",
        "does not fit",
        "only what is slow fits",
        "nothing fits",
        "lossy but configured",
        "about as fast: the first",
        "faster and as small",
        "about as fast: the configured one",
        "a slow machine",
        "nothing measured",
        "nothing",
    ],
)
def test_recommended_candidate(rows, best):
    assert recommended(rows, 256) == best


def test_no_store_is_recommended_where_slides_are_fast_enough():
    slides = row("slides", "tiles", 0, 2500)
    assert recommended([PNG, slides], 256) == slides
    assert recommended([row("lmdb", "raw", 400, 90_000), row("slides", "tiles", 0, 1500)], 256)["backend"] == "lmdb"
    filled = {**dict.fromkeys(ESTIMATE_COLUMNS, ""), **{name: str(value) for name, value in slides.items()}}
    text, line = recommendation_lines([filled | {"recommended": "yes"}])
    assert text.startswith("Recommended: no store. Reading the slides gives 2,500 patches per second")
    assert line.strip() == "stores: {}"


def test_lossy_candidates_are_not_recommended_by_themselves():
    assert recommended([JPEG], 256) is None
    assert recommended([JPEG, PNG], 256) == PNG


def test_larger_patches_may_be_read_slower():
    """As many pixels per second keep a model at work."""
    slow = row("lmdb", "png", 50, 600)
    fastest = row("lmdb", "raw", 400, 90_000)
    assert recommended([fastest, slow], 256) == fastest
    assert recommended([fastest, slow], 512) == slow
