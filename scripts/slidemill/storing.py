"""From a slide and its patches to one store."""

from __future__ import annotations

import resource
import time
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import openslide

from slidemill import __version__
from slidemill.encodings import DIGEST, Pixels
from slidemill.errors import SlideError
from slidemill.fingerprints import check_unchanged
from slidemill.geometry import GridSpec
from slidemill.joblog import progress
from slidemill.outcomes import Outcome
from slidemill.patches import PatchRef
from slidemill.reading import PatchReader
from slidemill.slides import SlideInfo, opened
from slidemill.specs import StoreSpec
from slidemill.stores.manifest import Manifest
from slidemill.stores.protocol import Backend
from slidemill.stores.writing import write_store

STAGE = "store_patches"


class UnreadablePatchesError(SlideError):
    """Some patches of a slide cannot be read; `reasons` says why, by patch id."""

    def __init__(self, reasons: Mapping[str, str]) -> None:
        super().__init__(f"{len(reasons)} patches cannot be read")
        self.reasons = reasons


def new_manifest(backend: Backend, store: StoreSpec, slide: str, fingerprint: str, grid: GridSpec) -> Manifest:
    """Return the manifest of a store that holds no patch yet."""
    return Manifest(
        backend=backend.name,
        encoding=backend.encoding(store.encoding),
        quality=store.quality,
        slide=slide,
        fingerprint=fingerprint,
        patch_size=grid.patch_size,
        sampling=asdict(grid),
        digest=DIGEST,
        versions={"slidemill": __version__, "openslide": openslide.__library_version__},
    )


def store_slide(
    source: Path,
    info: SlideInfo,
    grid: GridSpec,
    patches: Sequence[PatchRef],
    backend: Backend,
    target: Path,
    manifest: Manifest,
) -> Outcome:
    """Read a slide's patches and publish them as a store.

    Patches that cannot be read are left out, and the outcome lists them.

    Parameters
    ----------
    source
        The slide's file.
    info, grid, patches
        What the stages before found.
    backend, target, manifest
        The kind of store, where it will stand, and its manifest as `new_manifest` gives it.

    Raises
    ------
    SlidemillError
        When the slide changed while it was read.
    """
    begun = time.perf_counter()
    wanted = list(patches)
    unreadable: dict[str, str] = {}
    check_unchanged(source, manifest.fingerprint)
    while True:
        try:
            write_store(backend, target, manifest, wanted, read_patches(source, info, grid, wanted))
        except UnreadablePatchesError as error:
            # Stores are sized by their count, so the store is begun again without them; reading is
            # deterministic, so every backend leaves out the same ones.
            unreadable |= error.reasons
            wanted = [patch for patch in wanted if patch.patch_id not in unreadable]
        else:
            break
    check_unchanged(source, manifest.fingerprint)
    return _outcome(manifest.slide, target, patches, unreadable, time.perf_counter() - begun)


def store_nothing(backend: Backend, target: Path, manifest: Manifest) -> None:
    """Publish a store without patches, for a slide that has none to give."""
    write_store(backend, target, manifest, [], [])


def read_patches(
    source: Path, info: SlideInfo, grid: GridSpec, patches: Sequence[PatchRef]
) -> Iterator[tuple[PatchRef, Pixels]]:
    """Yield patches with their pixels, ``uint8 (height, width, 3)``, in the order given.

    Raises
    ------
    UnreadablePatchesError
        After the last patch, when some could not be read.
    """
    reasons: dict[str, str] = {}
    waiting = deque(patches)
    steps = progress(patches, len(patches), "patches")
    while waiting:
        with opened(source) as slide:
            reader = PatchReader(slide, info, grid)
            while waiting:
                patch = waiting.popleft()
                next(steps)
                try:
                    pixels = reader.read(patch)
                except SlideError as error:
                    # OpenSlide reads nothing more from a handle that failed once: open another.
                    reasons[patch.patch_id] = str(error)
                    break
                # What is read after a failure only finds the others that fail: the store is begun again.
                if not reasons:
                    yield patch, pixels
    next(steps, None)
    if reasons:
        raise UnreadablePatchesError(reasons)


def _outcome(
    slide: str, target: Path, patches: Sequence[PatchRef], unreadable: Mapping[str, str], seconds: float
) -> Outcome:
    files = list(target.iterdir()) if target.is_dir() else [target]
    details: dict[str, Any] = {
        "bytes": sum(file.stat().st_size for file in files),
        "files": len(files),
        "seconds": round(seconds, 3),
        "peak_mb": round(_peak_bytes() / 1e6, 1),
        "patches": len(patches) - len(unreadable),
        "unreadable": [
            {"patch_id": patch.patch_id, "x0": patch.x0, "y0": patch.y0, "reason": unreadable[patch.patch_id]}
            for patch in patches
            if patch.patch_id in unreadable
        ],
    }
    if unreadable:
        first = next(iter(unreadable.values()))
        message = f"{len(unreadable)} of {len(patches)} patches cannot be read; the first: {first}"
        return Outcome(slide, STAGE, "failed", message, details)
    return Outcome(slide, STAGE, "ok" if patches else "empty", "", details)


def _peak_bytes() -> int:
    """Return the most memory that this process had resident so far, pages of mapped files included."""
    status = Path("/proc/self/status")
    if status.exists():
        # Linux's ru_maxrss starts from that of the process which started this one.
        line = next(line for line in status.read_text(encoding="ascii").splitlines() if line.startswith("VmHWM"))
        return int(line.split()[1]) * 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
