"""Import a py-wsi database as results that `slidemill.open_dataset` opens."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from slidemill.core import results_layout as layout
from slidemill.core.child_process import ChildCrashedError, ChildProcess
from slidemill.core.columns import METADATA_COLUMNS, SLIDE_COLUMNS, STORE_COLUMNS, VALIDATION_COLUMNS
from slidemill.core.csv_tables import write_table, writing_table
from slidemill.core.encodings import EncodedPatch, encode_patch
from slidemill.core.files import check_new, replacing
from slidemill.core.parquet import write_parquet
from slidemill.core.patch import PatchRef
from slidemill.core.seals import seal_tables
from slidemill.core.specs import GridSpec, StoreSpec
from slidemill.errors import SlidemillError
from slidemill.exchange.pywsi import Item, Survey, open_items, survey_database
from slidemill.slides.discovery import slide_id
from slidemill.stages.store import new_manifest
from slidemill.stores.checks import Expected, check_store
from slidemill.stores.lmdb import BACKEND
from slidemill.stores.writer import write_store

ENDING = ".svs"
"""The ending of all slides of py-wsi, which it removed from their names."""

Report = Callable[[int, int], None]


@dataclass(frozen=True, slots=True)
class Unsaid:
    """Parameters of py-wsi that its databases do not record.

    Parameters
    ----------
    downsample
        Level-0 pixels per pixel of a patch: 2 to the number of DeepZoom levels above the sampled one.
    overlap
        Overlap of the patches in pixels.
    labels
        The map of labels.
    """

    downsample: int
    overlap: int = 0
    labels: Mapping[str, int] | None = None


def import_database(old: Path, new: Path, unsaid: Unsaid, *, report: Report = lambda *_: None) -> int:
    """Import a py-wsi database, and return its number of patches.

    Parameters
    ----------
    old
        The database, a folder or its ``data.mdb``, which is only read.
    new
        The folder, which must not exist; it appears when it is complete.
    unsaid
        The parameters that the database does not record.
    report
        Called after each patch with the numbers of written and of all patches.

    Raises
    ------
    SlidemillError
        When `old` is not such a database, holds other values than patches, or contradicts `unsaid`.
    """
    check_new(new)
    # A damaged file may end the process that reads it; one that was read to its end can be read again.
    with ChildProcess() as process:
        try:
            database = process.call(survey_database, old)
        except ChildCrashedError as error:
            raise SlidemillError(
                f"{old}: the process that read it died ({error}): it is damaged; copy it again from where it was made"
            ) from None
    total = sum(map(len, database.places.values()))
    if not total:
        raise SlidemillError(f"{old}: has no patches: name another database")
    _check_overlap(database, unsaid.overlap)
    with replacing(new) as aside, open_items(database.file) as item:
        aside.mkdir()
        with writing_table(aside / layout.METADATA_TABLE, METADATA_COLUMNS) as write:
            done = 0

            def write_row(row: Mapping[str, Any]) -> None:
                nonlocal done
                write(row)
                done += 1
                report(done, total)

            slides = [
                _import_slide(database, name, item, folder=aside, unsaid=unsaid, write_row=write_row)
                for name in database.places
            ]
        write_parquet(aside / layout.METADATA_PARQUET, aside / layout.METADATA_TABLE)
        rows = {
            layout.SLIDES_TABLE: write_table(aside / layout.SLIDES_TABLE, SLIDE_COLUMNS, (one.slide for one in slides)),
            layout.METADATA_TABLE: total,
            layout.METADATA_PARQUET: total,
            layout.STORES_TABLE: write_table(aside / layout.STORES_TABLE, STORE_COLUMNS, (one.store for one in slides)),
            layout.VALIDATION_TABLE: write_table(
                aside / layout.VALIDATION_TABLE, VALIDATION_COLUMNS, (row for one in slides for row in one.findings)
            ),
        }
        seal_tables(aside, rows)
    return total


@dataclass(frozen=True, slots=True)
class _Written:
    """A slide's rows in the tables of slides, stores and findings."""

    slide: Mapping[str, Any]
    store: Mapping[str, Any]
    findings: Sequence[Mapping[str, Any]]


def _check_overlap(database: Survey, overlap: int) -> None:
    """Check the overlap: if there was any, py-wsi omitted first columns and rows."""
    first = any(0 in place for places in database.places.values() for place in places)
    if first and overlap:
        raise SlidemillError(
            f"--overlap is {overlap}: {database.file} has patches of the first column or row, so there was none: "
            "leave it out"
        )
    if not first and not overlap:
        raise SlidemillError(
            f"--overlap is 0: {database.file} has no patch of the first column or row, which py-wsi left out where "
            "there was an overlap: give that"
        )


def _import_slide(
    database: Survey,
    name: str,
    item: Callable[[str, int, int], Item],
    *,
    folder: Path,
    unsaid: Unsaid,
    write_row: Callable[[Mapping[str, Any]], None],
) -> _Written:
    """Write and check a slide's store, write its metadata, return its other rows."""
    places = database.places[name]
    size = item(name, *places[0]).pixels.shape[0]
    if 2 * unsaid.overlap >= size:
        raise SlidemillError(f"--overlap is {unsaid.overlap}: give less than half of the patches' {size} pixels")
    grid = GridSpec(size, unsaid.overlap, level=0 if unsaid.downsample == 1 else None)
    slide = slide_id(Path(f"{name}{ENDING}"))
    manifest = new_manifest(BACKEND, StoreSpec("raw"), slide, fingerprint=database.prints[name], grid=grid)
    patches = [_place(place, grid, unsaid.downsample) for place in places]

    def encode_patches() -> Iterator[tuple[PatchRef, EncodedPatch]]:
        for patch in patches:
            own = item(name, patch.column, patch.row)
            if own.pixels.shape[0] != size:
                raise SlidemillError(
                    f"{database.file}: {name} has patches of {size} and of {own.pixels.shape[0]} pixels: py-wsi wrote "
                    "to it twice; take a database of one size"
                )
            yield patch, encode_patch(manifest.codec, None, own.pixels)
            write_row(_row(patch, slide, own.label, unsaid=unsaid))

    path = folder / layout.store_path(BACKEND.name, slide)
    written = write_store(BACKEND, path, manifest, patches=patches, stored=encode_patches())
    expected = Expected(slide, BACKEND.name, [one.patch_id for one in patches], grid.to_json(), manifest.fingerprint)
    known = {"slide": slide, "patches": len(patches)}
    return _Written(
        {
            **known,
            "path": f"{name}{ENDING}",
            "status": "ok",
            "notes": "from py-wsi: neither its size nor its levels are known",
            "unreadable": 0,
            "fingerprint": manifest.fingerprint,
        },
        {
            **known,
            "backend": BACKEND.name,
            "encoding": "raw",
            "content": written.content,
            "bytes": path.stat().st_size,
            "files": 1,
        },
        [finding.row() for finding in check_store(path, expected).findings],
    )


def _place(place: tuple[int, int], grid: GridSpec, downsample: int) -> PatchRef:
    """Return the patch of a DeepZoom tile, without the region to read."""
    x0, y0 = ((one * grid.step - grid.overlap) * downsample for one in place)
    extent, own = grid.patch_size * downsample, (grid.patch_size, grid.patch_size)
    return PatchRef(*place, x0, y0, extent, extent, 0 if downsample == 1 else -1, x0, y0, own, own, (0, 0))


def _row(patch: PatchRef, slide: str, label: int, *, unsaid: Unsaid) -> dict[str, Any]:
    names = {number: name for name, number in (unsaid.labels or {}).items()}
    place = {name: getattr(patch, name) for name in METADATA_COLUMNS if hasattr(patch, name)}
    return place | {
        "slide": slide,
        "downsample": float(unsaid.downsample),
        "label": label,
        "label_name": names.get(label, str(label)),
    }
