"""CPU seconds per job of a large cohort: ``python -m benchmarks.run_jobs FOLDER [options] [-- snakemake's]``.

Runs the real workflow on small slides, which cost next to nothing themselves, and ends it after `--jobs` jobs or
`--minutes`. CPU seconds, not wall time, so that other work on the machine disturbs little.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import signal
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import yaml

from benchmarks.machine import ROOT, code, machine
from slidemill.testing import Tissue, paint, write_svs

SIDE, PATCH = 256, 128
FINISHED = re.compile(r"Finished jobid: \d+ \(Rule: (\w+)\)")
TICKS = os.sysconf("SC_CLK_TCK")
SCRIPTS = (
    *("discover_slides", "sample_patches", "write_metadata", "store_patches", "validate_stores", "draw_slide"),
    *("gather_results", "join_hdf5", "split_slides", "benchmark_stores", "render_report", "gate"),
)
PREAMBLE = "import atexit, gc, pickle, sys; gc.disable(); atexit.register(gc.freeze)"
"""What `slidemill.runs.script_start` puts in front of a script, but for the values of its job."""
SNAKEMAKE_PREAMBLE = "import pickle; from snakemake.logging import logger; from snakemake.iocontainers import Snakemake"
"""What Snakemake puts there."""


@dataclass(frozen=True, slots=True)
class Moment:
    """What a run had used when a job finished.

    Parameters
    ----------
    rule
        The job's rule; empty before the first job.
    wall
        Seconds of a monotonic clock.
    main
        CPU seconds of Snakemake's main process.
    jobs
        CPU seconds of all job processes that have ended.
    """

    rule: str
    wall: float
    main: float
    jobs: float


def make(folder: Path, count: int) -> None:
    """Write `count` small slides of different pixels into a folder that has fewer."""
    folder.mkdir(parents=True, exist_ok=True)
    tissue = Tissue("Normal", (8, 8, SIDE - 8, SIDE - 8), 5.0, 5)
    pixels = paint(SIDE, SIDE, tissue, areas=(), seed=0)
    for number in range(count):
        path = folder / f"slide{number:05d}.svs"
        if not path.exists():
            pixels[:4, :4] = (number % 256, number // 256, 128)
            write_svs(path, pixels, downsamples=(1,))


def configured(folder: Path, count: int, backends: Sequence[str]) -> Path:
    """Return a configuration for the first `count` slides of the folder, with empty results."""
    results = folder / "results"
    shutil.rmtree(results, ignore_errors=True)
    sheet = folder / "sheet.csv"
    rows = "".join(f"slide{number:05d},slides/slide{number:05d}.svs\n" for number in range(count))
    sheet.write_text(f"slide,path\n{rows}", encoding="utf-8")
    values = {
        "slides": str(sheet),
        "results": str(results),
        "sampling": {"patch_size": PATCH, "level": 0},
        "tissue": {"method": "none"},
        "stores": {backend: {} for backend in backends},
    }
    file = folder / "config.yaml"
    file.write_text(yaml.safe_dump(values), encoding="utf-8")
    return file


def used(process: int) -> tuple[float, float]:
    """Return the CPU seconds of a process, and of those children that it waited for."""
    fields = Path(f"/proc/{process}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
    user, system, below_user, below_system = (int(field) / TICKS for field in fields[11:15])
    return user + system, below_user + below_system


def moments(command: Sequence[str], most: int, seconds: float) -> Iterator[Moment]:
    """Run Snakemake until `most` jobs have finished or `seconds` are over; yield its start and the end of each job."""
    until = time.monotonic() + seconds
    # A group of its own, so that its jobs end with it.
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, process_group=0, errors="replace") as run:  # noqa: S603
        try:
            yield Moment("", time.monotonic(), *used(run.pid))
            found = (FINISHED.search(line) for line in run.stderr or ())
            for number, match in enumerate(filter(None, found), start=1):
                yield Moment(match[1], time.monotonic(), *used(run.pid))
                if number == most or time.monotonic() > until:
                    break
        finally:
            with suppress(ProcessLookupError):
                os.killpg(run.pid, signal.SIGKILL)


def measure(arguments: argparse.Namespace) -> None:
    """Print what a job costs the main process, and what its own process costs."""
    folder = arguments.folder.resolve()
    make(folder / "slides", arguments.slides)
    command = [sys.executable, "-m", "snakemake", "--snakefile", str(ROOT / "workflow" / "Snakefile")]
    command += ["--cores", str(arguments.cores), *arguments.snakemake]
    command += ["--configfile", str(configured(folder, arguments.slides, arguments.backends))]
    start, first, *rest = moments(command, arguments.jobs + 1, 60 * arguments.minutes)
    last, count = rest[-1], len(rest)
    wall, main, jobs = last.wall - first.wall, last.main - first.main, last.jobs - first.jobs
    given = " ".join([f"{arguments.slides} slides, {arguments.cores} cores", *arguments.snakemake])
    print(f"{given}: {count} jobs after the first")
    print(f"until the first job has finished: {first.main:.1f} CPU s, {first.wall - start.wall:.1f} s")
    print(f"main process: {main / count:.4f} CPU s a job; job's process: {jobs / count:.3f} CPU s")
    print(f"{60 * count / wall:.0f} jobs a minute")
    own: dict[str, list[float]] = {}
    for before, after in zip([first, *rest], rest, strict=False):
        own.setdefault(after.rule, []).append(after.jobs - before.jobs)
    for rule, seconds in own.items():
        # Side by side, a job's end says nothing of which job used what.
        cost = f", {statistics.median(seconds):.2f} CPU s each" if arguments.cores == 1 else ""
        print(f"  {rule}: {len(seconds)}{cost}")


def starts(repeats: int) -> None:
    """Print the least CPU seconds until each script is imported, by turns: by Snakemake, and by this workflow."""
    # As Snakemake starts a job of one thread.
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "scripts"), "OMP_NUM_THREADS": "1"}
    ways = SNAKEMAKE_PREAMBLE, PREAMBLE
    seconds: dict[tuple[str, str], list[float]] = {(script, way): [] for script in SCRIPTS for way in ways}
    # The first turn warms up, and is not counted.
    for turn in range(repeats + 1):
        for (script, way), own in seconds.items():
            process = subprocess.Popen([sys.executable, "-c", f"{way}; import {script}"], env=environment)  # noqa: S603
            _, status, usage = os.wait4(process.pid, 0)
            if status:
                sys.exit(f"{script}: cannot be imported")
            process.returncode = 0
            if turn:
                own.append(usage.ru_utime + usage.ru_stime)
    for script in SCRIPTS:
        print(f"| `{script}` | {' | '.join(f'{min(seconds[script, way]):.3f}' for way in ways)} |")


def main() -> None:
    """Measure what the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--slides", type=int, default=2_000)
    parser.add_argument("--jobs", type=int, default=1_000)
    parser.add_argument("--minutes", type=float, default=60, help="of planning and jobs, at most")
    parser.add_argument("--cores", type=int, default=2)
    parser.add_argument("--backends", nargs="+", default=["lmdb"])
    parser.add_argument("--starts", type=int, default=0, metavar="N", help="only import each script, N times")
    own, _, others = " ".join(sys.argv[1:]).partition(" -- ")
    arguments = parser.parse_args(own.split())
    arguments.snakemake = others.split()
    # As most users have it: modules are compiled once.
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    print(f"{machine()}; {code()}")
    if arguments.starts:
        starts(arguments.starts)
    else:
        measure(arguments)


if __name__ == "__main__":
    main()
