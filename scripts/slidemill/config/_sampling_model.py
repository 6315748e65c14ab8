"""Define the configuration's sections `sampling`, `tissue` and `quality`."""

from __future__ import annotations

import math
from typing import Annotated, Any, Literal

from pydantic import Field, create_model

from slidemill.config._key import AS_GIVEN, Count, Documentation, NonEmpty, Positive, Section, Share, key
from slidemill.core.quality_measures import MEASURES, Measure
from slidemill.core.specs import AREA, MOST_PATCHES

MaskValue = Annotated[int, Field(ge=1, le=2**32 - 1)]


class Sampling(Section):
    """Which patches are sampled."""

    patch_size: Annotated[int, Field(ge=16, le=4096)] = key(
        256,
        "a patch's width and height in pixels, 16 to 4096",
        comment="Width and height of a patch, in pixels of the sampled level.",
    )
    """Width and height of a patch in pixels of the sampled level, 16 to 4096; at most 1024 with a native level."""

    overlap: Count = key(
        0,
        "pixels added on each side of a patch, 0 or more, less than half of patch_size",
        comment="Pixels added on each side of a patch; patches start patch_size - 2 x overlap apart.",
    )
    """Pixels added on each side; patches start `patch_size - 2 * overlap` apart."""

    deepzoom_level: Count = key(None, "a DeepZoom level, counted from 0 = one pixel (`slidemill inspect` lists them)")
    """DeepZoom level, 0 = one pixel, each twice as large as the previous. Between native levels, patches are read from
    the next finer one and shrunk as in DeepZoomGenerator. Exactly one of this and the next three keys is given.
    """

    level: Count = key(
        0,
        "a native level, counted from 0 = full resolution (`slidemill inspect` lists them)",
        comment="Native level, 0 = full resolution. Alternatives: `deepzoom_level`, 0 = one pixel (`slidemill inspect "
        "SLIDE` lists both), `mpp`, µm per pixel, or `magnification`, both with `filter`, area or lanczos.",
    )
    """Native level, 0 = full resolution."""

    mpp: Positive = key(None, "the requested µm per pixel, more than 0, such as 0.5")
    """µm per pixel, so that slides of several scanners give patches of the same physical size. slidemill reads the
    coarsest native level that is fine enough, and shrinks it by `filter`. A level within 2 % of the requested value is
    used unchanged; `mpp` in the tables has its value. Slides that are coarser fail, and so do slides whose pixels are
    not square (`mpp_x` and `mpp_y` differ by more than 2 %); with `level`, the latter are sampled with a note.
    """

    magnification: Positive = key(None, "the requested magnification, more than 0, such as 20")
    """The same, by objective power. A slide without one counts as 10 / mpp."""

    filter: Literal["area", "lanczos"] = key(
        AREA, "how patches by mpp or magnification are shrunk, area (the mean of the covered pixels) or lanczos"
    )
    """How pixels are shrunk to `mpp` or `magnification`. `area` gives each pixel the mean of the area that it covers,
    the same on every machine and in every patch that shows it. `lanczos` is Pillow's filter, above a factor of four
    after averaging blocks of pixels: sharper, and several times as slow. With `level` and
    `deepzoom_level`, leave the key out: native levels are not shrunk, and DeepZoom levels always by `lanczos`. See
    [what the filters do](../docs/explanation/resolution.md#the-filter).
    """

    assume_mpp: Positive | None = key(
        None,
        "µm per level-0 pixel of slides that state none, or whose pixels are not square, more than 0; or null",
        comment="µm per level-0 pixel of slides that do not state it or whose pixels are not square; null for none.",
    )
    """µm per level-0 pixel of slides that state none, state less than 0.02 or more than 50, or whose pixels are not
    square. Without it, such slides fail if a resolution is requested. A sheet's column `mpp` has priority over the
    slide's own value. `mpp_source` in `slides.csv` records the source, and `notes` say if mpp and objective power
    contradict each other.
    """

    coordinates: NonEmpty | None = key(
        None,
        "a folder of files with the coordinates of patches, one per slide; or null for a grid",
        comment="A folder of files with patches' coordinates, <stem>_patches.h5 (TRIDENT), <stem>.h5 (CLAM) or "
        "<stem>.csv, in place of a grid; null for a grid.",
    )
    """A folder of files with the coordinates of patches, one per slide, in place of a grid. They are TRIDENT's
    `<stem>_patches.h5`, CLAM's `<stem>.h5`, or `<stem>.csv` with the columns `x` and `y`. The slide's file name or id
    may take the place of its stem. Coordinates are those of top left corners in level-0 pixels of the whole slide, at
    any place and in any order. The attributes of an HDF5 file say how large the squares are: leave out `patch_size` and
    the resolution to take them, or give ones with the same squares. For CSV, `patch_size` and the resolution count.
    With stores, all patches have the same size in pixels. A slide without a file fails, and so does one whose file is
    another slide's or has coordinates beyond the slide, twice, or with fractions. See
    [From CLAM or TRIDENT and back](../docs/how-to/coming-from-clam-or-trident.md).
    """

    max_patches: Annotated[int, Field(ge=1)] = key(
        MOST_PATCHES,
        "patches that one slide's grid may have, 1 or more; a slide with more is failed",
        comment="The largest number of patches in the grid of one slide; a slide with more fails.",
    )
    """The largest number of patches in one slide's grid. A slide with more fails before a table of gigabytes is
    written. A new value repeats sampling and storing. Slides of more than 10^12 pixels fail in any case.
    """

    limit_bounds: bool = key(
        True,
        "true restricts the grid to the scanned area of slides that name one",
        comment="Restrict the grid to the scanned area of slides that name one (MIRAX and some others).",
    )
    """Restrict the grid to the scanned area of slides that name one (`openslide.bounds-*`)."""

    edges: Literal["drop", "pad"] = key(
        "drop",
        "drop leaves out patches that reach beyond the slide, pad fills them with background",
        comment="Patches that extend beyond the slide: drop omits them, pad fills them with the slide's background.",
    )
    """Patches that extend beyond the slide: `drop` omits them (with an overlap, also the first row and column), `pad`
    fills them with the slide's background colour.
    """


class Tissue(Section):
    """Which patches have enough tissue."""

    method: Literal["none", "otsu", "hsv"] = key(
        "otsu",
        "otsu computes a threshold for each slide, hsv has one for all slides, none keeps all patches",
        comment="How a tissue mask is made, by which patches with little tissue are dropped: otsu computes a "
        "threshold per slide, hsv uses one for all; none keeps every patch.",
    )
    """How the tissue mask is made from a low resolution, by which patches with little tissue are dropped. `otsu`
    separates each slide's saturations by Otsu's threshold, kept within 14 to 40 of 255, so that it splits neither empty
    glass nor tissue without glass. `hsv` uses one threshold (20) and the hues of stains for all slides: green-blue,
    blue, violet, red and brown (OpenCV's hues 80 to 180 and 0 to 20). For yellow, green, and the greys of mixtures such
    as methyl green with DAB, use `otsu`. Black or transparent padding is not tissue; for felt pens, see `tissue.pens`.
    `notes` say why a mask is nearly empty or nearly full; a slide that keeps no patch gives a warning. See
    [how](../docs/explanation/tissue.md). `none` keeps every patch, as py-wsi does, and reads no pixel.
    """

    min_fraction: Share = key(
        0.1,
        "how much of a patch must be tissue, 0 to 1",
        comment="The least share of a patch that must be tissue.",
    )
    """The least share of a patch that must be tissue; patches with less are dropped. The tables have each patch's share
    as `tissue_fraction`.
    """

    level: Count | None = key(
        None,
        "the native level that the mask is made from; null takes about 8 µm per pixel",
        comment="The native level that the mask is made from; null takes about 8 µm per pixel.",
    )
    """The native level that the mask is made from. `null` shrinks pixels to 8 µm per pixel; if the slide
    states no mpp, a level-0 pixel counts as 0.25 µm. Slides without low levels are read completely, strip by strip.
    """

    masks: NonEmpty | None = key(
        None,
        "a folder of custom masks, found as annotations are; or null for none",
        comment="A folder of custom masks, <stem>.png, .tif, .geojson, .json, .xml or .annotations; null for none.",
    )
    """A folder of custom masks, found by name as annotations are; with a sheet, use its column `tissue_mask`. A mask is
    an image (PNG or TIFF, 0 outside tissue, at any scale, over the whole slide), or regions of any name in
    any of the formats of annotations. It replaces `method` for its slide; with `none`, other slides keep all their
    patches.
    """

    mask_values: Annotated[list[MaskValue], Field(min_length=1)] | None = key(
        None,
        "the integers that mean tissue in images of such masks; null for images of 0 and one other",
        comment="The integers that mean tissue in custom masks, such as [1]; null for images of 0 and one other "
        "integer.",
    )
    """The integers that mean tissue in images of `tissue.masks` or `tissue_mask`, such as `[1]` for GrandQC's masks (1
    is clean tissue, 2 to 6 are artefacts, 7 is background, 0 is padding). `null` accepts images of 0 and one other
    integer; slides whose mask has more fail, with the list of integers.
    """

    pens: Literal["auto", "exclude", "keep"] = key(
        "auto",
        "what otsu and hsv do with felt pens; exclude drops all that has their colours, stains too",
        comment="Felt pens: auto drops what can only be a pen stroke, keep drops none, exclude drops everything in "
        "the colours of pens, stains of these colours included.",
    )
    """What `otsu` and `hsv` do with the colours of felt pens, which some stains share. `auto` excludes what can only be
    a pen, see [Tissue](../docs/explanation/tissue.md). `exclude` excludes everything that is green, blue, red or yellow
    enough, stained tissue of these colours included: only for H&E. `keep` excludes none. Black is excluded in each
    case. `ink_fraction` in `slides.csv` has the excluded share, and the overlay shows it in yellow.
    """

    mask_origin: Literal["canvas", "bounds", None] = key(
        None,
        "where masks start on slides that name their bounds, canvas or bounds; null where the format says",
        comment="The origin of custom masks on slides that name their bounds: canvas, bounds, or null for the default "
        "of the format.",
    )
    """The origin of masks on slides that name their bounds (MIRAX, for example): `canvas`, the whole slide, or
    `bounds`. `null` means `bounds` for GeoJSON other than TRIDENT's, and `canvas` for the rest. The notes and the log
    of each such slide name the origin.
    """


def _limit(measure: Measure) -> tuple[Any, Any]:
    """Return the type and the key of a measure's limit."""
    bounds = Field(ge=0, le=None if math.isinf(measure.largest) else measure.largest)
    fewer = "less" if measure.is_minimum else "a larger"
    text = f"Patches with {fewer} `{measure.column}` are dropped. {measure.advice}".strip()
    return Annotated[Annotated[float, bounds, AS_GIVEN] | None, Documentation(text)], key(
        None, f"{measure.meaning}; or null"
    )


LIMITS = ", ".join(f"`{measure.limit}`" for measure in MEASURES)
"""The keys of `quality` in a comment."""

_LIMITS: dict[str, Any] = {measure.limit: _limit(measure) for measure in MEASURES}
Quality = create_model("Quality", __base__=Section, __doc__="Which measures patches must have.", **_LIMITS)
