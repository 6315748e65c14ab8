"""Columns of all tables; config/README.md defines each of them."""

from slidemill.core.quality_measures import MEASURES

MEASURE_COLUMNS = tuple(measure.column for measure in MEASURES)

PLACE_COLUMNS = (
    *("patch_id", "slide", "column", "row", "x0", "y0", "width0", "height0"),
    *("level", "downsample", "mpp", "tissue_fraction"),
)
PATCH_COLUMNS = (*PLACE_COLUMNS, *MEASURE_COLUMNS)
DROPPED_COLUMNS = (*PATCH_COLUMNS, "reason")
SLIDE, PATIENT = "slide", "patient"
LABEL, SLIDE_LABEL = "label", "slide_label"
"""The patches' label, and how tables name a sheet's column `label`, which is the slide's."""
LABEL_COLUMNS = (LABEL, "label_name", "label_fraction")
METADATA_COLUMNS = (*PATCH_COLUMNS, *LABEL_COLUMNS)
"""Those that every cohort has; a sheet's own columns follow."""
NEEDED_COLUMNS = (*PLACE_COLUMNS, *LABEL_COLUMNS)
"""Those that readers of metadata need: earlier versions had fewer measures."""
WHOLE_NUMBERS = ("column", "row", "x0", "y0", "width0", "height0", "level")
FRACTIONS = ("downsample", "mpp", "tissue_fraction", *MEASURE_COLUMNS, "label_fraction")
"""Numbers that may be unknown; an unknown one is empty."""

LABEL_NUMBERS = ("regions", "unmapped_regions", "region_patches", "unmapped_patches")
"""Counts of a slide's labels; empty without an annotation."""

SLIDE_COLUMNS = (
    *("slide", "path", "status", "stage", "message", "notes", "warnings"),
    *("grid_patches", "dropped", "ink_fraction", "patches", "unreadable", "annotation", *LABEL_NUMBERS),
    *("reader", "reader_reason", "vendor", "width", "height", "levels", "level_downsamples"),
    *("mpp_x", "mpp_y", "mpp_source", "objective_power", "icc", "bounds", "deepzoom_levels"),
    *("file_size", "fingerprint"),
)
STORE_COLUMNS = ("slide", "backend", "encoding", "patches", "content", "bytes", "files", "seconds", "peak_mb")
FEATURE_COLUMNS = (
    *("slide", "name", "model", "rows", "dim", "dtype", "device", "source", "transform", "digest"),
    *("content", "seconds", "peak_mb"),
)
UNREADABLE_COLUMNS = ("slide", "patch_id", "column", "row", "x0", "y0", "width0", "height0", "reason")
VALIDATION_COLUMNS = ("slide", "backend", "check", "status", "checked", "message")
SLIDE_SOURCE, TILE_SOURCE = "slide", "slide tiles"
"""The `source` of the benchmark that reads the slides themselves, by OpenSlide, and by their tiles."""

BENCHMARK_COLUMNS = (
    *("source", "encoding", "measure", "workers", "cache", "unit", "median", "low", "high", "repeats", "note"),
)

ESTIMATE_COLUMNS = (
    *("backend", "encoding", "quality", "configured", "recommended", "slides", "patches", "sample"),
    *("patch_bytes", "margin", "bytes", "space", "free", "seconds", "cores", "hours", "write", "random", "batches"),
    "note",
)
"""A row per candidate for a store. Sizes are in bytes, `seconds` are those of all jobs that write stores, `hours` those
until all are written and checked on `cores` cores, and `write`, `random` and `batches` are patches per second."""

UNKNOWN = ("", "na", "n/a", "#n/a", "<na>", "nan", "null")
"""Cells of a sheet that mean an unknown value, in lower case."""


def is_unknown(cell: str) -> bool:
    """Return whether a cell of a sheet means an unknown value."""
    return cell.strip().casefold() in UNKNOWN
