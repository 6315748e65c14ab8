"""Folders of results that no run has made: the tables, and stores of a few small patches."""

from slidemill.columnar import write_columnar
from slidemill.columns import METADATA_COLUMNS, SLIDE_COLUMNS, STORE_COLUMNS, VALIDATION_COLUMNS
from slidemill.encodings import encoded
from slidemill.geometry import Grid, GridSpec
from slidemill.outcomes import Outcome, write_outcome
from slidemill.pyramid import Pyramid
from slidemill.specs import StoreSpec
from slidemill.stores.paths import SUFFIXES, store_path
from slidemill.stores.registry import STORES, open_store
from slidemill.stores.writing import write_store
from slidemill.storing import new_manifest
from slidemill.tables import write_table

SIZE = 16
GRID = GridSpec(SIZE, level=0)
PATCHES = list(Grid(Pyramid(((SIZE * 3, SIZE * 2),), (1.0,)), GRID).patches())
ENCODING = {"lmdb": "zstd", "hdf5": "raw", "disk": "png", "tar": "png"}
FINGERPRINT = "f" * 32
LABELS = ((0, "Normal"), (1, "Tumour"), (-1, "Other"))


def write_a_store(backend, path, encoding, pixels, slide="slide", patches=PATCHES):
    """Write a store of six patches, or those given."""
    kind = STORES[backend]
    quality = 90 if encoding == "jpeg" else None
    manifest = new_manifest(kind, StoreSpec(encoding, quality), slide, FINGERPRINT, GRID)
    stored = ((patch, encoded(manifest.codec, quality, one)) for patch, one in zip(patches, pixels, strict=True))
    write_store(kind, path, manifest, patches, stored)


def write_slide(results, slide, pixels):
    """Write what the jobs of one slide make of it."""
    write_outcome(results / f"slides/{slide}.json", Outcome(slide, "discover_slides"))
    for stage in ("sample_patches", "write_metadata"):
        write_outcome(results / f"outcomes/{stage}/{slide}.json", Outcome(slide, stage))
    for backend in SUFFIXES:
        write_outcome(results / f"outcomes/store_patches/{backend}/{slide}.json", Outcome(slide, "store_patches"))
        write_a_store(backend, results / store_path(backend, slide), ENCODING[backend], pixels, slide)
    for name in (f"patches/{slide}.csv", f"logs/store_patches/lmdb/{slide}.log", f"figures/montage/{slide}.jpg"):
        (results / name).parent.mkdir(parents=True, exist_ok=True)
        (results / name).write_text("12345")


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
        for backend in (*backends, "all")
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
    write_metadata(results, [slide for slide, status in slides.items() if status == "ok"])


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
        for patch in PATCHES:
            label, name = labels[len(rows) % len(labels)]
            place = {one: getattr(patch, one) for one in ("column", "row", "x0", "y0", "width0", "height0", "level")}
            known = {"patch_id": patch.patch_id, "slide": slide, "downsample": 1.0, "label": label, "label_name": name}
            rows.append(known | place | own[slide])
    write_table(results / "metadata.csv", (*METADATA_COLUMNS, *names), rows)
    write_columnar(results / "metadata.parquet", results / "metadata.csv")
