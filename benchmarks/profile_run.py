"""Run the workflow on one slide, and list the CPU time of each job.

    python -m benchmarks.profile_run SLIDE [--target validated] [--encodings lmdb=raw hdf5=raw disk=png] [--cores 2]
        [--checkouts BEFORE AFTER --rounds 5]

CPU seconds, user and system, of each job's process and of those that it started, and of Snakemake's own. A job's start
is Python, Snakemake's preamble and imports; `python -m benchmarks.run_jobs FOLDER --starts 7` measures it by itself.
"""

from __future__ import annotations

import argparse
import math
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import yaml

from benchmarks.machine import code, machine
from slidemill.core.csv_tables import write_table

ROOT = Path(__file__).parents[1]
HOOK = """
import atexit, os, resource, sys

def report(process=os.getpid()):
    if os.getpid() == process:
        own, others = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
        script = next((one.rsplit(".", 2)[-2] for one in sys.orig_argv if "/.snakemake/scripts/" in one), "")
        snakemake = "snakemake" if "snakemake" in sys.orig_argv and "--snakefile" in sys.orig_argv else ""
        seconds = own.ru_utime + own.ru_stime, others.ru_utime + others.ru_stime
        with open(os.environ["PROFILED"], "a") as file:
            print(script or snakemake, *(f"{one:.3f}" for one in seconds), sep=",", file=file)

atexit.register(report)
"""
"""Python that every process of a run executes when it starts, as the module `sitecustomize`."""


def main() -> None:
    """Run, and print a table in Markdown."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("slide", type=Path)
    parser.add_argument("--target", default="validated")
    parser.add_argument("--encodings", nargs="*", default=["lmdb=raw", "hdf5=raw", "disk=png"])
    parser.add_argument("--cores", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=1, help="the least of so many runs; one more compiles modules")
    parser.add_argument("--checkouts", nargs="+", type=Path, default=[ROOT], help="compared in turns")
    given = parser.parse_args()
    # As most users have it: modules are compiled once.
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    turns = [(turn, root.resolve()) for turn in range(given.rounds + 1) for root in given.checkouts]
    least: dict[str, dict[Path, float]] = {}
    for turn, root in turns:
        for process, seconds in measure(given, root).items():
            own = least.setdefault(process, {})
            if turn:
                own[root] = min(seconds, own.get(root, math.inf))
    roots = [root.resolve() for root in given.checkouts]
    print(f"{machine()}; {', '.join(code(root) for root in roots)}; CPU s\n")
    print(f"| process | {' | '.join(code(root) for root in roots)} |\n|---|{'---:|' * len(roots)}")
    for process, found in least.items():
        # A checkout may lack a job that another has.
        print(f"| `{process}` | {' | '.join(f'{found[root]:.2f}' if root in found else '-' for root in roots)} |")
    print(f"| sum | {' | '.join(f'{sum(one.get(root, 0) for one in least.values()):.2f}' for root in roots)} |")


def measure(given: argparse.Namespace, root: Path) -> dict[str, float]:
    """Return the CPU seconds of the workflow of a checkout, by script; Snakemake's as ``snakemake``."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "sitecustomize.py").write_text(HOOK, encoding="utf-8")
        write_table(folder / "slides.csv", ("slide", "path"), [{"slide": "one", "path": str(given.slide.resolve())}])
        values = {
            "slides": str(folder / "slides.csv"),
            "results": str(folder / "results"),
            "sampling": {"patch_size": 256, "level": 0},
            "tissue": {"method": "none"},
            "stores": {
                own: {"encoding": encoding} for own, _, encoding in (one.partition("=") for one in given.encodings)
            },
        }
        (folder / "config.yaml").write_text(yaml.safe_dump(values), encoding="utf-8")
        command = [sys.executable, "-m", "snakemake", "--cores", str(given.cores), given.target]
        command += ["--snakefile", str(root / "workflow" / "Snakefile"), "--configfile", str(folder / "config.yaml")]
        environment = os.environ | {"PYTHONPATH": str(folder), "PROFILED": str(folder / "profiled.csv")}
        subprocess.run(command, cwd=folder, env=environment, check=True, stdout=sys.stderr)  # noqa: S603
        lines = (folder / "profiled.csv").read_text(encoding="utf-8").splitlines()
    seconds: dict[str, float] = {}
    for line in lines:
        process, own, others = line.split(",")
        if process:
            # Snakemake's children are the jobs.
            whole = float(own) + (0 if process == "snakemake" else float(others))
            seconds[process] = seconds.get(process, 0) + whole
    return seconds


if __name__ == "__main__":
    main()
