# What jobs ask of a cluster. One that was killed for its memory or its time is tried again with more of both.

from slidemill.discovery import decoded
from slidemill.fingerprints import companions


@cache
def megabytes(slide):
    """A slide's size in MB, with the files that belong to it; 0 where it cannot be read."""
    path = CONFIG.root / decoded(SLIDES[slide].path)
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


# In MB. Jobs hold a strip of a slide and a table with a row for each patch.
def slide_memory(wildcards, attempt):
    return (400 + megabytes(wildcards.slide) // 20) * attempt


def cohort_memory(wildcards, attempt):
    return (1000 + cohort_megabytes() // 100) * attempt


# In minutes.
def table_runtime(wildcards, attempt):
    return (1 + megabytes(wildcards.slide) // 200) * attempt


def sampling_runtime(wildcards, attempt):
    return (pixels_runtime if MEASURED else table_runtime)(wildcards, attempt)


def pixels_runtime(wildcards, attempt):
    return (2 + megabytes(wildcards.slide) // 25) * attempt


def cohort_runtime(wildcards, attempt):
    return (15 + cohort_megabytes() // 10_000) * attempt
