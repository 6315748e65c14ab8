# The checked configuration, the slides, and what rules ask about them.

import shlex
import sys
from dataclasses import asdict
from functools import cache
from os import environ, pathsep
from pathlib import Path

import yaml

SCRIPTS = Path(workflow.basedir).parent / "scripts"
sys.path.insert(0, str(SCRIPTS))
# Snakemake puts scripts' folder last on a job's path: an installed copy of the package would win.
environ["PYTHONPATH"] = pathsep.join(filter(None, [str(SCRIPTS), environ.get("PYTHONPATH")]))

from slidemill.cohort import list_slides
from slidemill.config import read_config
from slidemill.discovery import decoded
from slidemill.errors import ConfigError
from slidemill.fingerprints import fingerprint
from slidemill.provenance import code_digest
from slidemill.stores.paths import store_path


def schema(name):
    return yaml.safe_load(Path(workflow.basedir, "schemas", f"{name}.schema.yaml").read_text())


try:
    CONFIG = read_config(config, schema("config"), base=Path.cwd())
    SLIDES = {slide.slide: slide for slide in list_slides(CONFIG, schema("slides"))}
except ConfigError as error:
    sys.exit(f"slidemill: the configuration is wrong, and nothing has been run:\n{error}")

BACKENDS = {backend: asdict(store) for backend, store in CONFIG.stores.items()}
STORES = [str(store_path(backend, slide)) for slide in SLIDES for backend in BACKENDS]
GRID = asdict(CONFIG.sampling)
# No parameter of a rule: slides that are moved stay the same slides.
config["roots"] = {"slides": str(CONFIG.root), "annotations": str(CONFIG.annotations_root)}
config["command"] = shlex.join(sys.argv)


wildcard_constraints:
    slide=r"[A-Za-z0-9][A-Za-z0-9._-]*",
    target="all|validated",


@cache
def code(script):
    """A digest of the code that a script runs: as a parameter, it runs the rule again after an edit."""
    return code_digest(SCRIPTS / f"{script}.py")


@cache
def content(root, path):
    """A fingerprint of a slide's or an annotation's content, or None where there is no annotation."""
    return fingerprint(root / decoded(path)) if path else None


def every_slide(pattern):
    """The paths that a pattern gives for every slide; braces around `slide` alone."""
    return [pattern.replace("{slide}", slide) for slide in SLIDES]


def store_paths(wildcards):
    """The stores of one slide, by backend."""
    return [str(store_path(backend, wildcards.slide)) for backend in BACKENDS]


def store_output(backend):
    """A backend's output: a file, or a folder where its stores have no ending."""
    path = store_path(backend, "{slide}")
    return path if path.suffix else directory(path)


def gate_inputs(wildcards):
    """The tables that the gate reads; for the whole run, it waits for the report too."""
    return ["slides.csv", "validation.csv", "report.html"][: 3 if wildcards.target == "all" else 2]
