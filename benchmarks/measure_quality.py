"""What measuring patches adds to reading them: ``python -m benchmarks.measure_quality SLIDE``.

Reading alone and reading with measures alternate, by each reader, so that both see the same machine.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import cv2

from benchmarks.machine import code, machine
from slidemill.core.quality_measures import MEASURES, measure
from slidemill.core.specs import GridSpec
from slidemill.slides.grid import Grid
from slidemill.slides.patch_table import SlidePatches
from slidemill.slides.reader_choice import open_reader
from slidemill.slides.slide_info import open_slide, slide_info

WORK: dict[str, Callable[[Any], Any]] = {
    "reading alone": lambda pixels: None,
    "with the measures of `quality: true`": partial(measure, measures=[one for one in MEASURES if not one.is_costly]),
    "with entropy too": measure,
}


def main() -> None:
    """Print a row of Markdown for each reader and what is done with its pixels."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("slide", type=Path)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--patches", type=int, default=None, help="the first so many alone")
    given = parser.parse_args()
    cv2.setNumThreads(1)
    grid = GridSpec(256, level=0)
    with open_slide(given.slide) as slide:
        info = slide_info(slide)
    patches = list(Grid(info.pyramid, grid).patches())[: given.patches]
    print(f"{given.slide.name}, {len(patches)} patches, {given.threads} threads; {machine()}; commit {code()}")
    for choice in ("tiles", "openslide"):
        seconds: dict[str, list[tuple[float, float]]] = {name: [] for name in WORK}
        for turn in range(given.rounds + 1):
            for name in sorted(WORK, reverse=bool(turn % 2)):
                with open_reader(SlidePatches(given.slide, info, grid, patches), choice, 0) as (reader, _):
                    begun = time.perf_counter(), time.process_time()
                    for _ in reader.read(patches, WORK[name], given.threads):
                        pass
                    took = time.perf_counter() - begun[0], time.process_time() - begun[1]
                if turn:
                    seconds[name].append(took)
        alone = seconds["reading alone"]
        for name, both in seconds.items():
            wall = [one for one, _ in both]
            ratios = [[one[at] / other[at] for one, other in zip(both, alone, strict=True)] for at in (0, 1)]
            print(
                f"| {choice} | {name} | {statistics.median(wall):.2f} ({min(wall):.2f}-{max(wall):.2f}) "
                f"| {statistics.median(cpu for _, cpu in both):.2f} | {statistics.median(ratios[0]):.2f} "
                f"| {statistics.median(ratios[1]):.2f} |",
                flush=True,
            )


if __name__ == "__main__":
    main()
