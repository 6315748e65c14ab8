# What rules ask about the configuration and the slides.

from functools import cache
from os.path import exists


wildcard_constraints:
    slide=r"[A-Za-z0-9][A-Za-z0-9._-]*",
    target="all|validated",


@cache
def code(script, backend=None):
    """A digest of the code that a script runs: as a parameter, it runs the rule again after an edit."""
    others = [f"slidemill.stores.{name}" for name in SUFFIXES if backend and name != backend]
    others += ["slidemill.labelchoice"] if script == "sample_patches" and not CONFIG.labels.only else []
    return code_digest(SCRIPTS / f"{script}.py", others)


def prints(slide):
    """The fingerprints of a slide's file, annotation and mask: taken once, since Snakemake asks again before each job."""
    if slide not in PRINTS:
        file = SLIDES[slide]
        labelled, sampled = (f"outcomes/{stage}/{slide}.json" for stage in ("write_metadata", "sample_patches"))
        PRINTS[slide] = (
            planned_print(CONFIG.root, file.path, f"slides/{slide}.json", "fingerprint"),
            planned_print(CONFIG.annotations_root, file.annotation, labelled, "annotation_fingerprint"),
            planned_print(CONFIG.masks_root, file.tissue_mask, sampled, "mask_fingerprint"),
        )
    return PRINTS[slide]


# Functions cost a plan of thousands of slides its time: one for all that a rule knows of its slide.
def slide_file(wildcards):
    """A slide's path, the fingerprint of its content, and what a sheet says of its pixels."""
    slide = SLIDES[wildcards.slide]
    return {"path": slide.path, "fingerprint": prints(slide.slide)[0], "mpp": slide.mpp}


def slide_annotation(wildcards):
    """A slide's annotation and its fingerprint, or None, and the slide's further columns in the sheet."""
    slide = SLIDES[wildcards.slide]
    return {"annotation": slide.annotation, "fingerprint": prints(slide.slide)[1], "columns": dict(slide.columns)}


def slide_mask(wildcards):
    """A slide's own mask of tissue and its fingerprint, or None."""
    slide = SLIDES[wildcards.slide]
    return slide.tissue_mask and {"path": slide.tissue_mask, "fingerprint": prints(slide.slide)[2]}


def label_choice(wildcards):
    """What decides which labels are sampled: the annotation, and how it is read."""
    known = slide_annotation(wildcards)
    return {"annotation": known["annotation"], "fingerprint": known["fingerprint"], "spec": asdict(CONFIG.labels)}


# Where all labels are sampled, other annotations and other labels sample nothing again.
LABELLED = {"labels": label_choice} if CONFIG.labels.only else {}


def checked_copies(encoding):
    """Whether tiles that a store copies are decoded too: where other stores decode them, all leave out the same."""
    return encoding == "source" and {store.encoding for store in CONFIG.stores.values()} != {"source"}


def every_slide(pattern):
    """The paths that a pattern gives for every slide; braces around `slide` alone."""
    return [pattern.replace("{slide}", slide) for slide in SLIDES]


def missing(paths):
    """The paths at which there is nothing: to ask for the others too would cost a plan of thousands of slides its time."""
    return [path for path in paths if not exists(path)]


def gate_inputs(wildcards):
    """The tables that the gate reads; for the whole run, it waits for the report too."""
    return ["slides.csv", "validation.csv", "report.html"][: 3 if wildcards.target == "all" else 2]
