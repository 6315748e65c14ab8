# What jobs ask of a cluster. One that was killed for its memory or its time is tried again with more of both.

from slidemill.slides.discovery import decode_path
from slidemill.slides.fingerprint import companions
from slidemill.runs.patch_estimate import expected_patches, table_rows


@cache
def megabytes(slide):
    """A slide's size in MB, with the files that belong to it; 0 where it cannot be read."""
    path = CONFIG.root / decode_path(SLIDES[slide].path)
    try:
        return sum(file.stat().st_size for file in [path, *companions(path)]) // 1_000_000
    except OSError:
        return 0


@cache
def cohort_megabytes():
    """The size of all slides together, in MB."""
    return sum(map(megabytes, SLIDES))


def slide_threads(wildcards):
    """Threads of a job that reads or checks all patches: one for a small slide, so that several run side by side."""
    return min(1 + megabytes(wildcards.slide) // 16, 4)


def patch_count(slide):
    """How many patches a slide has, or somewhat more.

    Its table of patches says so once it is written: Snakemake asks again before each job. The jobs of a group are asked
    for before that.
    """
    rows = table_rows(f"patches/{slide}.csv", slide)
    return rows or expected_patches(megabytes(slide) * 1_000_000, GRID)


# In MB, measured by benchmarks/million_patches.py. Besides, jobs hold a strip of the slide, whose size is bounded.
def table_memory(wildcards, attempt):
    """Jobs that read and write tables row by row."""
    return 500 * attempt


def slide_memory(wildcards, attempt):
    return (400 + patch_count(wildcards.slide) // 1000) * attempt


def checking_memory(wildcards, attempt):
    """Two processes look at the stores, and each holds the ids and digests of all patches."""
    return (400 + patch_count(wildcards.slide) // 500) * attempt


def cohort_memory(wildcards, attempt):
    """Half a KB a row of the cohort's table; before there is one, what slides of that size are likely to need."""
    return (1000 + (table_rows("metadata.csv") // 2000 or cohort_megabytes() // 100)) * attempt


# In minutes.
def table_runtime(wildcards, attempt):
    return (1 + megabytes(wildcards.slide) // 200) * attempt


def sampling_runtime(wildcards, attempt):
    return (pixels_runtime if MEASURED else table_runtime)(wildcards, attempt)


def pixels_runtime(wildcards, attempt):
    return (2 + megabytes(wildcards.slide) // 25) * attempt


def cohort_runtime(wildcards, attempt):
    return (15 + cohort_megabytes() // 10_000) * attempt
