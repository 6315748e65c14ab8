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
