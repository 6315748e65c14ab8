"""Document the columns of the tables that a run writes."""

from __future__ import annotations

from collections.abc import Sequence

from slidemill.core.columns import (
    BENCHMARK_COLUMNS,
    ESTIMATE_COLUMNS,
    FEATURE_COLUMNS,
    MEASURE_COLUMNS,
    METADATA_COLUMNS,
    SLIDE_COLUMNS,
    STORE_COLUMNS,
    UNREADABLE_COLUMNS,
    VALIDATION_COLUMNS,
)

Rows = Sequence[tuple[tuple[str, ...], str]]
"""Columns that share a row, and their meaning in Markdown."""

METADATA: Rows = (
    (("patch_id",), "`r<row>_c<column>`, unique within the slide; sorting gives raster order; the key in every store"),
    (("slide",), "the slide's id"),
    (
        ("column", "row"),
        "place in the grid, from 0 at the top left; `x0` and `y0` if `sampling.coordinates` has places on none",
    ),
    (("x0", "y0"), "the patch's first pixel in level-0 pixels, rounded down; negative for some padded patches"),
    (("width0", "height0"), "its extent in level-0 pixels, rounded to the nearest"),
    (("level",), "the native level that is read"),
    (("downsample",), "level-0 pixels per patch pixel"),
    (("mpp",), "µm per patch pixel, the mean of x and y; empty if unknown"),
    (
        ("tissue_fraction",),
        "share of the patch that the tissue mask covers, 0 to 1; empty without a mask. `tissue/<slide>.png` is the "
        "mask of the whole slide",
    ),
    (MEASURE_COLUMNS, "with `quality`, the [measures](#measures-of-quality), else empty"),
    (
        ("label", "label_name"),
        "the label, -1 if `labels.map` lacks the name; the name, `(outside)` for patches outside all regions with "
        "`labels.outside: null`",
    ),
    (
        ("label_fraction",),
        "with `rule: area`, the share of the patch that the regions of its label cover, or, if no label covers enough, "
        "that no region covers, 0 to 1; else empty",
    ),
)
SLIDES: Rows = (
    (("slide", "path"), "the id; the file, relative to `slides`, as written in the sheet"),
    (("status",), "`ok`, `empty` (no patch) or `failed`; in `unfinished/` also `unfinished`"),
    (("stage", "message"), "of a failure"),
    (
        ("notes", "warnings"),
        "remarks on the slide; what may make its labels or patches wrong although all checks passed",
    ),
    (
        ("grid_patches", "dropped"),
        "squares of the grid; how many of them were dropped for which reason, such as `tissue 120`",
    ),
    (
        ("ink_fraction",),
        "share of the slide that its tissue mask excludes as ink, 0 to 1; empty without a mask by `tissue.method`",
    ),
    (("patches", "unreadable"), "patches that remained and were stored; patches that cannot be read"),
    (("annotation", "regions"), "the annotation's file; the number of its regions"),
    (("unmapped_regions",), "regions whose names `labels.map` lacks"),
    (
        ("region_patches", "unmapped_patches"),
        "patches that regions label, with `labels.only` also those that it drops; those of them with label -1",
    ),
    (("reader", "reader_reason"), "the reader of its pixels, and why it was chosen"),
    (
        ("vendor", "width", "height", "levels", "level_downsamples"),
        "from OpenSlide; the size of level 0; downsamples separated by `;`",
    ),
    (("mpp_x", "mpp_y", "mpp_source"), "µm per level-0 pixel; `slide`, `sheet` or `assumed`"),
    (("objective_power",), "from OpenSlide"),
    (("icc",), "description and size of the ICC profile; empty without one"),
    (("bounds",), "`x;y;width;height` in level-0 pixels"),
    (("deepzoom_levels",), "number of DeepZoom levels"),
    (("file_size", "fingerprint"), "bytes; digest of samples of the content"),
)
UNREADABLE: Rows = (
    (("slide", "patch_id", "column", "row", "x0", "y0", "width0", "height0"), "as in `metadata.csv`"),
    (("reason",), "why the patch cannot be read"),
)
STORES: Rows = (
    (("slide", "backend", "encoding", "patches"), "which store it is, and its number of patches"),
    (
        ("content",),
        "a digest of the patches and of how they were sampled, by which `open_dataset` recognizes the store",
    ),
    (("bytes", "files"), "its size on disk"),
    (("seconds", "peak_mb"), "time and peak memory of its job, pages of mapped files included"),
)
FEATURES: Rows = (
    (("slide", "name", "model"), "the slide; the name of the features and their model, as in the configuration"),
    (("rows", "dim"), "number of patches, and of values for each; 0 for a slide without patches"),
    (("dtype", "device"), "the type that the model computed in, and where"),
    (("source",), "the backend of the store that was read, or `slides`"),
    (("transform",), "how pixels became the model's input"),
    (("digest",), "the digest (XXH3-128) of the file"),
    (("content",), "the digest of its rows; datasets refuse files with another one"),
    (("seconds", "peak_mb"), "time of reading and embedding, without loading the model; peak memory of the job"),
)
VALIDATION: Rows = (
    (("slide", "backend"), "the store; `all` for checks across backends, `features/<name>` for those of features"),
    (("check",), "see below"),
    (("status",), "`ok` or `failed`"),
    (("checked",), "number of patches that were checked"),
    (("message",), "of a failure"),
)
BENCHMARK: Rows = (
    (("source", "encoding"), "a backend; `slide tiles` or `slide`: the slides themselves, by tiles or by OpenSlide"),
    (
        ("measure",),
        "`bytes`, `files`, `write` seconds and peak `write memory` of the stores' jobs, summed from `stores.csv`; "
        "`sequential`, `random`, `batches`",
    ),
    (("workers",), "0: one process; else the number of processes that assemble batches of 32"),
    (("cache",), "`cold`: the pages of the files are dropped from the page cache first; `warm`"),
    (
        ("unit", "median", "low", "high", "repeats", "note"),
        "the figure; empty, with a note, without time to measure it",
    ),
)
ESTIMATE: Rows = (
    (("backend", "encoding", "quality"), "the candidate; the quality only of `jpeg`; `slides`: without a store"),
    (("configured", "recommended"), "whether `stores` has it; whether it is recommended"),
    (("slides", "patches", "sample"), "slides and patches of the cohort; patches that were measured"),
    (("patch_bytes", "margin"), "mean bytes of a patch; twice its standard error, as a share of it"),
    (
        ("bytes", "space", "free"),
        "bytes of all patches; bytes that all stores take on the disk; free bytes of the disk",
    ),
    (
        ("seconds", "cores", "hours"),
        "seconds of all jobs that write stores; cores; hours until all are written and checked",
    ),
    (("write", "random", "batches"), "patches per second, written, read at random and read in shuffled batches"),
    (("note",), "why it was not measured"),
)
TABLES: dict[str, tuple[tuple[str, ...], Rows]] = {
    "metadata.csv": (METADATA_COLUMNS, METADATA),
    "slides.csv": (SLIDE_COLUMNS, SLIDES),
    "unreadable.csv": (UNREADABLE_COLUMNS, UNREADABLE),
    "stores.csv": (STORE_COLUMNS, STORES),
    "features.csv": (FEATURE_COLUMNS, FEATURES),
    "validation.csv": (VALIDATION_COLUMNS, VALIDATION),
    "benchmark.csv": (BENCHMARK_COLUMNS, BENCHMARK),
    "estimate.csv": (ESTIMATE_COLUMNS, ESTIMATE),
}
"""Columns of each table, as they are written, and their documentation."""


def column_table(name: str) -> str:
    """Return the documentation of a table's columns in Markdown.

    Raises
    ------
    ValueError
        When other columns are documented than the table has, or in another order.
    """
    columns, rows = TABLES[name]
    documented = tuple(column for group, _ in rows for column in group)
    if documented != columns:
        raise ValueError(f"{name}: columns {columns}, documented {documented}: edit _column_reference.py")
    lines = [f"| {', '.join(f'`{column}`' for column in group)} | {text} |" for group, text in rows]
    return "\n".join(["| column | meaning |", "|---|---|", *lines, ""])
