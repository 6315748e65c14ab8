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


def seen(slide):
    """What the plan sees of a slide's file and of its annotation: once, since Snakemake asks again before each job."""
    if slide not in SEEN:
        file, facts = SLIDES[slide], f"slides/{slide}.json"
        own = look(CONFIG.root, file.path, CONFIG.results / facts)
        labelled = CONFIG.results / "outcomes/write_metadata" / f"{slide}.json"
        SEEN[slide] = own, look(CONFIG.annotations_root, file.annotation, labelled)
    return SEEN[slide]


# Functions cost a plan of thousands of slides its time: one for all that a rule knows of its slide.
def slide_file(wildcards):
    """A slide's path, what the plan saw of it, and what a sheet says of its pixels."""
    slide, (own, _) = SLIDES[wildcards.slide], seen(wildcards.slide)
    return {"path": slide.path, "mpp": slide.mpp, **asdict(own)}


def slide_annotation(wildcards):
    """A slide's annotation, or None, what the plan saw of it, and the slide's further columns in the sheet."""
    slide, (_, own) = SLIDES[wildcards.slide], seen(wildcards.slide)
    return {"annotation": slide.annotation, "columns": dict(slide.columns), **asdict(own)}


def checked_copies(encoding):
    """Whether tiles that a store copies are decoded too: where other stores decode them, all leave out the same."""
    return encoding == "source" and {store.encoding for store in CONFIG.stores.values()} != {"source"}


def every_slide(pattern):
    """The paths that a pattern gives for every slide; braces around `slide` alone."""
    return [pattern.replace("{slide}", slide) for slide in SLIDES]


def gate_inputs(wildcards):
    """The tables that the gate reads; for the whole run, it waits for the report too."""
    return ["slides.csv", "validation.csv", "report.html"][: 3 if wildcards.target == "all" else 2]
