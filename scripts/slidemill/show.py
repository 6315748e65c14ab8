"""Draw pictures of a dataset: patches, their places, comparisons with slides."""

from __future__ import annotations

import io
import math
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from matplotlib.figure import Figure
from PIL import Image

from slidemill.core.encodings import Pixels
from slidemill.datasets.slide_names import slide_ids
from slidemill.errors import SlidemillError
from slidemill.report.heatmap import draw_heatmap
from slidemill.report.legend import Classes
from slidemill.report.overlay import draw_overlay
from slidemill.report.patch_pictures import CELL, COLUMNS, MOST_PATCHES, choose_balanced, draw_patches
from slidemill.report.stitching import LONGEST, Stitched, open_canvas, require_longest, stitch_canvas, stitch_slide
from slidemill.slides.discovery import slide_path
from slidemill.slides.fingerprint import fingerprint
from slidemill.slides.icc import CONVERTED, IGNORED
from slidemill.slides.low_resolution import low_resolution

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from slidemill.datasets.dataset import Dataset

Labels = Sequence[int] | Sequence[str] | npt.NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Comparison:
    """A slide's thumbnail and its stitched patches.

    Parameters
    ----------
    thumbnail
        ``uint8 (height, width, 3)``, read from the slide's file.
    stitched
        The patches at the same scale.
    difference
        ``float32 (height, width)``: the absolute difference, averaged over the channels; NaN where patches do not
        cover a whole pixel.
    """

    thumbnail: Pixels
    stitched: Stitched
    difference: npt.NDArray[np.float32]

    @property
    def mean(self) -> float:
        """The mean absolute difference where there are patches, from 0 to 255."""
        return float(np.nanmean(self.difference))


class Shown(Figure):
    """A figure that notebooks show without pyplot."""

    def _repr_png_(self) -> bytes:
        picture = io.BytesIO()
        self.savefig(picture, format="png", dpi=80)
        return picture.getvalue()


def montage(
    ds_or_pixels: Dataset | Pixels,
    labels: Labels | None = None,
    columns: int = COLUMNS,
    most: int = MOST_PATCHES,
    seed: int = 0,
    size: int = CELL,
) -> Image.Image:
    """Return a grid of patches with their labels.

    Parameters
    ----------
    ds_or_pixels
        A dataset, or patches: ``uint8 (patches, height, width, 3)``.
    labels
        For an array, a number or a name per patch.
    columns, size
        Patches per row, and the side of a patch in pixels.
    most
        The most patches to draw, balanced over the labels.
    seed
        Seed of the drawn sample.

    Raises
    ------
    SlidemillError
        When there is no patch, or the array or the labels have another form.
    """
    for name, value, least in (("columns", columns, 1), ("most", most, 1), ("size", size, 16)):
        if value < least:
            raise SlidemillError(f"{name} is {value}: give {least} or more")
    if isinstance(ds_or_pixels, np.ndarray):
        named = _name_labels(ds_or_pixels, labels)
    elif labels is not None:
        raise SlidemillError("labels are given with a dataset, which has its own: leave them out")
    else:
        table = ds_or_pixels.table
        named = list(zip(table["label"].tolist(), table["label_name"].astype(str).tolist(), strict=True))
    if not named:
        raise SlidemillError("no patch to draw: select other patches")
    by_label: dict[str, list[int]] = defaultdict(list)
    for place, (_, name) in enumerate(named):
        by_label[name].append(place)
    chosen = np.array(sorted(choose_balanced(by_label, most, seed), key=lambda place: (named[place][0], place)))
    pixels = ds_or_pixels[chosen] if isinstance(ds_or_pixels, np.ndarray) else ds_or_pixels.read(chosen)
    return draw_patches(pixels, [named[place] for place in chosen], columns=min(columns, len(chosen)), cell=size)


def stitch(
    ds: Dataset, slide: str, downsample: float | None = None, longest: int = LONGEST, background: str = "white"
) -> Image.Image:
    """Return the stitched patches of a slide.

    Parameters and errors are those of `slidemill.report.stitching.stitched`.
    """
    return Image.fromarray(
        stitch_slide(ds, slide, downsample=downsample, longest=longest, background=background).pixels
    )


def overlay(ds: Dataset, slide: str, longest: int = LONGEST) -> Image.Image:
    """Return a slide's stitched patches, outlined in the colours of their labels.

    Raises
    ------
    SlidemillError
        When the dataset has no patch of the slide.
    """
    ground = stitch_slide(ds, slide, longest=longest)
    (own,) = slide_ids(ds.paths, ds.slides, [slide])
    table = ds.table[ds.table["slide"] == own][["x0", "y0", "width0", "height0", "label", "label_name"]]
    rows: Any = table.to_dict("records")
    picture = Image.fromarray(ground.pixels)
    names = {(row["label"], row["label_name"]) for row in rows}
    # Where several names have one label, each counts for itself.
    joined = {label for label, name in names if ds.classes.get(label) != name}
    classes = Classes({name: label for label, name in ds.classes.items() if label not in joined})
    return draw_overlay(picture, picture.width * ground.downsample, rows, classes=classes)


def heatmap(ds: Dataset, slide: str, scores: Sequence[float] | npt.NDArray[np.float64]) -> Image.Image:
    """Return a slide's stitched patches in the colours of their scores, with a colour bar.

    Parameters
    ----------
    ds, slide
        The dataset, and the slide, named as in `Dataset.select`.
    scores
        A number per row of ``ds.table``, ``(rows,)``; rows of NaN are left out.

    Raises
    ------
    SlidemillError
        When the dataset has no patch of the slide, or the scores have another length or are not finite numbers.
    """
    given = np.asarray(scores)
    try:
        # A cast to float64 would leave out imaginary parts.
        values = given.astype(np.float64, casting="safe" if given.dtype.kind == "c" else "unsafe")
    except (TypeError, ValueError) as error:
        raise SlidemillError(f"scores are {given.dtype}, not numbers ({error}): give a number for each row") from None
    if np.isinf(values).any():
        raise SlidemillError(
            f"scores: {int(np.isinf(values).sum())} are infinite: give finite numbers, or NaN for rows to leave out"
        )
    if values.shape != (len(ds),):
        raise SlidemillError(
            f"scores have the shape {values.shape}: give one for each of the {len(ds)} rows of ds.table"
        )
    ground = stitch_slide(ds, slide)
    (own,) = slide_ids(ds.paths, ds.slides, [slide])
    rows = (ds.table["slide"] == own).to_numpy()
    squares = ds.table[["x0", "y0", "width0", "height0"]].to_numpy(np.int64)[rows]
    picture = Image.fromarray(ground.pixels)
    return draw_heatmap(picture, picture.width * ground.downsample, squares, scores=values[rows])


def compare(ds: Dataset, slide: str, slides_folder: str | Path, longest: int = LONGEST) -> Comparison:
    """Compare a slide's thumbnail with its stitched patches.

    This finds shifted, missing and foreign patches.

    Parameters
    ----------
    ds, slide
        The dataset, and the slide, named as in `Dataset.select`.
    slides_folder
        The run's folder of slides, or that of the sheet.
    longest
        Pixels of the thumbnail's longer side.

    Raises
    ------
    SlidemillError
        When the slide's file is missing or another one, or `longest` is less than 1.
    """
    require_longest(longest)
    own = open_canvas(ds, slide)
    file = slide_path(Path(slides_folder), own.outcome.path)
    if fingerprint(file) != own.outcome.fingerprint:
        raise SlidemillError(f"{file.name}: is not the slide that these patches are of: name the folder that holds it")
    icc = ds.stored.pool.colours(own.outcome.slide)
    # Not finer than the patches, which take its grid: sizes that are rounded separately would drift.
    longest = max(min(longest, math.floor(max(own.info.size) / own.downsample + 1e-9)), 1)
    whole = low_resolution(file, own.info, longest, icc=CONVERTED if icc == CONVERTED else IGNORED).image
    width, height = own.info.size
    patches = stitch_canvas(own, whole.size, (width / whole.width, height / whole.height))
    seen = np.asarray(whole)
    difference = np.abs(seen.astype(np.float32) - patches.pixels).mean(2)
    # Partly covered pixels contain background, and count only if there are no others.
    counts = patches.share >= 0.999 * patches.share.max()
    return Comparison(seen, patches, np.where(counts, difference, np.float32(np.nan)))


def stitched_beside_thumbnail(ds: Dataset, slide: str, slides_folder: str | Path | None = None) -> Figure:
    """Return a figure of a thumbnail, stitched patches, and their difference.

    Without `slides_folder` it shows only the patches. Parameters and errors are those of `compare`.
    """
    if slides_folder is None:
        figure = Shown(figsize=(5, 4.4), layout="constrained")
        _panel(figure.subplots(), stitch_slide(ds, slide).pixels, "patches")
        figure.suptitle(slide)
        return figure
    found = compare(ds, slide, slides_folder)
    figure = Shown(figsize=(13, 4.4), layout="constrained")
    panels = figure.subplots(1, 3)
    _panel(panels[0], found.thumbnail, "the slide")
    _panel(panels[1], found.stitched.pixels, "its patches")
    panels[2].set_facecolor("#dddddd")
    drawn = panels[2].imshow(found.difference, cmap="magma", vmin=0, vmax=max(float(np.nanmax(found.difference)), 16))
    figure.colorbar(drawn, ax=panels[2], label="of 255")
    panels[2].set(xticks=[], yticks=[])
    panels[2].set_title(f"difference, {found.mean:.2f} in the mean", fontsize=10)
    figure.suptitle(slide)
    return figure


def _panel(axes: Axes, pixels: Pixels, title: str) -> None:
    axes.imshow(pixels)
    axes.set(xticks=[], yticks=[])
    axes.set_title(title, fontsize=10)


def _name_labels(pixels: npt.NDArray[np.uint8], labels: Labels | None) -> list[tuple[int, str]]:
    """Return the number and the name of each patch's label."""
    if pixels.dtype != np.uint8 or pixels.ndim != 4 or pixels.shape[3] != 3:
        raise SlidemillError(
            f"the patches are {pixels.dtype} {pixels.shape}: give an array, uint8 (patches, height, width, 3)"
        )
    if labels is None:
        return [(0, "")] * len(pixels)
    if len(labels) != len(pixels):
        raise SlidemillError(f"there are {len(labels)} labels for {len(pixels)} patches: give one for each")
    values = np.asarray(labels)
    if values.dtype.kind in "iu":
        return [(int(value), str(value)) for value in values]
    names = values.astype(str).tolist()
    numbers = {name: number for number, name in enumerate(sorted(set(names)))}
    return [(numbers[name], name) for name in names]
