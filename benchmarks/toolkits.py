"""Toolkits for patches, each by its own documented way; nothing of slidemill is imported here."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any

import numpy as np

from benchmarks.crew import in_processes
from benchmarks.runner import Done, Ready, Request, main


def dlup(request: Request, numbers: Sequence[int]) -> Iterator[Any]:
    """Yield the samples of dlup's `SlideDataset`, which resamples unless it is asked for the nearest pixel."""
    with warnings.catch_warnings():
        # On backends that are not installed.
        warnings.simplefilter("ignore")
        from dlup import Resampling, SlideDataset, TilingConfig  # type: ignore[import-not-found]
        from dlup.tiling import TilingMode  # type: ignore[import-not-found]

    if not numbers:
        return
    size = (request.patch_size, request.patch_size)
    tiling = TilingConfig(mpp=None, tile_size=size, tile_mode=TilingMode.skip)
    with SlideDataset.from_standard_tiling(request.slide, tiling, interpolator=Resampling.NEAREST) as dataset:
        _check_count(len(dataset), request)
        for number in numbers:
            sample = dataset[number]
            _check_place(sample.coordinates, number, request)
            yield np.asarray(sample.image)


def wsistream(request: Request) -> Ready:
    """Stream the slide by wsistream's `PatchPipeline` of a `GridSampler`; one process reads one slide."""
    from wsistream import GridSampler, OpenSlideBackend, PatchPipeline, TissueDetector  # type: ignore[import-not-found]

    class Everything(TissueDetector):  # type: ignore[misc]
        """A detector that keeps all patches, since slidemill keeps them all here."""

        def detect(self, thumbnail: Any, downsample: tuple[float, float] = (1.0, 1.0)) -> Any:
            return np.ones(thumbnail.shape[:2], bool)

    def stream() -> Iterator[Any]:
        sampler = GridSampler(patch_size=request.patch_size, level=0, tissue_threshold=0.0)
        yield from PatchPipeline(
            [request.slide],
            backend=OpenSlideBackend(),
            tissue_detector=Everything(),
            sampler=sampler,
            pool_size=1,
            patches_per_slide=request.count,
        )

    def work() -> Done:
        found = Done(sum(1 for _ in stream()))
        _check_count(found.patches, request)
        return found

    def look(numbers: Sequence[int]) -> list[Any]:
        wanted, found = set(numbers), []
        for number, one in enumerate(stream()):
            if number in wanted:
                _check_place((one.coordinate.x, one.coordinate.y), number, request)
                found.append(one.image.copy())
        return found

    return Ready(work, look)


def _check_count(found: int, request: Request) -> None:
    if found != request.count:
        raise ValueError(f"it has {found} patches where the race counts {request.count}: race another slide")


def _check_place(found: Sequence[int], number: int, request: Request) -> None:
    if tuple(found) != request.place(number):
        raise ValueError(f"its patch {number} is at {tuple(found)}, and not at {request.place(number)}")


CATALOGUE: dict[str, Callable[[Request], Ready]] = {
    "dlup": partial(in_processes, fetch=dlup),
    "wsistream": wsistream,
}

if __name__ == "__main__":
    main(CATALOGUE)
