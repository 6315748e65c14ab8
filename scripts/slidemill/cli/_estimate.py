"""The command ``slidemill estimate``, which runs a part of the workflow."""

from __future__ import annotations

import argparse
import importlib.util
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from slidemill.cli._parsers import add_parser
from slidemill.config.config_file import check_file
from slidemill.errors import SlidemillError

SNAKEFILE = Path(__file__).parents[3] / "workflow" / "Snakefile"


def add_command(commands: Any) -> None:
    """Add the command to argparse's subparsers."""
    own = add_parser(
        commands, "estimate", "estimate the size, time and speed of each kind of store, before any is written"
    )
    own.add_argument("--config", type=Path, metavar="FILE", help="the configuration (default: config/config.yaml)")
    for name, what in (("slides", "slides, or a sheet"), ("results", "results"), ("annotations", "annotations")):
        own.add_argument(f"--{name}", metavar="FOLDER", help=f"the folder of {what}; replaces the configuration's")
    own.add_argument("--cores", type=int, default=os.cpu_count() or 1, metavar="N", help="cores to use (default: all)")
    own.set_defaults(run=_estimate)


def _estimate(options: argparse.Namespace) -> int:
    if options.cores < 1:
        raise SlidemillError(f"--cores is {options.cores}: give 1 or more")
    if not SNAKEFILE.is_file() or importlib.util.find_spec("snakemake") is None:
        missing = "Snakemake" if SNAKEFILE.is_file() else "the workflow"
        raise SlidemillError(
            f"estimate: this installation has only the package, without {missing}: clone the repository, run "
            "make estimate SLIDES=folder there"
        )
    if options.config:
        check_file(options.config)
    given = [f"{name}={value}" for name in ("slides", "results", "annotations") if (value := getattr(options, name))]
    command: list[str | Path] = [
        sys.executable,
        "-m",
        "snakemake",
        "estimate",
        "--snakefile",
        SNAKEFILE,
        "--cores",
        str(options.cores),
    ]
    command += ["--configfile", options.config] if options.config else []
    command += ["--config", *given] if given else []
    return subprocess.run(command, check=False).returncode  # noqa: S603 - only Snakemake with these arguments
