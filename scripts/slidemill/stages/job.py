"""Typed access to the values that Snakemake passes to a rule's script."""

from __future__ import annotations

import gc
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import chdir, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from slidemill.core.job_log import job_log


class Snakemake(Protocol):
    """Protocol of the attributes of Snakemake's object that `script_job` reads."""

    input: Any
    output: Any
    params: Any
    wildcards: Any
    threads: int
    log: Any
    config: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Roots:
    """The folders of slides, annotations, tissue masks and files of coordinates."""

    slides: Path
    annotations: Path
    masks: Path
    coordinates: Path = Path()


@dataclass(frozen=True, slots=True)
class Job:
    """A job of a rule.

    Parameters
    ----------
    roots
        The folders of the run's input.
    inputs, input_lists
        Single files and lists of files of the rule's input, by name.
    outputs, params, wildcards
        The rule's output files, parameters and wildcards, by name.
    threads
        Threads that the job may use.
    command, scratch
        The command line of the run, and the configuration's key ``scratch``.
    force
        The configuration's key.
    embedding
        The configuration's ``device``, and by name of a model its ``batch``, as ``batches``.
    """

    roots: Roots
    inputs: Mapping[str, Path]
    input_lists: Mapping[str, Sequence[Path]]
    outputs: Mapping[str, Path]
    params: Mapping[str, Any]
    wildcards: Mapping[str, str]
    threads: int = 1
    command: str = ""
    scratch: str | None = None
    force: bool = False
    embedding: Mapping[str, Any] = field(default_factory=dict)


@contextmanager
def script_job(snakemake: Snakemake) -> Iterator[Job]:
    """Yield the job of a script in the results folder, and send slidemill's log to the rule's log file."""
    # A script starts without collecting (runs/script_start.py).
    gc.enable()
    config, inputs = snakemake.config, dict(snakemake.input.items())
    # Of a module of another workflow, paths of rules begin with the results folder.
    results = config.get("prefix") or os.curdir

    def own(file: str) -> Path:
        return Path(os.path.relpath(file, results) if config.get("prefix") else file)

    with job_log(snakemake.log[0]), chdir(results):
        yield Job(
            Roots(**{name: Path(folder) for name, folder in config["roots"].items()}),
            {name: own(file) for name, file in inputs.items() if isinstance(file, str)},
            {name: [own(file) for file in files] for name, files in inputs.items() if not isinstance(files, str)},
            {name: own(file) for name, file in snakemake.output.items()},
            dict(snakemake.params.items()),
            dict(snakemake.wildcards.items()),
            snakemake.threads,
            config["command"],
            config["scratch"],
            config.get("force", False),
            config.get("embedding", {}),
        )
