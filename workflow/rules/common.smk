# What rules ask about the configuration and the slides.

from functools import cache


wildcard_constraints:
    slide=r"[A-Za-z0-9][A-Za-z0-9._-]*",
    target="all|validated",


@cache
def code(script, backend=None):
    """A digest of the code that a script runs: as a parameter, it runs the rule again after an edit."""
    others = [f"slidemill.stores.{name}" for name in SUFFIXES if backend and name != backend]
    return code_digest(SCRIPTS / f"{script}.py", others)


# Functions cost a plan of thousands of slides its time: one for all that a rule knows of its slide.
def slide_file(wildcards):
    """A slide's path, the fingerprint of its content, and what a sheet says of its pixels."""
    slide = SLIDES[wildcards.slide]
    return {"path": slide.path, "fingerprint": fingerprint(CONFIG.root / decoded(slide.path)), "mpp": slide.mpp}


def slide_annotation(wildcards):
    """The path and the fingerprint of a slide's annotation, or None, and the slide's further columns in the sheet."""
    slide = SLIDES[wildcards.slide]
    content = fingerprint(CONFIG.annotations_root / decoded(slide.annotation)) if slide.annotation else None
    return {"annotation": slide.annotation, "fingerprint": content, "columns": dict(slide.columns)}


def every_slide(pattern):
    """The paths that a pattern gives for every slide; braces around `slide` alone."""
    return [pattern.replace("{slide}", slide) for slide in SLIDES]


def gate_inputs(wildcards):
    """The tables that the gate reads; for the whole run, it waits for the report too."""
    return ["slides.csv", "validation.csv", "report.html"][: 3 if wildcards.target == "all" else 2]
