"""Scores of patches as GeoJSON for QuPath, and as pictures."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

from slidemill.datasets.dataset import Dataset
from slidemill.datasets.slide_records import SlideRecord, read_records
from slidemill.errors import SlideError, SlidemillError
from slidemill.exchange import patch_geojson
from slidemill.exchange._new_folder import list_files, new_folder
from slidemill.exchange.exported_slide import FILE, ExportedSlide, exported_slides, file_names
from slidemill.exchange.scores import Scores
from slidemill.report.heatmap import draw_heatmap
from slidemill.report.stitching import LONGEST, stitch_slide
from slidemill.slides.discovery import slide_path
from slidemill.slides.fingerprint import fingerprint
from slidemill.slides.icc import CONVERTED, IGNORED
from slidemill.slides.low_resolution import low_resolution

SQUARE = ["x0", "y0", "width0", "height0"]


def write_heatmaps(
    dataset: Dataset, scores: Scores, out: Path, *, origin: str = patch_geojson.BOUNDS, names: str = FILE
) -> list[Path]:
    """Write a GeoJSON file and a picture for each slide with scores, in a folder that is published as a whole.

    Parameters
    ----------
    dataset
        The patches.
    scores
        A score per row of the dataset; patches without one are left out.
    out
        The folder, which must not exist.
    origin
        Where the coordinates of GeoJSON start, of `slidemill.exchange.patch_geojson.ORIGINS`.
    names
        How files are named, as of `slidemill.exchange.exported_slide.file_names`.

    Returns
    -------
    list of Path
        The files, relative to `out`.

    Raises
    ------
    SlidemillError
        When the folder exists, no patch has a score, two slides share a name, or a slide cannot be drawn.
    """
    publishing = new_folder(out)
    chosen = np.flatnonzero(~np.isnan(scores.values))
    if not len(chosen):
        raise SlidemillError(f"{scores.name}: no patch has a score; give scores of patches of {dataset.results}")
    scored, values = dataset.take(chosen), scores.values[chosen]
    records = read_records(dataset.results)
    with publishing as folder:
        for own in exported_slides(scored, file_names(dataset.paths, scored.slides, names)):
            rows = (scored.table["slide"] == own.slide).to_numpy()
            table = own.table.assign(**{scores.name: values[rows]})
            corner = own.info.corner if origin == patch_geojson.BOUNDS else (0, 0)
            for _ in patch_geojson.write_table(folder / f"{own.name}.geojson", table, corner, columns=[scores.name]):
                pass
            record = records.slides.get(own.slide) if records else None
            thumbnail, width0 = _thumbnail(own, record, records.root if records else Path())
            squares = table[SQUARE].to_numpy(np.int64)
            picture = draw_heatmap(thumbnail, width0, squares, scores=values[rows], title=scores.name)
            picture.save(folder / f"{own.name}.png")
    return list_files(out)


def count_missing(dataset: Dataset, values: npt.NDArray[np.float64]) -> dict[str, int]:
    """Return the number of patches without a score, by slide with such patches."""
    found = dataset.table["slide"][np.isnan(values)].value_counts(sort=False)
    return {str(slide): int(count) for slide, count in found.items() if count}


def _thumbnail(own: ExportedSlide, record: SlideRecord | None, root: Path) -> tuple[Image.Image, float]:
    """Return the whole slide as a picture, and its width in level-0 pixels: of its file, or of its patches."""
    problem = "the results do not say where the slide is"
    if record:
        try:
            file = slide_path(root, record.path)
            if fingerprint(file) == record.fingerprint:
                icc = CONVERTED if record.colours == CONVERTED else IGNORED
                return low_resolution(file, record.info, LONGEST, icc=icc).image, record.info.size[0]
            problem = f"{file} is missing, or is not the slide that was sampled"
        except SlideError as error:  # moved, or on another machine
            problem = str(error)
    if not own.patches.backend:
        raise SlidemillError(f"{own.slide}: cannot be drawn: it has no store, and {problem}; restore the slide")
    whole = stitch_slide(own.patches, own.slide)
    return Image.fromarray(whole.pixels), whole.pixels.shape[1] * whole.downsample
