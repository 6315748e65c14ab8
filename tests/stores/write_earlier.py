"""Write the stores of `earlier/`: ``python -m tests.stores.write_earlier FOLDER [BACKEND ...]``.

They were written once, by slidemill 0.1.0, and are read by each version since; those of Zarr came with that backend.
Write new ones next to them, in a folder of their own, only when the format of stores or tables changes. With backends,
only their stores are written, and no results.
"""

import shutil
import sys
from pathlib import Path

import numpy as np
import simplejpeg

from slidemill.core.encodings import ENCODINGS, EncodedPatch, digest, encode_patch
from slidemill.core.results_layout import SUFFIXES
from slidemill.core.specs import StoreSpec
from slidemill.stages.store import new_manifest
from slidemill.stores.registry import STORES
from slidemill.stores.writer import write_store
from tests.results import FINGERPRINT, GRID, PATCHES, SIZE, write_slide, write_tables

SLIDES = ("one", "two")
QUALITY = 90


def gradients(first=0):
    """The pixels of the patches of a slide: (patches, SIZE, SIZE, 3) of uint8, by arithmetic alone."""
    y, x, channel = np.mgrid[:SIZE, :SIZE, :3]
    patches = [5 * y + 7 * x + 40 * channel + 3 * (first + number) for number in range(len(PATCHES))]
    return (np.stack(patches) % 230).astype(np.uint8)


def encode(encoding, pixels):
    """A patch as it is stored; ``source`` takes a JPEG stream of the pixels for a tile of the slide."""
    if encoding == "source":
        data = simplejpeg.encode_jpeg(np.ascontiguousarray(pixels), QUALITY, "RGB", "444", fastdct=False)
        return EncodedPatch(data, digest(data), digest(simplejpeg.decode_jpeg(data, "RGB")))
    return encode_patch(ENCODINGS[encoding], QUALITY if encoding == "jpeg" else None, pixels)


def write_stores(folder, backends):
    """Write a store of each of these backends and each encoding."""
    for backend in backends:
        kind = STORES[backend]
        for encoding in kind.offered:
            spec = StoreSpec(encoding, QUALITY if encoding == "jpeg" else None)
            manifest = new_manifest(kind, spec, "slide", fingerprint=FINGERPRINT, grid=GRID)
            path = folder / "stores" / f"{backend}-{encoding}{SUFFIXES[backend]}"
            path.parent.mkdir(parents=True, exist_ok=True)
            stored = (encode(manifest.encoding, pixels) for pixels in gradients())
            write_store(kind, path, manifest, patches=PATCHES, stored=zip(PATCHES, stored, strict=True))


def write_results(folder):
    """Write the results of a cohort of two slides."""
    for place, slide in enumerate(SLIDES):
        write_slide(folder / "cohort", slide, gradients(first=100 * place))
    write_tables(folder / "cohort", dict.fromkeys(SLIDES, "ok"))
    for name in ("figures", "logs"):
        shutil.rmtree(folder / "cohort" / name)


if __name__ == "__main__":
    write_stores(Path(sys.argv[1]), sys.argv[2:] or SUFFIXES)
    if not sys.argv[2:]:
        write_results(Path(sys.argv[1]))
