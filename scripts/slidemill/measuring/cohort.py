"""The sampled slides of a cohort, and the choice of patches to measure."""

from __future__ import annotations

import random
from bisect import bisect_right
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path

from slidemill.core.csv_tables import read_table
from slidemill.core.outcomes import find_seal, read_outcome
from slidemill.core.patch import PatchRef
from slidemill.core.pyramid import SlideInfo
from slidemill.core.results_layout import PATCHES
from slidemill.core.seals import Seal
from slidemill.core.specs import GridSpec
from slidemill.core.text import format_list
from slidemill.errors import SlidemillError
from slidemill.slides.discovery import decode_path
from slidemill.slides.patch_table import patches_of, sampled_grid

MOST_GROUPS = 64
"""Most places in the cohort that patches are drawn at, so that a cohort of thousands takes no longer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CohortSlide:
    """A slide with patches.

    Parameters
    ----------
    slide, source, info, grid
        Its id, its file, its facts, and the grid of its patches.
    patches
        The number of its patches.
    table, seal
        The table of its patches, and the table's seal; None in results of earlier versions.
    megabytes
        The size of its file in MB.
    outcome
        The file of its outcome.
    """

    slide: str
    source: Path
    info: SlideInfo
    grid: GridSpec
    patches: int
    table: Path
    seal: Seal | None
    megabytes: int
    outcome: Path

    def read_patches(self) -> list[PatchRef]:
        """Return the slide's patches in raster order.

        Raises
        ------
        SlidemillError
            When the table is damaged.
        """
        return patches_of(read_table(self.table, seal=self.seal), self.info, self.grid)


@dataclass(frozen=True, slots=True)
class Cohort:
    """The sampled slides of a run.

    Parameters
    ----------
    grid
        The grid of the first slide's patches. Where patches are those of files, the grids of other slides may differ,
        but not in ``patch_size``.
    slides
        The slides that have patches.
    others
        The number of slides without patches, failed ones included. Their stores are empty.
    """

    grid: GridSpec
    slides: Sequence[CohortSlide]
    others: int = 0

    @property
    def patches(self) -> int:
        """The number of patches of all slides."""
        return sum(slide.patches for slide in self.slides)


def read_cohort(root: Path, outcomes: Iterable[Path], grid: GridSpec) -> Cohort:
    """Read the outcomes of sample_patches.

    Parameters
    ----------
    root
        The folder of the slides.
    outcomes
        One file per slide, in a results folder.
    grid
        The grid of the patches.

    Raises
    ------
    SlidemillError
        When an outcome is damaged, or slides have patches of several sizes.
    """
    slides, others = [], 0
    for path in outcomes:
        found = read_outcome(path)
        if found.failed or not found.sample or not found.sample.patches:
            others += 1
            continue
        slides.append(
            CohortSlide(
                slide=found.slide,
                source=root / decode_path(found.path),
                info=found.info,
                grid=sampled_grid(found, grid),
                patches=found.sample.patches,
                table=path.parents[2] / PATCHES.format(slide=found.slide),
                seal=find_seal([found], "patches"),
                megabytes=((found.facts.file_size if found.facts else None) or 0) // 1_000_000,
                outcome=path,
            )
        )
    _require_one_size(slides)
    return Cohort(slides[0].grid if slides else grid, slides, others)


def _require_one_size(slides: Sequence[CohortSlide]) -> None:
    """Check that patches have one size: stores are joined, read in batches and measured together."""
    sizes: dict[int, list[str]] = defaultdict(list)
    for one in slides:
        sizes[one.grid.patch_size].append(one.slide)
    if len(sizes) > 1:
        found = "; ".join(f"{size} pixels: {format_list(sizes[size])}" for size in sorted(sizes))
        raise SlidemillError(
            f"sampling.coordinates: the files have patches of {len(sizes)} sizes ({found}), and a run has one; give "
            "sampling.patch_size, with which slides of other sizes fail, or sample each size in a run with its own "
            "results"
        )


def draw_places(counts: Sequence[int], count: int, seed: int) -> dict[int, list[int]]:
    """Draw patches that are spread evenly over all slides.

    A slide is drawn as often as its share of the patches demands, and its patches are spread evenly over its table
    (systematic sampling with a random start). The slides come in random order, so that the first of them are a sample
    too.

    Parameters
    ----------
    counts
        The number of patches of each slide, at least 1.
    count
        The number of patches to draw; all are drawn if there are no more.
    seed
        The seed of all choices.

    Returns
    -------
    dict
        By the slide's place in `counts`, ascending places of patches in its table.
    """
    generator = random.Random(seed)  # noqa: S311
    total = sum(counts)
    if total <= count:
        drawn = {slide: list(range(own)) for slide, own in enumerate(counts)}
    else:
        groups = min(MOST_GROUPS, count)
        ends, start = list(accumulate(counts)), generator.random()
        hits = Counter(bisect_right(ends, (group + start) * total / groups) for group in range(groups))
        drawn = {}
        for slide, hit in hits.items():
            share = min(counts[slide], max(hit * count // groups, 1))
            offset = generator.random()
            drawn[slide] = [int((place + offset) * counts[slide] / share) for place in range(share)]
    order = list(drawn)
    generator.shuffle(order)
    return {slide: drawn[slide] for slide in order}
