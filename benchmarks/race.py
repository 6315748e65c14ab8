"""Race slidemill beside others on one slide.

    make race BENCH_SLIDE=slide PYWSI=checkout
    python -m benchmarks.race --slide SLIDE --pywsi CHECKOUT [--only NAME,NAME] [--repeats 5] [--threads 2]

In each round every entrant runs once, in an order drawn anew, each in a process of its own, in an environment of
its own where it is a rival. What is timed is the work from opening the slide to the last patch; a store of
slidemill is on the disk by then. Linux alone: memory is read from /proc.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import random
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from pathlib import Path

import numpy as np

from benchmarks import scores
from benchmarks.bench_slide import SlideFacts, painted_slide, slide_facts
from benchmarks.entrants import ENTRANTS, OWN, Entrant
from benchmarks.environments import NotRacedError, last_line, own_versions, python_of, pywsi_version
from benchmarks.machine import code, machine
from benchmarks.make_variants import size_of
from benchmarks.pixels import chosen, verdict
from benchmarks.runner import Request, Run
from slidemill.errors import SlidemillError

ROOT = Path(__file__).parents[1]
SEED = 0
MEMORY = 4 * 1024**3
"""Bytes of memory that are used once before each run: more than most stores of the race take in the page cache."""
TIME_LIMIT = 3600
"""Seconds after which a run is given up."""


@dataclass(frozen=True, slots=True)
class Start:
    """An entrant, the Python that it runs with, and what it is asked."""

    entrant: Entrant
    python: Path
    request: Request


def asked(entrant: Entrant, slide: SlideFacts, options: argparse.Namespace) -> Request:
    """Return what an entrant is asked to do.

    Raises
    ------
    NotRacedError
        When the slide does not have the grid that the entrant needs.
    """
    size = slide.tile if entrant.tiles else options.patch_size
    if size is None:
        raise NotRacedError("the slide has no square tiles that are known")
    columns, rows = slide.width // size, slide.height // size
    if not columns * rows:
        raise NotRacedError(f"the slide, {slide.width} x {slide.height}, has no patch of {size} pixels")
    if entrant.environment == "pywsi" and not options.pywsi:
        raise NotRacedError("no checkout of py-wsi was named: give one with PYWSI=folder")
    return Request(
        entrant=entrant.name,
        slide=str(slide.path),
        folder=str(options.out / "work" / entrant.name),
        patch_size=size,
        columns=columns,
        rows=rows,
        deepzoom_level=slide.deepzoom_level,
        threads=options.threads,
        pywsi=str(options.pywsi) if options.pywsi else "",
    )


def starts(
    names: Sequence[str], slide: SlideFacts, options: argparse.Namespace, found: scores.Scores
) -> tuple[list[Start], dict[str, str]]:
    """Return who can start, and the versions of the rivals' libraries; note why the others cannot."""
    ready: list[Start] = []
    versions: dict[str, str] = {}
    pythons: dict[str, tuple[Path, dict[str, str]] | NotRacedError] = {OWN: (Path(sys.executable), {})}
    for name in names:
        entrant = ENTRANTS[name]
        where = entrant.environment
        try:
            request = asked(entrant, slide, options)
            if where not in pythons:
                try:
                    pythons[where] = python_of(options.venvs, where)
                except NotRacedError as error:
                    pythons[where] = error
            known = pythons[where]
            if isinstance(known, NotRacedError):
                raise known
        except NotRacedError as error:
            found.absent[name] = str(error)
            continue
        versions |= {f"{package} ({where})": version for package, version in known[1].items()}
        ready.append(Start(entrant, known[0], request))
    return ready, versions


def raced(start: Start) -> Run:
    """Run an entrant once in a process of its own.

    Raises
    ------
    NotRacedError
        When it fails; the message is its error.
    """
    command = [str(start.python), "-m", f"benchmarks.{start.entrant.module}", json.dumps(asdict(start.request))]
    # A path to other packages would be one of all environments.
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    # One entrant does not pay for what the one before left to be written, or to the host.
    os.sync()
    touch_memory(MEMORY)
    try:
        result = subprocess.run(  # noqa: S603
            command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False, timeout=TIME_LIMIT
        )
    except subprocess.TimeoutExpired:
        raise NotRacedError(f"it took more than {TIME_LIMIT} s") from None
    if result.returncode:
        raise NotRacedError(last_line(result.stderr))
    return Run(**json.loads(last_line(result.stdout)))


def touch_memory(size: int) -> None:
    """Use free memory once, so that the machine has it at hand.

    A virtual machine's host takes back what lies free for some seconds, and whoever needs it next waits for it: for
    1.4 GB of a new file's pages as long as for all the rest, and whether it is so depends on what ran before.
    """
    np.ones(size, np.uint8)


def race_round(turn: int, ready: Sequence[Start], found: scores.Scores, seed: int) -> None:
    """Run every entrant that has not failed once, in an order of chance; compare pixels in the first round."""
    order = [start for start in ready if start.entrant.name not in found.absent]
    random.Random(f"{seed} {turn}").shuffle(order)  # noqa: S311
    for start in order:
        name, request = start.entrant.name, start.request
        if turn == 1:
            request = replace(request, look=chosen(request.columns, request.rows, seed))
        folder = Path(request.folder)
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        try:
            run = raced(replace(start, request=request))
            found.runs.setdefault(name, {})[turn] = run
            if turn == 1:
                found.pixels[name] = verdict(request, start.entrant.lossy)
            said = f"{run.wall:.3f} s, pixels {found.pixels[name]}"
        except NotRacedError as error:
            found.absent[name] = said = str(error)
        finally:
            shutil.rmtree(folder)
        print(f"race: round {turn}: {name}: {said}", file=sys.stderr)


def publish(folder: Path, facts: Mapping[str, str], names: Sequence[str], found: scores.Scores) -> str:
    """Write race.json and race.md, and return the latter."""
    page = "\n\n".join(
        [
            "# Race",
            "\n".join(f"- {name}: {value}" for name, value in facts.items()),
            scores.table(found, names),
            "Memory is the peak of anonymous memory in any run: of all processes of an entrant together, of the "
            "pipeline the largest process. Ratios are medians of those of each round; at the tile size, py-wsi's is "
            "at the tile size. MB are 1,000,000 bytes.",
            scores.disturbed(found, names),
            scores.notes(found, names),
            "## Bars",
            scores.bars(found),
        ]
    )
    values = {"facts": dict(facts), "pixels": found.pixels, "not raced": found.absent, "runs": scores.as_values(found)}
    (folder / "race.json").write_text(json.dumps(values, indent=1) + "\n", encoding="utf-8")
    (folder / "race.md").write_text(page + "\n", encoding="utf-8")
    return page


def arguments() -> argparse.Namespace:
    """Return what the command line says."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--slide", type=Path, help="the slide; one is painted where none is given")
    parser.add_argument("--size", type=size_of, default=(24000, 20000), help="of the painted slide (24000x20000)")
    parser.add_argument("--pywsi", type=Path, help="a checkout of py-wsi")
    parser.add_argument("--only", help=f"names of entrants, with commas between: {', '.join(ENTRANTS)}")
    parser.add_argument("--repeats", type=int, default=5, help="rounds (5)")
    parser.add_argument("--threads", type=int, default=2, help="threads, processes or workers of each entrant (2)")
    parser.add_argument("--patch-size", type=int, default=256, help="in pixels (256)")
    parser.add_argument("--venvs", type=Path, default=ROOT / ".venv-race", help="where the rivals' environments lie")
    parser.add_argument("--out", type=Path, default=ROOT / "benchmarks" / "out", help="where the results go")
    options = parser.parse_args()
    options.names = options.only.split(",") if options.only else list(ENTRANTS)
    for name in options.names:
        if name not in ENTRANTS:
            parser.error(f"{name!r} is no entrant: name some of {', '.join(ENTRANTS)}")
    for number in ("repeats", "threads", "patch_size"):
        if getattr(options, number) < 1:
            parser.error(f"{number.replace('_', '-')} is {getattr(options, number)}: give 1 or more")
    if options.pywsi and not (options.pywsi / "py_wsi" / "turtle.py").is_file():
        parser.error(f"{options.pywsi} is no checkout of py-wsi: it lacks py_wsi/turtle.py")
    for path in ("slide", "pywsi", "venvs", "out"):
        # Entrants run in another folder. Links stay as they are: an environment's Python is one.
        if getattr(options, path):
            setattr(options, path, getattr(options, path).absolute())
    return options


def main() -> None:
    """Race, and print the table."""
    if not Path("/proc/self/status").exists():
        raise SystemExit("this system has no /proc, where the race reads memory: race on Linux")
    options = arguments()
    options.out.mkdir(parents=True, exist_ok=True)
    try:
        slide = slide_facts(options.slide or painted_slide(options.out, *options.size))
    except SlidemillError as error:
        raise SystemExit(str(error)) from None
    found = scores.Scores(options.threads)
    ready, versions = starts(options.names, slide, options, found)
    if options.pywsi:
        versions["py-wsi"] = pywsi_version(options.pywsi)
    facts = {
        "date": datetime.now().astimezone().isoformat(timespec="minutes"),
        "machine": machine(),
        "slidemill": f"commit {code()}, Python {platform.python_version()}",
        "slide": slide.summary,
        "patches": f"{options.patch_size} pixels, level 0, {options.threads} threads, {options.repeats} rounds",
        "libraries": ", ".join(f"{name} {version}" for name, version in {**own_versions(), **versions}.items()),
    }
    for turn in range(1, options.repeats + 1):
        race_round(turn, ready, found, SEED)
        page = publish(options.out, facts, options.names, found)
    shutil.rmtree(options.out / "work", ignore_errors=True)
    print(page)
    print(f"\n{options.out / 'race.md'}", file=sys.stderr)


if __name__ == "__main__":
    main()
