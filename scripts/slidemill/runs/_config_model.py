"""The configuration's model, of which its schema, its table of keys and the values that stages take are made."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import BeforeValidator, ConfigDict, Field, model_validator
from pydantic_core import PydanticCustomError

from slidemill.runs._config_key import REQUIRED, Count, NonEmpty, NotNegative, Positive, Section, key
from slidemill.runs._config_sampling import Quality, Sampling, Tissue
from slidemill.runs._label_config import Labels


class Store(Section):
    """How one backend encodes patches."""

    model_config = ConfigDict(json_schema_extra={"description": "a store has an encoding and, for jpeg, a quality"})

    encoding: Literal["raw", "zstd", "png", "jpeg", "source"] = key(
        "raw", "raw, zstd, png, jpeg or source (the slide's own tiles)"
    )
    """How patches are encoded, see [below](#encodings)."""

    quality: Annotated[int, Field(ge=1, le=100)] = key(90, "JPEG's quality, 1 to 100; 90 unless told")
    """Quality of encoding `jpeg`, and of no other, 1 to 100."""


class FileStore(Store):
    """How a backend of one file per patch encodes them."""

    model_config = ConfigDict(json_schema_extra={"description": "settings of a store, such as {encoding png}"})

    encoding: Literal["raw", "png", "jpeg", "source"] = key(
        "png", "raw (.npy files), png, jpeg or source (the slide's own tiles)"
    )


class Stores(Section):
    """The stores to write; a backend that is left out is None."""

    lmdb: Store = key(None)
    hdf5: Store = key(None)
    disk: FileStore = key(None)
    tar: FileStore = key(None)

    def written(self) -> dict[str, Store]:
        """Return the stores to write by the names of their backends."""
        return {name: store for name, store in self if store is not None}

    @model_validator(mode="after")
    def _one_at_least(self) -> Self:
        if not self.model_fields_set:
            raise PydanticCustomError("no_store", "no store")
        return self


class Splits(Section):
    """How slides are split into folds."""

    folds: Annotated[int, Field(ge=2)] = key(5, "how many folds the slides are parted into, 2 or more")
    """How many folds, 2 or more, and no more than there are values of `splits.by`."""

    by: NonEmpty = key("slide", "the sheet's column whose values stay together, such as patient; or slide")
    """What is never cut: a column of the sheet, such as `patient`, of which every slide needs a value; or `slide`. A
    sheet's patients may not be cut in either case.
    """

    stratify: Literal["label", None] = key(
        "label", "label gives all folds the same shares of each label, as far as may be; null looks at patches alone"
    )
    """`label` gives all folds the same shares of each label, as far as may be; `null` looks at the number of patches
    alone.
    """


class Validation(Section):
    """How stores are checked."""

    sample: Count = key(64, "patches of each slide that are read again from the slide and compared, 0 or more")
    """Patches of each slide that are read again from the slide and compared."""

    min_psnr: NotNegative = key(30, "the least likeness in dB of a JPEG patch to the slide's pixels")
    """The least likeness of a JPEG patch to the slide's pixels, in dB."""


class Benchmark(Section):
    """How the speed of the stores is measured."""

    patches: Annotated[int, Field(ge=1)] = key(512, "patches in the sample that is read, 1 or more")
    """Patches that are read in each measurement, from 16 slides at most: runs of neighbours for `sequential`, scattered
    ones else.
    """

    repeats: Annotated[int, Field(ge=1)] = key(3, "how often each measurement is taken, 1 or more")
    """How often each measurement is taken; medians are shown."""

    time_limit: Positive = key(120, "seconds that the whole benchmark may take, more than 0")
    """Seconds that all measurements together may take, about: each has an equal share, and reads a patch or a batch at
    least.
    """


def section(description: str) -> Any:
    """Return the key of a section that has all of its defaults when it is left out."""
    return key({}, description, validate_default=True)


def _limits(given: Any) -> Any:
    """Return the limits that true and false mean: none, and no measures."""
    if given is None:
        raise PydanticCustomError("limits", "neither true or false nor limits")
    return {True: {}, False: None}[given] if isinstance(given, bool) else given


class Configuration(Section):
    """The configuration as users write it."""

    slides: NonEmpty = key(REQUIRED, "a folder of slides, or a sheet (.csv or .tsv) that lists them")
    """A folder, searched recursively for .svs .tif .tiff .ndpi .mrxs .scn .bif .vms .vmu .svslide .dcm .czi in any
    letter case; or a sheet, see below. Files of other endings, such as .vsi, are counted in a warning, but for what
    usually lies beside slides: texts, tables, annotations, pictures, arrays, checksums. Links to folders are not
    followed, hidden files are passed over. A .mrxs with its folder, and the .dcm files of one folder, are one slide;
    several DICOM series in a folder are a fault, and a folder that cannot be searched ends the run before any job.
    """

    annotations: NonEmpty | None = key(
        None,
        "the folder of the annotations (<stem>.xml, .annotations, .geojson, .json, .png or .tif), or null for none",
    )
    """A folder of annotations of ImageScope, HALO, ASAP or QuPath, or of label images, see below: `<stem>.xml`,
    `.annotations`, `.geojson`, `.json`, `.png`, `.tif` or `.tiff` at the slide's relative path, else anywhere by its
    stem, in any letter case; a stem that fits two slides is an error, and so are two files for one slide. The slide's
    file name counts as its stem: `a.svs.xml` fits `a.svs`. Files that fit no slide, and files of other endings, are a
    warning that names them; where no file fits any slide, the run is refused before any job. A compressed file
    (`.xml.gz`, `.geojson.zip`) fails its slide until it is unpacked. With a sheet, use its column.
    """

    results: NonEmpty = key(REQUIRED, "the folder that everything goes to; its path may not hold braces or line breaks")
    """Where everything goes. May lie among the slides, and is not searched then; slides may not lie where the results
    are written. Its path may hold no braces.
    """

    sampling: Sampling = section("which patches are sampled")
    tissue: Tissue = section("which patches have tissue enough")

    quality: Annotated[Quality | None, BeforeValidator(_limits)] = key(
        False,
        "true measures each patch's quality, a mapping of limits drops the bad ones too, false reads no pixel",
        validate_default=True,
        json_schema_extra={"type": ["boolean", "object"]},
    )
    """`true` measures each patch: the tables and the report tell `blur`, `mean_saturation`, `white_fraction` and
    `black_fraction`, and `notes` name slides that look out of focus or written on. Sampling reads all pixels for it,
    and switching it on or off samples and stores again; it reads by the same `reader` as the stores. A mapping of the
    next four keys drops patches too, from all stores alike; `dropped/` lists them, the measure as the reason. A patch
    that cannot be read has no measures, and stays for `unreadable_patches` to decide.
    """

    labels: Labels = section("how annotations become labels")

    reader: Literal["auto", "openslide", "tiles"] = key(
        "auto", "what reads the slides' pixels, auto (tiles where they can be trusted), openslide or tiles"
    )
    """What reads the slides' pixels: `tiles` decodes each tile of a TIFF once (Aperio, generic, Philips and Ventana
    TIFF; JPEG, JPEG 2000 as RGB, deflate, LZW, none), `openslide` goes through OpenSlide, `auto` takes tiles where the
    slide's structure is known and parts of it, edges and the last tile among them, are what OpenSlide reads.
    `slides.csv` says which it was and why. The stores are the same either way.
    """

    icc: Literal["ignore", "srgb"] = key(
        "ignore", "ignore stores the slides' own pixels, srgb converts those of slides with an ICC profile to sRGB"
    )
    """What becomes of a slide's ICC profile. `ignore` stores the pixels as the slide has them. `srgb` converts every
    stored pixel by the profile to sRGB, see below. `slides.csv` names the profile either way.
    """

    unreadable_patches: Literal["fail", "skip"] = key(
        "fail", "fail makes a slide failed that has a patch whose pixels cannot be read, skip leaves such patches out"
    )
    """A patch whose pixels cannot be read is in no store, and `unreadable.csv` lists it. `fail`: its slide is failed,
    and none of its patches are in `metadata.csv`. `skip`: the slide goes on without it; where no patch can be read it
    fails all the same.
    """

    max_failed: Count = key(0, "how many slides may fail before the run does, 0 or more")
    """The run fails at its end when more slides than this have failed."""

    scratch: NonEmpty | None = key(
        None, "a folder on a disk of the machine that runs a job, where stores are written first; or null for none"
    )
    """A folder on a local disk of the machine that runs a job, `$TMPDIR` for example: stores are written there, copied
    to the results when whole, compared, and renamed. What a killed job left there is removed by the next job for the
    same store in the same results. For results on a network drive, see [docs/clusters.md](../docs/clusters.md).
    `$VARIABLES` are the job's own.
    """

    stores: Stores = key(
        {"lmdb": {}, "hdf5": {}, "disk": {}},
        "the stores that are written, of lmdb, hdf5, disk and tar, at least one",
        validate_default=True,
        json_schema_extra={"minProperties": 1},
    )
    """Backends to write: these, and `tar`, see [below](#tar-files). Naming one leaves out the others."""

    splits: Splits | None = key(
        None, "a mapping of folds, by and stratify parts the slides into folds; null parts nothing"
    )
    """Parts the slides that have patches into folds, for training and testing: `splits.csv` and a section of the
    report. A mapping of the next three keys; `{}` takes their defaults. See [docs/splits.md](../docs/splits.md).
    """

    validation: Validation = section("how stores are checked")
    benchmark: Benchmark = section("how the stores' speed is measured")

    seed: Count = key(0, "the seed of every random choice, 0 or more")
    """Of every random choice: samples of the validation, the benchmark and the pictures, and the order in which
    `splits` takes groups of about the same size.
    """
