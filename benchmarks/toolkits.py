"""Toolkits for patches, each by its own documented way; nothing of slidemill is imported here."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
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


def hs2p(request: Request) -> Ready:
    """Stream the slide by hs2p's `iter_tile_records_from_result`, over a mask that is tissue everywhere."""
    import openslide
    from hs2p import SlideSpec, TilingConfig, tile_slide  # type: ignore[import-not-found]
    from hs2p.wsi import iter_tile_records_from_result  # type: ignore[import-not-found]
    from PIL import Image

    with openslide.OpenSlide(request.slide) as slide:
        (width, height), mpp = slide.dimensions, float(slide.properties[openslide.PROPERTY_NAME_MPP_X])
    mask = Path(request.folder, "mask.png")
    Image.fromarray(np.ones((height // 64, width // 64), np.uint8)).save(mask)
    surplus = 0

    def stream() -> Iterator[tuple[int, Any]]:
        nonlocal surplus
        tiling = TilingConfig(
            requested_spacing_um=mpp,
            requested_tile_size_px=request.patch_size,
            tolerance=0.01,
            overlap=0.0,
            backend="openslide",
        )
        spec = SlideSpec(sample_id="bench", image_path=Path(request.slide), mask_path=mask)
        found = tile_slide(spec, tiling=tiling, num_workers=request.threads)
        surplus = 0
        for one in iter_tile_records_from_result(result=found, num_workers=request.threads):
            column, row = one.x // request.patch_size, one.y // request.patch_size
            if column < request.columns and row < request.rows:
                number = row * request.columns + column
                _check_place((one.x, one.y), number, request)
                yield number, one.tile_arr
            else:
                surplus += 1

    def work() -> Done:
        found = sum(1 for _ in stream())
        _check_count(found, request)
        return Done(found, note=f"hs2p read {surplus} more patches, which the slide's edges cut, and are not counted")

    def look(numbers: Sequence[int]) -> list[Any]:
        wanted = set(numbers)
        found = {number: pixels.copy() for number, pixels in stream() if number in wanted}
        return [found[number] for number in numbers]

    return Ready(work, look)


def tiatoolbox(request: Request, numbers: Sequence[int]) -> Iterator[Any]:
    """Yield the patches of tiatoolbox's sliding-window extractor, without a mask of tissue."""
    with warnings.catch_warnings():
        # On libraries that newer versions of others have replaced.
        warnings.simplefilter("ignore")
        from tiatoolbox.tools.patchextraction import get_patch_extractor  # type: ignore[import-not-found]
        from tiatoolbox.wsicore.wsireader import WSIReader  # type: ignore[import-not-found]

    if not numbers:
        return
    size = (request.patch_size, request.patch_size)
    patches = get_patch_extractor(
        "slidingwindow",
        input_img=WSIReader.open(request.slide),
        patch_size=size,
        stride=size,
        resolution=0,
        units="level",
        within_bound=True,
    )
    _check_count(len(patches), request)
    for number in numbers:
        _check_place(patches.coordinate_list[number][:2], number, request)
        yield patches[number]


def _check_count(found: int, request: Request) -> None:
    if found != request.count:
        raise ValueError(f"it has {found} patches where the race counts {request.count}: race another slide")


def _check_place(found: Sequence[int], number: int, request: Request) -> None:
    if tuple(found) != request.place(number):
        raise ValueError(f"its patch {number} is at {tuple(found)}, and not at {request.place(number)}")


CATALOGUE: dict[str, Callable[[Request], Ready]] = {
    "dlup": partial(in_processes, fetch=dlup),
    "hs2p": hs2p,
    "tiatoolbox": partial(in_processes, fetch=tiatoolbox),
    "wsistream": wsistream,
}

if __name__ == "__main__":
    main(CATALOGUE)
