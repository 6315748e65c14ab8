# What the rules take from the configuration.

import shlex
from dataclasses import asdict

from slidemill.core.results_layout import JOINED, SUFFIXES, store_file

# In one order, however the configuration lists them: pictures are of the first.
BACKENDS = {backend: asdict(CONFIG.stores[backend]) for backend in SUFFIXES if backend in CONFIG.stores}
STORES = [str(store_file(backend, slide)) for slide in SLIDES for backend in BACKENDS]
GRID = asdict(CONFIG.sampling)
MASKS_GIVEN = bool(CONFIG.tissue_masks) or any(slide.tissue_mask for slide in SLIDES.values())
TISSUE_MASK = {"mask": "tissue/{slide}.png"} if MASKS_GIVEN or CONFIG.tissue.method != "none" else {}
# Without measures, no pixel is read to sample: then another reader samples nothing anew.
MEASURED = {"quality": asdict(CONFIG.quality), "reader": CONFIG.reader, "seed": CONFIG.seed} if CONFIG.quality else {}
PARAMETERS = {
    "sampling": GRID,
    "tissue": asdict(CONFIG.tissue),
    "reader": CONFIG.reader,
    "icc": CONFIG.icc,
    "unreadable_patches": CONFIG.unreadable_patches,
    "quality": MEASURED.get("quality", False),
    "labels": asdict(CONFIG.labels) | {"unannotated": CONFIG.unannotated, "unmapped": CONFIG.unmapped},
    "stores": BACKENDS,
    "splits": CONFIG.splits and asdict(CONFIG.splits),
    "validation": asdict(CONFIG.validation),
    "benchmark": asdict(CONFIG.benchmark),
    "seed": CONFIG.seed,
}
# No parameters of a rule: what follows changes no store of a whole slide.
config["roots"] = {
    "slides": str(CONFIG.root),
    "annotations": str(CONFIG.annotations_root),
    "masks": str(CONFIG.masks_root),
}
config["scratch"] = CONFIG.scratch
config["command"] = shlex.join(sys.argv)
