# The checked configuration, the slides, and what is told of both.

import gc
import shlex
import sys
from dataclasses import asdict
from os import environ, pathsep
from pathlib import Path

import yaml

SCRIPTS = Path(workflow.basedir).parent / "scripts"
sys.path.insert(0, str(SCRIPTS))
# Snakemake puts scripts' folder last on a job's path: an installed copy of the package would win.
environ["PYTHONPATH"] = pathsep.join(filter(None, [str(SCRIPTS), environ.get("PYTHONPATH")]))

from slidemill.cohort import list_slides
from slidemill.cohortsplits import check_sheet
from slidemill.config import read_config
from slidemill.errors import ConfigError, explained
from slidemill.fingerprints import fingerprint
from slidemill.planned import PLAN, planned_print, read_plan, write_plan
from slidemill.stores.paths import JOINED, SUFFIXES, store_file


def schema(name):
    return yaml.safe_load(Path(workflow.basedir, "schemas", f"{name}.schema.yaml").read_text())


# A cluster's jobs start elsewhere, with the environment of the run that sent them.
if workflow.is_main_process:
    environ["SLIDEMILL_STARTED_IN"] = str(Path.cwd())

try:
    CONFIG = read_config(config, schema("config"), base=Path(environ.get("SLIDEMILL_STARTED_IN", Path.cwd())))
    planned = CONFIG.results / PLAN
    if workflow.is_main_process or not planned.exists():
        SLIDES, PRINTS = {slide.slide: slide for slide in list_slides(CONFIG, schema("slides"))}, {}
        check_sheet(CONFIG.splits, SLIDES.values())
    else:
        plan = read_plan(planned)
        SLIDES, PRINTS = plan.slides, plan.prints
except (ConfigError, OSError) as error:
    sys.exit(f"slidemill: the configuration is wrong, and nothing has been run:\n{explained(error)}")

# A plan is millions of objects that live to its end: looking for garbage among them took a third of its time.
gc.freeze()
gc.set_threshold(1_000_000, 100, 100)

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
    "labels": asdict(CONFIG.labels),
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
