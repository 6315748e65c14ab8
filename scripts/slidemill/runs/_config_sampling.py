"""The keys `sampling`, `tissue` and `quality` of the configuration."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from slidemill.core.specs import MOST_PATCHES
from slidemill.runs._config_key import Count, NonEmpty, NotNegative, Positive, Section, Share, key

MaskValue = Annotated[int, Field(ge=1, le=2**32 - 1)]


class Sampling(Section):
    """Which patches are sampled."""

    patch_size: Annotated[int, Field(ge=16, le=4096)] = key(256, "a patch's width and height in pixels, 16 to 4096")
    """A patch's width and height in pixels of the sampled level, 16 to 4096; but with a native level at most 1024."""

    overlap: Count = key(0, "pixels added on each side of a patch, 0 or more, less than half of patch_size")
    """Pixels added on each side; patches lie `patch_size - 2 * overlap` apart."""

    deepzoom_level: Count = key(None, "a DeepZoom level, counted from 0 = one pixel (`slidemill inspect` lists them)")
    """DeepZoom level, 0 = one pixel, each twice the one before; between native levels, patches are read from the next
    finer one and shrunk as DeepZoomGenerator does. Of this and the next three, one is given.
    """

    level: Count = key(0, "a native level, counted from 0 = full resolution (`slidemill inspect` lists them)")
    """Native level, 0 = full resolution."""

    mpp: Positive = key(None, "the micrometres a pixel that are wanted, more than 0, such as 0.5")
    """Micrometres a pixel: slides of several scanners give patches of the same physical size. The coarsest native level
    that is fine enough is read and shrunk by Pillow's Lanczos filter, after averaging blocks of pixels where it is
    shrunk more than fourfold; a level within 2 % of what is wanted is taken as it is, and `mpp` in the tables says what
    it is. A slide that is coarser fails, and so does one whose pixels are not square: `mpp_x` and `mpp_y` differ by
    more than 2 %. By a level such a slide is sampled as it is, with a note.
    """

    magnification: Positive = key(None, "the magnification that is wanted, more than 0, such as 20")
    """The same, by objective power. A slide without one is taken to have 10 / mpp."""

    assume_mpp: Positive | None = key(
        None,
        "micrometres a level-0 pixel of slides that do not say so themselves, or whose pixels are not square, "
        "more than 0; or null",
    )
    """Micrometres a level-0 pixel of slides that do not say, or say less than 0.02 or more than 50, or whose pixels are
    not square. Without it such slides fail where a resolution is asked for. A sheet's column `mpp` counts before what
    the slide says. `mpp_source` in `slides.csv` says which it was, and `notes` where mpp and objective power do not fit
    each other.
    """

    max_patches: Annotated[int, Field(ge=1)] = key(
        MOST_PATCHES, "patches that one slide's grid may have, 1 or more; a slide with more is failed"
    )
    """Patches that one slide's grid may have. A slide with more is failed before a table of gigabytes is written.
    Another value samples and stores again. A slide of more than 10^12 pixels is failed in any case.
    """

    limit_bounds: bool = key(True, "true lays the grid over the scanned area alone, where a slide names one")
    """Lay the grid over the scanned area alone, where a slide names one (`openslide.bounds-*`)."""

    edges: Literal["drop", "pad"] = key(
        "drop", "drop leaves out patches that reach beyond the slide, pad fills them with background"
    )
    """Patches that reach beyond the slide: `drop` leaves them out (with an overlap, the first row and column too),
    `pad` fills them with the slide's background colour.
    """


class Tissue(Section):
    """Which patches have enough tissue."""

    method: Literal["none", "otsu", "hsv"] = key(
        "none", "otsu parts each slide's saturations, hsv takes one threshold for all slides, none keeps all patches"
    )
    """Which patches have tissue enough, by a mask from a low resolution. `otsu` parts each slide's own saturations by
    Otsu's threshold (kept within 14 to 40 of 255, so that neither empty glass nor tissue without glass is parted);
    `hsv` takes one threshold (20) and the hues of stains, from green-blue over blue, violet and red to brown (OpenCV's
    hues 80 to 180 and 0 to 20), for all slides. Yellow, green, and the greys of mixtures such as methyl green with DAB
    have no such hue: take `otsu` for these. Black or transparent padding is no tissue; for felt pens, see
    `tissue.pens`. `notes` say why a mask holds next to nothing or next to all; a slide left without a patch is a
    warning. See [below](#masks-of-tissue). `none` keeps every patch, as py-wsi does, and looks at no pixel.
    """

    min_fraction: Share = key(0.1, "how much of a patch must be tissue, 0 to 1")
    """Patches with less tissue than this part of their square are dropped. `tissue_fraction` in the tables says how
    much each has.
    """

    level: Count | None = key(
        None, "the native level that the mask is made from; null takes about 8 micrometres a pixel"
    )
    """The native level that the mask is made from; `null` shrinks what is read to 8 micrometres a pixel (0.25 a level-0
    pixel where the slide does not say). A slide without low levels is read whole for it, strip by strip.
    """

    masks: NonEmpty | None = key(
        None, "a folder of masks that somebody has made, found as annotations are; or null for none"
    )
    """A folder of masks that somebody has made, found by name as annotations are; with a sheet, use its column
    `tissue_mask`. An image (PNG or TIFF, 0 where there is no tissue, at any scale, over the whole slide), or regions in
    any of the formats of annotations, whatever they are called. It takes the place of `method` for its slide; with
    `none`, other slides keep all their patches.
    """

    mask_values: Annotated[list[MaskValue], Field(min_length=1)] | None = key(
        None, "the integers that mean tissue in images of such masks; null for images of 0 and one other"
    )
    """The integers that mean tissue in images of `tissue.masks` or `tissue_mask`, such as `[1]` for GrandQC's masks (1
    is clean tissue, 2 to 6 are artefacts, 7 is background, 0 is padding). `null` takes images of 0 and one other
    integer, and refuses a slide whose mask has more, with the integers that it has.
    """

    pens: Literal["auto", "exclude", "keep"] = key(
        "auto", "what otsu and hsv do with felt pens; exclude drops all that has their colours, stains too"
    )
    """What `otsu` and `hsv` do with the colours of felt pens, which stains have too. `auto` leaves out what can only be
    a pen, see [below](#masks-of-tissue). `exclude` leaves out all that is green, blue, red or yellow enough, stained
    tissue of these colours too: for H&E alone. `keep` leaves out none. Black is left out in each case. `ink_fraction`
    in `slides.csv` says how much it was, and it is yellow in the overlay.
    """

    mask_origin: Literal["canvas", "bounds", None] = key(
        None, "where masks start on slides that name their bounds, canvas or bounds; null where the format says"
    )
    """Where masks start on slides that name their bounds (MIRAX, for example): `canvas`, the whole slide, or `bounds`.
    `null` is `bounds` for GeoJSON and `canvas` for images and XML. The notes and the log of each such slide say which
    it was.
    """


class Quality(Section):
    """Which measures patches must have."""

    min_blur: NotNegative | None = key(
        None, "the least blur (the less, the more blurred) that a patch may have, 0 or more; or null"
    )
    """Patches with less `blur` are dropped. It depends on scanner, resolution and stain: choose it by the report of a
    run with `quality: true`. Blank glass has next to none.
    """

    min_saturation: Share | None = key(None, "the least mean saturation that a patch may have, 0 to 1; or null")
    """Patches with less `mean_saturation` are dropped, 0 to 1."""

    max_white_fraction: Share | None = key(None, "how much of a patch may be white, 0 to 1; or null")
    """Patches with a larger `white_fraction` are dropped, 0 to 1."""

    max_black_fraction: Share | None = key(None, "how much of a patch may be black, 0 to 1; or null")
    """Patches with a larger `black_fraction` are dropped, 0 to 1."""
