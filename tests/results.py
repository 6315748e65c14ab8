"""Folders of results that no run has made: the tables, and stores of a few small patches."""

from dataclasses import replace
from itertools import count

from slidemill.core.columns import (
    DROPPED_COLUMNS,
    METADATA_COLUMNS,
    PATCH_COLUMNS,
    SLIDE_COLUMNS,
    STORE_COLUMNS,
    UNREADABLE_COLUMNS,
    VALIDATION_COLUMNS,
)
from slidemill.core.csv_tables import read_table, write_table
from slidemill.core.encodings import JPEG, SOURCE, encode_patch
from slidemill.core.outcomes import Outcome, add_seals, read_outcome, write_outcome
from slidemill.core.parquet import write_parquet
from slidemill.core.pyramid import SlideInfo
from slidemill.core.results_layout import COHORT_SEALS, SUFFIXES, store_path
from slidemill.core.seals import Seal, seal_tables
from slidemill.core.specs import GridSpec, StoreSpec
from slidemill.core.stage_facts import SampleFacts, SlideFacts, StoreFacts
from slidemill.slides.grid import Grid
from slidemill.slides.patch_table import patch_rows
from slidemill.stages.store import new_manifest
from slidemill.stages.validate import write_findings
from slidemill.stores.checks import Finding
from slidemill.stores.registry import STORES, open_store
from slidemill.stores.writer import write_store

SIZE = 16
GRID = GridSpec(SIZE, level=0)
INFO = SlideInfo("aperio", ((SIZE * 3, SIZE * 2),), (1.0,), None, None, None, None, "ffffff")
PATCHES = list(Grid(INFO.pyramid, GRID).patches())
ENCODING = {"lmdb": "zstd", "hdf5": "raw", "disk": "png", "tar": "png", "zarr": "zstd"}
FINGERPRINT = "f" * 32
LABELS = ((0, "Normal"), (1, "Tumour"), (-1, "Other"))


def write_a_store(backend, path, encoding, pixels, slide="slide", patches=PATCHES):
    """Write a store of six patches, or those given; those of `source` are encoded here."""
    kind = STORES[backend]
    quality = 90 if encoding == "jpeg" else None
    manifest = new_manifest(kind, StoreSpec(encoding, quality), slide, fingerprint=FINGERPRINT, grid=GRID)
    codec = JPEG if manifest.codec is SOURCE else manifest.codec
    stored = ((patch, encode_patch(codec, quality or 90, one)) for patch, one in zip(patches, pixels, strict=True))
    write_store(kind, path, manifest, patches=patches, stored=stored)


SAMPLED = {
    "path": "slide.svs",
    "fingerprint": FINGERPRINT,
    "facts": SlideFacts(info=INFO),
    "sample": SampleFacts(grid=len(PATCHES), patches=len(PATCHES), sampling=GRID),
}


def write_slide(results, slide, pixels, encodings=ENCODING):
    """Write what the jobs of one slide make of it, with the stores that `encodings` names."""
    write_outcome(results / f"slides/{slide}.json", Outcome(slide, "discover_slides"))
    patches, dropped = results / f"patches/{slide}.csv", results / f"dropped/{slide}.csv"
    seals = {
        "patches": Seal.of(patches, write_table(patches, PATCH_COLUMNS, patch_rows(slide, INFO, GRID))),
        "dropped": Seal.of(dropped, write_table(dropped, DROPPED_COLUMNS, [])),
    }
    sampled = add_seals(Outcome(slide, "sample_patches", **SAMPLED), **seals)
    write_outcome(results / f"outcomes/sample_patches/{slide}.json", sampled)
    for backend, encoding in encodings.items():
        write_a_store(backend, results / store_path(backend, slide), encoding, pixels, slide)
    write_stored(results, slide)
    rows = [
        {"slide": slide, "backend": backend, "check": "opens", "status": "ok", "checked": len(PATCHES)}
        for backend in encodings
    ]
    write_findings(
        slide,
        [Finding(*(row[name] for name in ("slide", "backend", "check", "checked"))) for row in rows],
        results / f"validation/{slide}.csv",
        outcome=results / f"outcomes/validate_stores/{slide}.json",
    )
    write_labelled(results, slide, labelled_rows(slide), [])
    for name in (f"logs/store_patches/lmdb/{slide}.log", f"figures/montage/{slide}.jpg"):
        (results / name).parent.mkdir(parents=True, exist_ok=True)
        (results / name).write_text("12345")


def write_stored(results, slide):
    """Write the outcomes of the stores that there are."""
    sampled = read_outcome(results / f"outcomes/sample_patches/{slide}.json")
    for backend in SUFFIXES:
        if (results / store_path(backend, slide)).exists():
            found = content(results / store_path(backend, slide))
            store = StoreFacts(backend=backend, content=found, patches=len(PATCHES))
            own = replace(sampled, stage="store_patches", store=store)
            write_outcome(results / f"outcomes/store_patches/{backend}/{slide}.json", own)


def labelled_rows(slide, labels=LABELS, first=0, columns=None):
    """The rows of a slide's metadata; `first` is how many rows the slides before it have."""
    rows = patch_rows(slide, INFO, GRID)
    told = (labels[place % len(labels)] for place in count(first))
    return [
        {**row, "label": label, "label_name": name, **(columns or {})}
        for row, (label, name) in zip(rows, told, strict=False)
    ]


def write_labelled(results, slide, rows, names):
    """Write a slide's own metadata."""
    table = results / f"metadata/{slide}.csv"
    sampled = read_outcome(results / f"outcomes/sample_patches/{slide}.json")
    seal = Seal.of(table, write_table(table, (*METADATA_COLUMNS, *names), rows))
    labelled = add_seals(replace(sampled, stage="write_metadata"), metadata=seal)
    write_outcome(results / f"outcomes/write_metadata/{slide}.json", labelled)


def write_tables(results, slides, backends=tuple(SUFFIXES)):
    """Write the cohort's tables; `slides` are the status of each, `backends` those that the run had."""
    rows = [
        {"slide": slide, "status": status, "patches": len(PATCHES), "fingerprint": FINGERPRINT}
        for slide, status in slides.items()
    ]
    write_table(results / "slides.csv", SLIDE_COLUMNS, rows)
    found = [
        {"slide": slide, "backend": backend, "check": "opens", "status": "ok"}
        for slide in slides
        for backend in ((*backends, "all") if backends else ())
    ]
    write_table(results / "validation.csv", VALIDATION_COLUMNS, found)
    stores = [
        {
            "slide": slide,
            "backend": backend,
            "encoding": ENCODING[backend],
            "patches": len(PATCHES),
            "content": content(results / store_path(backend, slide)),
        }
        for slide in slides
        for backend in backends
    ]
    write_table(results / "stores.csv", STORE_COLUMNS, stores)
    write_table(results / "unreadable.csv", UNREADABLE_COLUMNS, [])
    for slide in slides:
        if (results / f"outcomes/sample_patches/{slide}.json").exists():
            write_stored(results, slide)
    write_metadata(results, [slide for slide, status in slides.items() if status == "ok"])


def unseal(results):
    """Take away the seals of the cohort's tables, so that a test may write its own rows."""
    (results / COHORT_SEALS).unlink()
    return results


def content(path):
    """What the tables tell of a store; of one that is not there, nothing."""
    if not path.exists():
        return ""
    with open_store(path) as store:
        return store.manifest.content


def write_metadata(results, slides, labels=LABELS, columns=None):
    """Write the metadata of slides; `labels` are (label, name) pairs in turn, `columns` a sheet's own, by slide."""
    own = columns or {slide: {} for slide in slides}
    names = sorted({name for one in own.values() for name in one})
    rows = []
    for slide in slides:
        rows += (own_rows := labelled_rows(slide, labels, len(rows), own[slide]))
        if (results / f"outcomes/sample_patches/{slide}.json").exists():
            write_labelled(results, slide, own_rows, names)
    write_table(results / "metadata.csv", (*METADATA_COLUMNS, *names), rows)
    write_parquet(results / "metadata.parquet", results / "metadata.csv")
    counts = {name: len(list(read_table(results / name))) for name in ("slides.csv", "stores.csv", "validation.csv")}
    counts |= {"unreadable.csv": 0, "metadata.csv": len(rows), "metadata.parquet": len(rows)}
    seal_tables(results, counts)
