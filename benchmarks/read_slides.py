"""Read patches straight from a slide, next to OpenSlide's read_region at the same places.

    python -m benchmarks.read_slides SLIDE [--patches 2048] [--repeats 5]

Random places one by one, and shuffled blocks in batches, both on one thread and from the page cache. Both ways take
turns. Rates are medians in patches per second, and ratios are medians of those of each round. Pixels are compared.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import openslide

from slidemill.core.patch import PatchRef
from slidemill.core.specs import SLIDES, GridSpec
from slidemill.datasets.slide_pool import SlidePool
from slidemill.datasets.slide_records import SlideRecord, SlideRecords
from slidemill.datasets.stored_patches import StoredPatches
from slidemill.slides.discovery import encode_path
from slidemill.slides.fingerprint import fingerprint
from slidemill.slides.grid import Grid
from slidemill.slides.patch_table import SlidePatches
from slidemill.slides.reader_choice import find_reader
from slidemill.slides.slide_info import open_slide, slide_info

BATCH = 32
WANTED = {("random", False): 2.4, ("random", True): 3.8, ("blocks", False): 5.0, ("blocks", True): 5.0}
"""By the way of reading, and whether patches are tiles: the ratio to reach."""


def opened(path: Path, patch_size: int) -> tuple[StoredPatches, list[PatchRef]]:
    """Return all whole patches of a slide's full resolution, and where they are."""
    with open_slide(path) as slide:
        info = slide_info(slide)
    grid = GridSpec(patch_size, level=0)
    patches = list(Grid(info.pyramid, grid).patches())
    record = SlideRecord(
        path=encode_path(Path(path.name)),
        fingerprint=fingerprint(path),
        info=info,
        grid=grid,
        colours="ignore",
        reading=find_reader(SlidePatches(path, info, grid, patches), 0),
    )
    pool = SlidePool(path.parent, SLIDES, records=SlideRecords(path.parent.absolute(), {"slide": record}))
    columns, rows = (np.array([getattr(patch, name) for patch in patches]) for name in ("column", "row"))
    return StoredPatches(pool, ("slide",), np.zeros(len(patches), np.int8), columns, rows), patches


def main() -> None:
    """Measure, print a table in Markdown, and fail where pixels differ."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("slide", type=Path)
    parser.add_argument("--patches", type=int, default=2048)
    parser.add_argument("--repeats", type=int, default=5)
    given = parser.parse_args()
    with open_slide(given.slide) as slide:
        tile = int(slide.properties["openslide.level[0].tile-width"])
    print("| patches | order | from the slide, patches/s | OpenSlide, patches/s | ratio | wanted |")
    print("|---|---|---|---|---|---|")
    for size in (256, tile):
        stored, patches = opened(given.slide, size)
        orders = {"random": stored.order("exact", 0, 0), "blocks": stored.order("blocks", 0, 0)}
        for way, places in orders.items():
            some = places[: given.patches]
            print(compared(given.slide, stored, [patches[place] for place in some], some, (way, given.repeats)))


def compared(
    path: Path, stored: StoredPatches, patches: Sequence[PatchRef], places: npt.NDArray[np.intp], how: tuple[str, int]
) -> str:
    """Return the table's row of one size and order; `how` is the order's name and the number of repeats."""
    way, repeats = how
    size = patches[0].size

    def ours() -> None:
        step = BATCH if way == "blocks" else 1
        for start in range(0, len(places), step):
            stored.read(places[start : start + step])

    def openslides() -> None:
        with openslide.OpenSlide(path) as slide:
            for patch in patches:
                slide.read_region((patch.x0, patch.y0), 0, size)

    rates: list[tuple[float, float]] = []
    for turn in range(repeats):
        ways = (ours, openslides) if turn % 2 else (openslides, ours)
        stored.pool.close()
        stored.read(places[:1])
        found = {one: len(places) / timed(one) for one in ways}
        rates.append((found[ours], found[openslides]))
    with openslide.OpenSlide(path) as slide:
        for place, patch in zip(places[:64], patches, strict=False):
            region = np.asarray(slide.read_region((patch.x0, patch.y0), 0, size))[..., :3]
            if not np.array_equal(region, stored.read(np.array([place]))[0]):
                raise SystemExit(f"{path}: patch {patch.patch_id} differs from OpenSlide's pixels: this is a fault")
    mine, theirs = (statistics.median(own) for own in zip(*rates, strict=True))
    ratio = statistics.median(own / other for own, other in rates)
    wanted = WANTED[way, patches[0].read_size == stored_tile(path)]
    return f"| {size[0]} px | {way} | {mine:,.0f} | {theirs:,.0f} | {ratio:.2f} | {wanted:.1f} |"


def stored_tile(path: Path) -> tuple[int, int]:
    """Return the size of a slide's tiles."""
    with open_slide(path) as slide:
        width, height = (int(slide.properties[f"openslide.level[0].tile-{side}"]) for side in ("width", "height"))
    return width, height


def timed(work: Callable[[], None]) -> float:
    """Return the seconds that work takes."""
    begun = time.perf_counter()
    work()
    return time.perf_counter() - begun


if __name__ == "__main__":
    main()
