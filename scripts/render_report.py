"""Render the report of a run."""

import platform
from collections.abc import Mapping
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import openslide

from slidemill import __version__
from slidemill.joblog import job_log
from slidemill.outcomes import read_outcome
from slidemill.report import Pictures, Run, render
from slidemill.tables import read_table

if TYPE_CHECKING:
    from snakemake.iocontainers import Snakemake

    snakemake: Snakemake

LIBRARIES = (
    "snakemake",
    "openslide-python",
    "numpy",
    "lmdb",
    "h5py",
    "imagecodecs",
    "pandas",
    "pillow",
    "simplejpeg",
    "tifffile",
    "shapely",
    "matplotlib",
)


def describe_run(parameters: Mapping[str, Any], command: str) -> Run:
    """Return parameters, versions of all that shapes the results, the command, and the date."""
    versions = {
        "slidemill": __version__,
        "OpenSlide": openslide.__library_version__,
        "Python": platform.python_version(),
        **{name: version(name) for name in LIBRARIES},
        "machine": f"{platform.platform()}, {platform.machine()}",
    }
    return Run(parameters, versions, command, f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC")


def main(page: Path, inputs: Any, label_map: Mapping[str, int], run: Run) -> None:
    """Publish the report; `inputs` are the rule's, by name."""
    outcomes = [read_outcome(Path(path)) for path in inputs.labelled]
    pictures = {
        outcome.slide: Pictures(Path(overlay), Path(montage))
        for outcome, overlay, montage in zip(outcomes, inputs.overlays, inputs.montages, strict=True)
    }
    slides, validation, measured = (
        list(read_table(Path(table))) for table in (inputs.slides, inputs.validation, inputs.benchmark)
    )
    render(page, slides, validation, measured, outcomes, label_map, Path(inputs.plot), pictures, run)


if __name__ == "__main__":
    with job_log(snakemake.log[0]):
        params = dict(snakemake.params.parameters)
        main(
            Path(snakemake.output.page),
            snakemake.input,
            params["labels"]["map"],
            describe_run(params, snakemake.config["command"]),
        )
