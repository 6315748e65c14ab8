"""An estimate in words."""

from slidemill.core.columns import ESTIMATE_COLUMNS
from slidemill.report.estimate_table import describe_estimate, yaml_line


def row(backend, encoding, space, **more):
    measured = {
        "patch_bytes": "1000",
        "space": str(space),
        "free": "10000000000",
        "patches": "34120",
        "slides": "12",
        "sample": "256",
        "cores": "4",
        "hours": "0.5",
        "write": "812.3",
        "random": "3100.2",
        "batches": "12345.6",
    }
    return dict.fromkeys(ESTIMATE_COLUMNS, "") | {"backend": backend, "encoding": encoding} | measured | more


ROWS = [
    row("lmdb", "zstd", 1_700_000_000, configured="yes", recommended="yes"),
    row("lmdb", "raw", 6_800_000_000),
    row("tar", "png", 0, patch_bytes="", note="not measured: no time was left"),
]


def test_an_estimate_is_a_table_with_one_recommendation(tmp_path):
    lines = describe_estimate(ROWS, tmp_path).splitlines()
    assert lines[0] == "slidemill estimate: 34,120 patches of 12 slides, measured on a sample of 256"
    assert lines[3].split() == ["*", "lmdb", "zstd", "1.7", "GB", "30", "min", "812", "3,100", "12,346"]
    assert len({len(line) for line in lines[2:5]}) == 1
    assert "on 4 cores" in lines[6]
    assert lines[7] == "Not measured: tar png (no time was left)."
    assert lines[8].startswith(f"Free at {tmp_path}: ")
    assert lines[9] == (
        "Recommended: lmdb with zstd: 1.7 GB, a factor of 4 less than raw, and 12,346 patches per second in shuffled "
        "batches."
    )
    assert lines[10] == "  stores: {lmdb: {encoding: zstd}}"


def test_a_recommendation_that_does_not_fit_says_so(tmp_path):
    text = describe_estimate([ROWS[0] | {"free": "1000"}], tmp_path)
    assert "It does not fit on this disk" in text


def test_an_estimate_without_patches_is_a_sentence(tmp_path):
    assert "no slide has a patch to store" in describe_estimate([ROWS[0] | {"patches": "0"}], tmp_path)
    assert "no slide has a patch to store" in describe_estimate([], tmp_path)


def test_the_line_of_yaml_has_the_quality_of_jpeg():
    line = yaml_line(row("tar", "jpeg", 1, quality="90"))
    assert line == "stores: {tar: {encoding: jpeg, quality: 90}}"
