"""Define the configuration's model, the source of its schema and its reference."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field
from pydantic_core import PydanticCustomError

from slidemill.config._feature_model import Feature, Name
from slidemill.config._key import REQUIRED, Count, NonEmpty, NotNegative, Positive, Section, Text, key
from slidemill.config._label_model import Labels
from slidemill.config._sampling_model import LIMITS, Quality, Sampling, Tissue
from slidemill.config._store_model import Stores


class Splits(Section):
    """How slides are split into folds."""

    folds: Annotated[int, Field(ge=2)] = key(5, "how many folds the slides are split into, 2 or more")
    """The number of folds, at least 2 and at most the number of values of `splits.by`."""

    by: NonEmpty = key("slide", "the sheet's column whose values stay together, such as patient; or slide")
    """What stays in one fold: the values of a column of the sheet, such as `patient`, or `slide`. Every slide needs a
    value. A sheet's patients stay together in either case.
    """

    stratify: NonEmpty | None = key(
        "label",
        "label, or a column of the sheet such as diagnosis, gives all folds similar shares of each value; null "
        "balances only the number of patches",
    )
    """What the folds are balanced by: `label`, the patches' labels, or a column of the sheet, such as `diagnosis`, a
    [target](../docs/how-to/train-mil.md). A sheet's own column `label` is `slide_label` here. `null` balances only the
    number of patches.
    """


class Validation(Section):
    """How stores are checked."""

    sample: Count = key(
        64,
        "patches of each slide that are read again from the slide and compared, 0 or more",
        comment="Patches of each slide that are read from the slide again and compared.",
    )
    """Patches of each slide that are read from the slide again and compared."""

    min_psnr: NotNegative = key(
        30,
        "the least likeness in dB of a JPEG patch to the slide's pixels",
        comment="The least PSNR of a JPEG patch against the slide, in dB.",
    )
    """The least PSNR of a JPEG patch against the slide's pixels, in dB."""


class Benchmark(Section):
    """How the speed of the stores is measured."""

    patches: Annotated[int, Field(ge=1)] = key(
        256,
        "patches in the sample that is measured, 1 or more",
        comment="Patches in the sample that is measured.",
    )
    """Patches that each measurement reads, from at most 16 slides: runs of neighbours for `sequential`, scattered
    patches otherwise. [Estimates](../docs/how-to/disk-and-time.md) sample as many patches from all slides.
    """

    repeats: Annotated[int, Field(ge=1)] = key(
        3,
        "how often each measurement is taken, 1 or more",
        comment="Repeats of each measurement.",
    )
    """Repeats of each measurement; medians are shown."""

    time_limit: Positive = key(
        120,
        "seconds that the whole benchmark may take, more than 0",
        comment="Seconds that the whole benchmark, or an estimate, may take.",
    )
    """Seconds that all measurements together may take, with opening files, starting processes and drawing. If this
    is too short, less is measured, and the table and the report name the rest. The benchmark of a run also takes at
    most a tenth of the time that storing took, or 5 s if that is more.
    """


def section(description: str) -> Any:
    """Return the key of a section whose keys all have defaults."""
    return key({}, description, validate_default=True)


def _read_switch(given: Any) -> Any:
    """Return the section that true and false stand for: the defaults, and None."""
    if given is None:
        raise PydanticCustomError("limits", "neither true or false nor limits")
    return {True: {}, False: None}[given] if isinstance(given, bool) else given


def _parse_boolean(given: Any) -> Any:
    """Return the value of ``--config force=true``, which Snakemake takes for a text."""
    return {"true": True, "false": False}.get(given, given) if isinstance(given, str) else given


class Configuration(Section):
    """The configuration as users write it."""

    slides: NonEmpty = key(
        REQUIRED,
        "a folder of slides, or a sheet (.csv or .tsv) that lists them",
        comment="A folder of slides, searched recursively, or a sheet (.csv or .tsv) with the columns slide and path. "
        "Relative paths start at the folder in which snakemake is started.",
    )
    """A folder, searched recursively for .svs .tif .tiff .ndpi .mrxs .scn .bif .vms .vmu .svslide .dcm .czi in any
    letter case; or a sheet, see below. A .mrxs with its folder is one slide, and so are the .dcm files of one folder;
    several DICOM series in a folder are an error. A warning counts files of other endings, such as .vsi, but not texts,
    tables, annotations, pictures, arrays and checksums. Links to folders are not followed, and hidden files are
    skipped. A folder that cannot be searched ends the run before any job.
    """

    annotations: NonEmpty | None = key(
        None,
        "the folder of the annotations (<stem>.xml, .annotations, .geojson, .json, .png or .tif), or null for none",
        comment="A folder of annotations (ImageScope, HALO, QuPath, ASAP), <stem>.xml, .annotations, .geojson or "
        ".json, or of label images, <stem>.png or .tif; null for none.",
    )
    """A folder of ImageScope, HALO, ASAP or QuPath annotations, or of label images, see below: `<stem>.xml`,
    `.annotations`, `.geojson`, `.json`, `.png`, `.tif` or `.tiff`, at the slide's relative path or else anywhere, in
    any letter case. The slide's file name counts as its stem: `a.svs.xml` fits `a.svs`. A stem that fits two slides is
    an error, and so are two files for one slide. A warning names files that fit no slide and files of other endings; if
    no file fits any slide, the run is refused before any job. A compressed file (`.xml.gz`, `.geojson.zip`) fails its
    slide until it is unpacked. With a sheet, use its column.
    """

    results: NonEmpty = key(
        REQUIRED,
        "the folder that everything goes to; its path may not hold braces or line breaks",
        comment="The output folder: stores, tables, report, logs, and Snakemake's own records.",
    )
    """The output folder. It may be inside the folder of slides, and is not searched then; slides may not be where
    results are written. Its path may not contain braces.
    """

    sampling: Sampling = section("which patches are sampled")
    tissue: Tissue = section("which patches have tissue enough")

    quality: Annotated[Quality | None, BeforeValidator(_read_switch)] = key(  # type: ignore[valid-type]
        False,
        "true measures each patch's quality, a mapping of limits drops the bad ones too, false reads no pixel",
        comment="Measures of each patch's pixels, in the tables and the report: true, or a mapping of limits by which "
        f"patches are dropped. Sampling then reads all pixels.\nLimits: {LIMITS}",
        validate_default=True,
        json_schema_extra={"type": ["boolean", "object"]},
    )
    """`true` measures each patch: the tables and the report show its [measures](#measures-of-quality), and `notes` name
    slides that look out of focus or written on. Sampling then reads all pixels, by the same `reader` as the stores.
    Switching it on or off samples and stores again. A mapping of the limits below also drops patches, from all stores;
    `dropped/` lists them with the measure as the reason. A patch that cannot be read has no measures;
    `unreadable_patches` decides about it.
    """

    labels: Labels = section("how annotations become labels")

    reader: Literal["auto", "openslide", "tiles"] = key(
        "auto",
        "what reads the slides' pixels, auto (tiles where they can be trusted), openslide or tiles",
        comment="The reader of pixels: auto decodes a slide's tiles itself where this is seen to give OpenSlide's "
        "own pixels, and uses OpenSlide elsewhere; openslide and tiles use only one of them.",
    )
    """The reader of pixels. `tiles` decodes each tile once (Aperio, generic, Philips and Ventana TIFF: JPEG, JPEG 2000
    as RGB, deflate, LZW, none; DICOM as TILED_FULL: JPEG, JPEG 2000, none). `openslide` reads through OpenSlide. `auto`
    uses `tiles` if the slide's structure is known and samples of it, edges and the last tile included, equal
    OpenSlide's pixels. `slides.csv` records the reader and the reason. The stores are the same with each.
    """

    icc: Literal["ignore", "srgb"] = key(
        "ignore",
        "ignore stores the slides' own pixels, srgb converts those of slides with an ICC profile to sRGB",
        comment="The ICC profile of a slide: ignore stores the pixels unchanged; srgb converts them to sRGB.",
    )
    """The use of a slide's ICC profile. `ignore` stores the slide's pixels unchanged. `srgb` converts every stored
    pixel by the profile to sRGB, see below. `slides.csv` names the profile in either case.
    """

    unreadable_patches: Literal["fail", "skip"] = key(
        "fail",
        "fail makes a slide failed that has a patch whose pixels cannot be read, skip leaves such patches out",
        comment="A patch whose pixels cannot be read (a broken tile) is listed in unreadable.csv and omitted from all "
        "stores. Its slide fails (fail), or continues without it (skip).",
    )
    """What happens to the slide of a patch that cannot be read. The patch is in no store, and `unreadable.csv` lists
    it. `fail`: the slide fails, and none of its patches are in `metadata.csv`. `skip`: the slide continues without the
    patch, and fails only if no patch can be read.
    """

    max_failed: Count = key(
        0,
        "how many slides may fail before the run does, 0 or more",
        comment="The largest number of slides that may fail; with more, the run fails at its end.",
    )
    """The run fails at its end if more slides than this have failed."""

    scratch: NonEmpty | None = key(
        None,
        "a folder on a disk of the machine that runs a job, where stores are written first; or null for none",
        comment="A folder on a local disk of the machine that runs a job, such as $TMPDIR: stores are written there "
        "and moved to the results when they are complete. Null writes them to the results directly.",
    )
    """A folder on a local disk of the machine that runs a job, for example `$TMPDIR`: stores are written there, copied
    to the results when they are complete, compared, and renamed. The next job for the same store in the same results
    removes what a killed job left. `$VARIABLES` are those of the job. For results on a network drive, see
    [Run on a cluster](../docs/how-to/clusters.md).
    """

    stores: Stores = key(
        {"lmdb": {"encoding": "zstd"}},
        "the stores that are written, of lmdb, hdf5, disk, tar and zarr; {} writes none",
        validate_default=True,
        comment="The backends to write (lmdb, hdf5, disk, tar, zarr), each with its encoding: raw, zstd (only lmdb, "
        "hdf5 and zarr), png, jpeg (with `quality`, default 90), or source, which copies the slide's own tiles at "
        "a native level (to disk and tar only where patches are tiles). zarr has raw and zstd. {} writes none: tables, "
        "pictures, folds and the report, without pixels.",
    )
    """Backends to write: `lmdb`, `hdf5`, `disk`, `tar`, see [below](#tar-files), and `zarr`, see [below](#zarr). If one
    is named, only the named ones are written. `{}` writes none: tables, pictures, folds and the report, [without
    pixels](#no-stores).
    """

    features: dict[Name, Feature] = key(
        {},
        "a name for each model that embeds the patches, with its model and weights",
        comment="Models that embed the patches, by name, such as uni: {model: 'timm:vit_large_patch16_224', weights: "
        "/models/uni.bin}. Each makes features/<name>/<slide>.h5.",
    )
    """Models that embed the patches, by name: each makes `features/<name>/<slide>.h5` with a row for each stored patch,
    and `features.csv`. Names are letters, digits and underscores. See [Embed a
    cohort](../docs/how-to/embed-a-cohort.md).
    """

    device: Annotated[Text, Field(pattern=r"^(auto|cpu|cuda(:[0-9]+)?)$")] = key(
        "auto",
        "where models compute, auto (a GPU where there is one), cpu, cuda, or cuda: with a number",
        comment="Where models compute: auto (a GPU if there is one), cpu, cuda, or cuda:1, the second GPU.",
    )
    """Where models compute: `auto` (a GPU if there is one, else the CPU), `cpu`, `cuda`, or `cuda:1`, the second GPU.
    Unless it is `cpu`, jobs on a cluster request a GPU. A new value embeds no slide again.
    """

    force: Annotated[bool, BeforeValidator(_parse_boolean)] = key(
        False,
        "true writes stores that probably do not fit on the disk, false refuses to",
        comment="Whether stores are written that probably do not fit on the disk.",
    )
    """Before the first store is written, the size of all stores is [estimated](../docs/how-to/disk-and-time.md). If
    they do not fit on the disk of the results, the run is refused with the figures. `true` writes them anyway; for one
    run, use `--config force=true`.
    """

    splits: Splits | None = key(
        None,
        "a mapping of folds, by and stratify splits the slides into folds; null makes none",
        comment="Folds of slides for training and testing, in splits.csv and the report: a mapping of `folds`, their "
        "number; `by`, the column of the sheet whose values stay together, such as patient, or slide; and "
        "`stratify`, label, a column of the sheet such as diagnosis, or null. Null makes none.",
    )
    """Splits the slides with patches into folds for training and testing: `splits.csv` and a section of the report. A
    mapping of the next three keys; `{}` takes their defaults. See [Folds](../docs/how-to/splits.md).
    """

    validation: Validation = section("how stores are checked")
    benchmark: Annotated[Benchmark | None, BeforeValidator(_read_switch)] = key(
        {},
        "how the stores' speed is measured: a mapping of patches, repeats and time_limit, or false for no benchmark",
        comment="How fast patches are read: from the stores that were written, and from other backends and encodings "
        "on a sample. False measures nothing.",
        validate_default=True,
        json_schema_extra={"type": ["boolean", "object"]},
    )
    """Measures how fast patches are read from the stores and from the slides, and on a sample the size and speed of
    other backends and encodings. `false` measures nothing: `benchmark.csv`, `candidates.csv` and the plot are not made.
    """

    seed: Count = key(
        0,
        "the seed of every random choice, 0 or more",
        comment="The seed of every random choice.",
    )
    """The seed of every random choice: the samples of the validation, the benchmark and the pictures, and the order in
    which `splits` assigns groups of about the same size.
    """
