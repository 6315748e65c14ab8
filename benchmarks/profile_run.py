"""Run the workflow on one slide, and list the CPU time of each job.

    python -m benchmarks.profile_run SLIDE [--target validated] [--encodings lmdb=raw hdf5=raw disk=png] [--cores 2]

CPU seconds, user and system, of each job's process and of those that it started, and of Snakemake's own. A job's start
is Python, Snakemake's preamble and imports; `python -m benchmarks.run_jobs FOLDER --starts 7` measures it by itself.
"""

from __future__ import annotations

import argparse
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
    given = parser.parse_args()
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
        command += ["--snakefile", str(ROOT / "workflow" / "Snakefile"), "--configfile", str(folder / "config.yaml")]
        environment = os.environ | {"PYTHONPATH": str(folder), "PROFILED": str(folder / "profiled.csv")}
        subprocess.run(command, cwd=folder, env=environment, check=True, stdout=sys.stderr)  # noqa: S603
        lines = (folder / "profiled.csv").read_text(encoding="utf-8").splitlines()
    print(f"{machine()}; {code()}\n\n| process | CPU s | CPU s of processes that it started |\n|---|---:|---:|")
    for line in lines:
        process, own, others = line.split(",")
        if process:
            print(f"| `{process}` | {own} | {'' if process == 'snakemake' else others} |")


if __name__ == "__main__":
    main()
