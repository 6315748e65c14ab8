"""The columns of all tables; config/README.md says what each means."""

PATCH_COLUMNS = (
    "patch_id",
    "slide",
    "column",
    "row",
    "x0",
    "y0",
    "width0",
    "height0",
    "level",
    "downsample",
    "mpp",
    "tissue_fraction",
    "blur",
    "mean_saturation",
    "white_fraction",
    "black_fraction",
)
DROPPED_COLUMNS = (*PATCH_COLUMNS, "reason")
METADATA_COLUMNS = (*PATCH_COLUMNS, "label", "label_name", "label_fraction")
"""Those that every cohort has; a sheet's own columns follow."""
WHOLE_NUMBERS = ("column", "row", "x0", "y0", "width0", "height0", "level")
FRACTIONS = (
    "downsample",
    "mpp",
    "tissue_fraction",
    "blur",
    "mean_saturation",
    "white_fraction",
    "black_fraction",
    "label_fraction",
)
"""Numbers that may be unknown, and are empty then."""

LABEL_NUMBERS = ("regions", "unmapped_regions", "region_patches", "unmapped_patches")
"""What is counted of a slide's labels; empty where it has no annotation."""

SLIDE_COLUMNS = (
    "slide",
    "path",
    "status",
    "stage",
    "message",
    "notes",
    "warnings",
    "grid_patches",
    "dropped",
    "ink_fraction",
    "patches",
    "unreadable",
    "annotation",
    *LABEL_NUMBERS,
    "reader",
    "reader_reason",
    "vendor",
    "width",
    "height",
    "levels",
    "level_downsamples",
    "mpp_x",
    "mpp_y",
    "mpp_source",
    "objective_power",
    "icc",
    "bounds",
    "deepzoom_levels",
    "file_size",
    "fingerprint",
)
STORE_COLUMNS = ("slide", "backend", "encoding", "patches", "content", "bytes", "files", "seconds", "peak_mb")
UNREADABLE_COLUMNS = ("slide", "patch_id", "column", "row", "x0", "y0", "width0", "height0", "reason")
VALIDATION_COLUMNS = ("slide", "backend", "check", "status", "checked", "message")
SLIDE_SOURCE = "slide"
"""The benchmark's `source` that reads straight from the slides."""

BENCHMARK_COLUMNS = (
    "source",
    "encoding",
    "measure",
    "workers",
    "cache",
    "unit",
    "median",
    "low",
    "high",
    "repeats",
    "note",
)
