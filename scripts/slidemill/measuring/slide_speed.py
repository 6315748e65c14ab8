"""Measure how fast patches are read straight from the slides, next to the candidates for stores."""

from __future__ import annotations

import math
import random

from slidemill.core.columns import SLIDE_SOURCE, TILE_SOURCE
from slidemill.core.job_log import LOG
from slidemill.core.outcomes import read_outcome
from slidemill.core.specs import SLIDES, StoreSpec
from slidemill.datasets.slide_records import ReadingChoice
from slidemill.errors import SlideError
from slidemill.measuring.bench import BATCHES, REPEATS, Bench
from slidemill.measuring.candidates import Candidate, Measured
from slidemill.measuring.cohort import Cohort, draw_places
from slidemill.measuring.readers import BATCH
from slidemill.measuring.reading import NO_TIME
from slidemill.measuring.sources import Key, slide_sources

MOST_SLIDES = 8
"""Slides that are read."""
SECONDS, PART = 0.3, 0.05
"""Most seconds of each repeat of a way of reading, as a store takes, and share of the time left for all of them."""


def measure_slides(cohort: Cohort, bench: Bench, count: int, reading: ReadingChoice) -> Measured:
    """Measure scattered reads from the slides: by tiles if that is possible for any slide, else by OpenSlide.

    Parameters
    ----------
    cohort
        The slides.
    bench
        How candidates are measured.
    count
        The number of patches.
    reading
        How slides are read.

    Returns
    -------
    Measured
        Without a patch if the slides cannot be read.

    Raises
    ------
    SlidemillError
        When an outcome or a table is damaged.
    """
    keys: list[Key] = []
    records = {}
    drawn = draw_places([slide.patches for slide in cohort.slides], count, bench.seed)
    for place, places in list(drawn.items())[:MOST_SLIDES]:
        own = cohort.slides[place]
        if record := reading.record(read_outcome(own.outcome)):
            records[own.slide] = record
            patches = own.read_patches()
            keys += [(own.slide, patches[one].patch_id) for one in places]
    sources = slide_sources(reading.root, records)
    name = TILE_SOURCE if TILE_SOURCE in sources else SLIDE_SOURCE
    candidate = Candidate(SLIDES, StoreSpec("tiles" if name == TILE_SOURCE else "openslide"))
    if not keys:
        return Measured(candidate)
    random.Random(bench.seed).shuffle(keys)  # noqa: S311
    many = keys * math.ceil(BATCHES * BATCH * bench.workers / len(keys))
    share = min(PART * max(bench.deadline.left, 0), SECONDS * REPEATS)
    try:
        (alone,) = bench.read_rates(sources[name], {0: keys}, seconds=share)
        # Each process reads at least one batch.
        if BATCH / alone > bench.deadline.left:
            return Measured(candidate, reason=NO_TIME)
        (together,) = bench.read_rates(sources[name], {bench.workers: many}, seconds=share)
    except SlideError as error:
        LOG.warning("the slides are not measured: %s", error)
        return Measured(candidate)
    found = Measured(candidate, patches=len(keys), random=alone, batches=together)
    LOG.info("%s", found)
    return found
