"""Who races: names, titles, and which environment and module each runs in."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

OWN = "slidemill"
"""The environment that the race itself runs in."""


@dataclass(frozen=True, slots=True)
class Rival:
    """An environment for a rival.

    Parameters
    ----------
    packages
        What is installed into it.
    probe
        Python that fails where something is missing.
    """

    packages: tuple[str, ...]
    probe: str


RIVALS: Mapping[str, Rival] = {
    "pywsi": Rival(
        ("openslide-python", "openslide-bin", "numpy", "h5py", "lmdb", "shapely", "pillow"),
        "import openslide, numpy, h5py, lmdb, shapely, PIL",
    ),
    "cucim": Rival(("cucim-cu12", "numpy"), "from cucim import CuImage"),
    "pyvips": Rival(("pyvips", "pyvips-binary", "numpy"), "import numpy, pyvips"),
    "dlup": Rival(("dlup", "openslide-python", "openslide-bin", "numpy"), "import dlup, openslide"),
    "hs2p": Rival(("hs2p", "openslide-python", "openslide-bin", "numpy"), "import hs2p, openslide"),
    "tiatoolbox": Rival(
        ("tiatoolbox", "openslide-python", "openslide-bin", "numpy"), "from tiatoolbox.wsicore import wsireader"
    ),
    "wsistream": Rival(("wsistream", "openslide-python", "openslide-bin", "numpy"), "import openslide, wsistream"),
}


LEFT_OUT: Mapping[str, str] = {
    "histolab": "its versions after 0.2.0 need a numpy and a scipy without a build for Python 3.11; the grid of 0.2.0 "
    "covers only the largest piece of tissue",
    "histoslice": "its requirements conflict with each other in what can be installed for Python 3.11",
}
"""Tools that people may ask for, and why they are not raced."""


@dataclass(frozen=True, slots=True)
class Entrant:
    """One way to the patches of a slide.

    Parameters
    ----------
    name
        Its name on the command line, and in the catalogue of its module.
    title
        What it is called in the table; ``{threads}`` stands for the number of threads.
    module
        Where its runner is.
    environment
        `OWN`, or a key of `RIVALS`.
    tiles
        Whether it has the grid of the slide's own tiles, in place of the patch size that is asked for.
    lossy
        Whether its pixels are expected to differ from the slide's.
    """

    name: str
    title: str
    module: str
    environment: str = OWN
    tiles: bool = False
    lossy: bool = False


def _stores(kind: str, title: str, encodings: tuple[str, ...]) -> list[Entrant]:
    return [
        Entrant(
            f"{kind}-{name}",
            f"slidemill: {title}, {name}" + (" (tile size)" if name == "source" else ""),
            "ours",
            tiles=name == "source",
            lossy=name == "jpeg",
        )
        for name in encodings
    ]


_ALL = (
    Entrant("read", "slidemill: reading alone, {threads} threads", "ours"),
    Entrant("read-openslide", "slidemill: reading alone, OpenSlide, {threads} threads", "ours"),
    *_stores("lmdb", "into LMDB", ("raw", "zstd", "png", "jpeg", "source")),
    Entrant("lmdb-source-job", "slidemill: into LMDB, source, sampled before (tile size)", "ours", tiles=True),
    *_stores("hdf5", "into HDF5", ("raw", "zstd", "png", "jpeg", "source")),
    *_stores("disk", "into files", ("raw", "png", "jpeg", "source")),
    *_stores("tar", "into tar files", ("png", "source")),
    *_stores("zarr", "into Zarr", ("raw", "zstd")),
    Entrant("pipeline", "slidemill: three stores and their validation, snakemake --cores {threads}", "ours"),
    Entrant("pywsi-lmdb", "py-wsi: into LMDB", "rivals", "pywsi"),
    Entrant("pywsi-hdf5", "py-wsi: into HDF5", "rivals", "pywsi"),
    Entrant("pywsi-disk", "py-wsi: into PNG files", "rivals", "pywsi"),
    Entrant("pywsi-lmdb-tile", "py-wsi: into LMDB (tile size)", "rivals", "pywsi", tiles=True),
    Entrant("openslide", "OpenSlide: loop of read_region", "rivals"),
    Entrant("deepzoom", "OpenSlide: loop of DeepZoomGenerator.get_tile", "rivals"),
    Entrant("cucim", "cuCIM: batches of 32, {threads} workers, no GPU", "rivals", "cucim"),
    Entrant("pyvips", "pyvips: Region.fetch, {threads} processes", "rivals", "pyvips"),
    Entrant("dlup", "dlup: SlideDataset, {threads} processes", "toolkits", "dlup"),
    Entrant("hs2p", "hs2p: iter_tile_records_from_result, OpenSlide, {threads} workers", "toolkits", "hs2p"),
    Entrant("tiatoolbox", "tiatoolbox: sliding-window extractor, {threads} processes", "toolkits", "tiatoolbox"),
    Entrant("wsistream", "wsistream: PatchPipeline of a GridSampler, one process", "toolkits", "wsistream"),
    Entrant("limit-decode", "limit: decoding each tile, {threads} threads", "limits", tiles=True),
    Entrant("limit-copy", "limit: copying the tiles' bytes", "limits", tiles=True),
)

ENTRANTS: Mapping[str, Entrant] = {entrant.name: entrant for entrant in _ALL}
"""All entrants by name, in the order of the table."""
