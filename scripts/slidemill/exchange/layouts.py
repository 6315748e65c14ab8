"""Export the patches of a cohort as a folder in the layout of another program."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from importlib.util import find_spec
from pathlib import Path

from slidemill.core.csv_tables import read_cohort_table
from slidemill.core.results_layout import SLIDES_TABLE
from slidemill.datasets.dataset import Dataset
from slidemill.errors import SlidemillError
from slidemill.exchange import _clam, _slideflow, _trident, patch_geojson
from slidemill.exchange._features import FeatureSet, find_feature_sets, open_feature_set
from slidemill.exchange._new_folder import list_files, new_folder
from slidemill.exchange.exported_slide import FILE, ExportedSlide, exported_slides, file_names
from slidemill.stores.store_pool import require_stores

TRIDENT, CLAM, CLAM_TENSORS, GEOJSON, SLIDEFLOW = "trident", "clam", "clam-pt", "geojson", "slideflow"
LAYOUTS = (TRIDENT, CLAM, CLAM_TENSORS, GEOJSON, SLIDEFLOW)

Progress = Callable[[int], None]


@dataclass(frozen=True, slots=True)
class LayoutOptions:
    """Choices of an export.

    Parameters
    ----------
    names
        How files are named, as of `slidemill.exchange.exported_slide.file_names`.
    features
        Names of the features to export; None for all that the results have.
    columns
        For `GEOJSON`, the columns of the table that are exported with each patch.
    origin
        For `GEOJSON`, where coordinates start.
    """

    names: str = FILE
    features: Sequence[str] | None = None
    columns: Sequence[str] = ()
    origin: str = patch_geojson.BOUNDS


@dataclass(frozen=True, slots=True)
class _Writer:
    """How a layout checks and writes one slide.

    Parameters
    ----------
    check
        Raises an error if the layout cannot hold the slide's patches exactly.
    write
        Writes the files of the slide below a folder, and yields the number of patches as they are written.
    """

    check: Callable[[ExportedSlide], object]
    write: Callable[[ExportedSlide, Path], Iterator[int]]


def export_layout(
    dataset: Dataset, out: Path, layout: str, *, slides: Sequence[str], options: LayoutOptions, progress: Progress
) -> list[Path]:
    """Write the patches of a dataset as a folder in a layout of `LAYOUTS`.

    Parameters
    ----------
    dataset
        The patches.
    out
        The folder, which must not exist.
    layout
        Its layout.
    slides
        Ids of the slides to export, also those without a patch in the dataset, of which some layouts have a file.
    options
        Names of files, and columns.
    progress
        Called with the number of written patches.

    Returns
    -------
    list of Path
        The files, relative to `out`.

    Raises
    ------
    SlidemillError
        When no patch is selected, the folder exists, two slides share a name, or the program would read other squares
        than those of the patches. Nothing is then written.
    """
    publishing = new_folder(out)
    if not len(dataset):
        raise SlidemillError(f"{dataset.results}: no patch is selected: ask for other slides, labels, or a wider query")
    names = file_names(dataset.paths, slides, options.names)
    writer = _writer(layout, dataset, options)
    # All slides are checked before the first is written.
    for own in exported_slides(dataset, names):
        writer.check(own)
    done = 0
    with publishing as folder:
        for own in exported_slides(dataset, names):
            for count in writer.write(own, folder):
                done += count
                progress(done)
    return list_files(out)


def slides_without_patches(results: Path) -> list[str]:
    """Return the ids of slides of which a run kept no patch."""
    return [
        row["slide"]
        for row in read_cohort_table(results / SLIDES_TABLE, ("slide", "status"))
        if row["status"] == "empty"
    ]


def _writer(layout: str, dataset: Dataset, options: LayoutOptions) -> _Writer:
    if layout == GEOJSON:
        patch_geojson.check_columns(options.columns, [str(name) for name in dataset.table.columns])
        return _Writer(lambda _: None, partial(patch_geojson.write, columns=options.columns, origin=options.origin))
    sets = [
        open_feature_set(name, dataset.results, dataset.fingerprints, dataset.slides)
        for name in find_feature_sets(dataset.results, options.features)
    ]
    if layout == SLIDEFLOW:
        return _slideflow_writer(dataset, sets)
    if layout == TRIDENT:
        return _Writer(_all(_trident.check, *(own.of for own in sets)), partial(_trident.write, features=sets))
    if len(sets) > 1:
        found = ", ".join(own.name for own in sets)
        raise SlidemillError(f"{dataset.results}: has several features ({found}), and CLAM one; choose by --features")
    chosen = sets[0] if sets else None
    if layout == CLAM:
        checks = _all(_clam.check, *(own.of for own in sets))
        return _Writer(checks, partial(_clam.write, features=chosen))
    if chosen is None:
        raise SlidemillError(
            f"{dataset.results}: has no features for --layout {CLAM_TENSORS}: run with features, or use --layout {CLAM}"
        )
    _require("torch", "torch", layout)
    return _Writer(chosen.of, partial(_clam.write_tensors, features=chosen))


def _slideflow_writer(dataset: Dataset, sets: Sequence[FeatureSet]) -> _Writer:
    """Return the writer of bags and TFRecords; of results without stores, of bags only."""
    pixels = bool(dataset.stored.pool.backend) or not sets
    if pixels:
        _require("google_crc32c", "google-crc32c", SLIDEFLOW)
        require_stores(dataset.stored.pool)
    if sets:
        _require("torch", "torch", SLIDEFLOW)
    return _Writer(_all(*(own.of for own in sets)), partial(_slideflow.write, features=sets, pixels=pixels))


def _require(module: str, package: str, layout: str) -> None:
    """Check that a module is installed which only one layout needs."""
    if find_spec(module) is None:
        raise SlidemillError(f"--layout {layout} needs {package}, which is not installed: pip install {package}")


def _all(*checks: Callable[[ExportedSlide], object]) -> Callable[[ExportedSlide], None]:
    def check(own: ExportedSlide) -> None:
        for one in checks:
            one(own)

    return check
