# Threads, memory and time of the jobs of one slide; what a job takes is told by its slide's size.
#
# Local runs go by the threads alone; clusters are asked for all three, for more memory and time with each attempt.

MB = 1_000_000
STORE_THREADS = 4


@cache
def megabytes(slide):
    """The size of a slide's file and of those that belong to it; a slide that is not there has none."""
    path = CONFIG.root / decoded(SLIDES[slide].path)
    return sum(file.stat().st_size for file in (path, *companions(path)) if file.is_file()) / MB


def store_threads(wildcards):
    """Of a job that reads or checks all patches: a small slide is done before more threads have begun."""
    return min(STORE_THREADS, 1 + int(megabytes(wildcards.slide) / 32))


def memory(base):
    """Megabytes of a job whose need the slide's size does not change."""
    return lambda wildcards, attempt: base * attempt


def minutes(wildcards, attempt):
    """Ten, and one for each 50 MB: the slowest encodings and network drives that were measured take a tenth of it."""
    return int((10 + megabytes(wildcards.slide) / 50) * attempt)
