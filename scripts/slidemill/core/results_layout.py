"""Layout of a results folder: all paths in it, relative to it.

Paths of one slide hold ``{slide}``, as Snakemake's rules do. Code digests leave this module out: what it names are
the inputs and outputs of rules, and Snakemake detects changes of these itself.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import chain
from pathlib import Path

SUFFIXES = {"lmdb": ".lmdb", "hdf5": ".h5", "disk": "", "tar": ".tar", "zarr": ".zarr"}
"""By backend, the suffix of its stores."""

FOLDERS = ("disk", "zarr")
"""Backends whose stores are folders."""

JOINED = Path("stores", "hdf5", "all.h5")
"""The one file over the cohort's stores in HDF5; no slide has this name."""

MANIFEST = "manifest.json"
"""The file in a store that is a folder, next to its patches."""

FACTS = "slides/{slide}.json"
PATCHES, DROPPED, TISSUE_MASK = "patches/{slide}.csv", "dropped/{slide}.csv", "tissue/{slide}.png"
METADATA, VALIDATION = "metadata/{slide}.csv", "validation/{slide}.csv"
OVERLAY, MONTAGE = "figures/overlay/{slide}.jpg", "figures/montage/{slide}.jpg"

SLIDES_TABLE, STORES_TABLE, UNREADABLE_TABLE = "slides.csv", "stores.csv", "unreadable.csv"
FEATURES_TABLE = "features.csv"
"""The features of all slides, in runs that embed patches."""
METADATA_TABLE, METADATA_PARQUET, VALIDATION_TABLE = "metadata.csv", "metadata.parquet", "validation.csv"
COHORT_SEALS = "tables.seal.json"
"""The seals of the cohort's tables, written after them."""

SLIDE_RECORDS = "slide_records.json"
"""How the patches of each slide are read from the slide itself."""

SPLITS_TABLE, SPLITS_SEAL = "splits.csv", "splits.seal.json"
BENCHMARK_TABLE, BENCHMARK_PLOT = "benchmark.csv", "figures/benchmark.svg"
CANDIDATES_TABLE = "candidates.csv"
ESTIMATE_TABLE, ESTIMATE_SEAL = "estimate.csv", "estimate.seal.json"
SPACE = "outcomes/check_space.json"
"""What the stores take, and the free space, as found before the first store was written."""

MEASURED_FOLDER = Path(".measured")
"""The folder of a store that is only measured."""

REPORT = "report.html"
PASSED = "passed/{target}"
"""What the gate leaves when a target has passed: ``all`` or ``validated``."""

UNFINISHED_FOLDER = Path("unfinished")
"""The tables and the report of a run that did not finish."""

RECORD = ".snakemake"
"""Snakemake's own folder."""

LOCKS = Path(RECORD, "locks")
"""Snakemake's locks, files that outlive a killed run."""

HOLDER = Path(RECORD, "slidemill.holder")
"""File that is locked while a run lives; it holds the name of the machine that the run is on."""

WORKER = Path(RECORD, "slidemill.worker")
"""File that only the run at work locks; it holds the name of that run."""

PLAN = Path(RECORD, "slidemill.plan.json")
"""The slides of the last run, for its jobs."""


def store_path(backend: str, slide: str) -> Path:
    """Return the path of a slide's store."""
    return Path("stores") / backend / f"{slide}{SUFFIXES[backend]}"


def store_file(backend: str, slide: str) -> Path:
    """Return the file that represents a store for Snakemake.

    It is the store itself, or the manifest where the store is a folder.

    Snakemake would remove a folder file by file before its job runs again, and readers would see what is left.
    """
    path = store_path(backend, slide)
    return path / MANIFEST if backend in FOLDERS else path


def store_of_file(file: Path) -> Path:
    """Return the path of the store that has this `store_file`."""
    return file.parent if file.name == MANIFEST else file


def feature_file(name: str, slide: str = "{slide}") -> str:
    """Return the path of a slide's features by the model of that name."""
    return f"features/{name}/{slide}.h5"


def outcome_file(stage: str, slide: str = "{slide}") -> str:
    """Return the path of a slide's outcome of a stage.

    `stage` is, for example, ``sample_patches`` or ``store_patches/lmdb``.
    """
    return FACTS.replace("{slide}", slide) if stage == "discover_slides" else f"outcomes/{stage}/{slide}.json"


def log_file(stage: str, slide: str = "{slide}") -> str:
    """Return the path of the log of a slide's stage."""
    return f"logs/{stage}/{slide}.log"


def embed_stage(name: str) -> str:
    """Return the stage that embeds patches by the model of that name."""
    return f"embed_patches/{name}"


STORE_STAGES = {backend: f"store_patches/{backend}" for backend in SUFFIXES}
"""By backend, the stage that writes its stores."""

SLIDE_FILES = {
    "discover_slides": (FACTS,),
    "sample_patches": (outcome_file("sample_patches"), PATCHES, DROPPED, TISSUE_MASK),
    "write_metadata": (outcome_file("write_metadata"), METADATA),
    **{stage: (outcome_file(stage), str(store_path(backend, "{slide}"))) for backend, stage in STORE_STAGES.items()},
    "validate_stores": (VALIDATION, outcome_file("validate_stores")),
    "draw_slide": (OVERLAY, MONTAGE),
}
"""By stage, in their order, what it makes of one slide; one file of each, the first, stands for the whole job."""

COHORT_TABLES = {
    "slides": SLIDES_TABLE,
    "metadata": METADATA_TABLE,
    "columnar": METADATA_PARQUET,
    "stores": STORES_TABLE,
    "unreadable": UNREADABLE_TABLE,
    "validation": VALIDATION_TABLE,
    "records": SLIDE_RECORDS,
}
"""By name, the tables that gather_results writes and seals."""

COHORT_FILES = (
    *(*COHORT_TABLES.values(), COHORT_SEALS, SPLITS_TABLE, SPLITS_SEAL, BENCHMARK_TABLE, BENCHMARK_PLOT, REPORT),
    *(CANDIDATES_TABLE, SPACE, FEATURES_TABLE),
    *(str(JOINED), PASSED, ESTIMATE_TABLE, ESTIMATE_SEAL),
)
"""What runs make of all slides together."""

TOP_LEVEL = frozenset(
    str(path).split("/", 1)[0]
    for path in (
        *chain(*SLIDE_FILES.values()),
        *COHORT_FILES,
        log_file("rule"),
        feature_file("name"),
        UNFINISHED_FOLDER,
        MEASURED_FOLDER,
        RECORD,
    )
)
"""The names of files and folders in a results folder itself."""


@dataclass(frozen=True, slots=True)
class CohortTables:
    """Paths of the cohort's tables."""

    slides: Path
    metadata: Path
    columnar: Path
    stores: Path
    unreadable: Path
    validation: Path
    records: Path
    seals: Path
    features: Path | None = None

    @classmethod
    def below(cls, folder: Path, *, features: bool = False) -> CohortTables:
        """Return the paths of the tables in a results folder, that of features only where it is asked for."""
        own = {name: folder / file for name, file in COHORT_TABLES.items()}
        return cls(**own, seals=folder / COHORT_SEALS, features=folder / FEATURES_TABLE if features else None)
