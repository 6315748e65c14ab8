# What rules ask about the configuration and the slides.

from functools import cache
from os import listdir
from os.path import basename, dirname, exists

from slidemill.runs.code_digest import code_digest


wildcard_constraints:
    slide=r"[A-Za-z0-9][A-Za-z0-9._-]*",
    target="all|validated",


@cache
def code(script, backend=None):
    """A digest of the code that a script runs: as a parameter, it runs the rule again after an edit."""
    others = ["slidemill.core.results_layout"]  # what it names are inputs and outputs of rules
    others += [f"slidemill.stores.{name}" for name in SUFFIXES if backend and name != backend]
    if script == "sample_patches":
        # What it imports and does not run: an edit of how annotations are read would sample and store anew.
        others += [] if CONFIG.labels.only else ["slidemill.sampling.label_filter"]
        others += [] if MASKS_GIVEN else ["slidemill.sampling.custom_mask"]
    return code_digest(SCRIPTS / f"{script}.py", others)


def checked_copies(encoding):
    """Whether tiles that a store copies are decoded too: where other stores decode them, all leave out the same."""
    return encoding == "source" and {store.encoding for store in CONFIG.stores.values()} != {"source"}


def every_slide(pattern):
    """The paths that a pattern gives for every slide; braces around `slide` alone."""
    return [pattern.replace("{slide}", slide) for slide in SLIDES]


def missing(paths):
    """The paths at which there is nothing: to ask for the others too would cost a plan of thousands of slides its time."""
    return [path for path in paths if not exists(path)]


def missing_of_slides(*patterns):
    """What is missing of files that each slide has: by one listing of each folder, and for the run's plan alone."""
    found = []
    for pattern in patterns if workflow.is_main_process else ():
        there = frozenset(listdir(dirname(pattern))) if exists(dirname(pattern)) else frozenset()
        found += [path for path in every_slide(pattern) if basename(path) not in there]
    return found


def gate_inputs(wildcards):
    """The tables that the gate reads; for the whole run, it waits for the report too."""
    tables = {"slides": "slides.csv", "validation": "validation.csv"}
    return tables | SPLIT_TABLE | {"report": "report.html"} if wildcards.target == "all" else tables
