"""The command ``slidemill`` with its commands inspect, verify and prune."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from slidemill._version import __version__
from slidemill.cli import _estimate, _heatmap
from slidemill.cli._parsers import add_parser, add_results
from slidemill.cli._transfer import add_commands
from slidemill.core.results_layout import JOINED, store_path
from slidemill.core.specs import GridSpec
from slidemill.core.text import format_count, format_size
from slidemill.errors import INTERRUPTED, MachineError, SlidemillError, explain
from slidemill.runs.run_lock import LOOK_AGAIN, at_rest, working
from slidemill.slides.discovery import decode_path, find_slides
from slidemill.slides.level_overview import contact_sheet, describe, levels_of, resolutions_of
from slidemill.slides.reader_choice import describe_readers
from slidemill.slides.slide_info import open_slide, slide_info
from slidemill.stages.prune import delete, find_left_over
from slidemill.stages.verify import verify
from slidemill.stores.checks import EVERY_STORE, Finding


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command, and return the exit code: 0, 1 for faults, or `LOOK_AGAIN`."""
    parser = argparse.ArgumentParser(
        prog="slidemill", description="Prepare, check and share patch stores from whole-slide images."
    )
    parser.add_argument("--version", action="version", version=f"slidemill {__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    inspect = add_parser(commands, "inspect", "print the levels and resolutions of a slide, to choose one")
    inspect.add_argument("path", type=Path, metavar="SLIDE_OR_FOLDER", help="a slide, or a folder of slides")
    inspect.add_argument("--patch-size", type=int, default=256, metavar="PIXELS", help="side of a patch (default: 256)")
    inspect.add_argument(
        "--overlap", type=int, default=0, metavar="PIXELS", help="pixels added on each side (default: 0)"
    )
    inspect.add_argument(
        "--out", type=Path, metavar="FOLDER", help="also save a picture with a patch of each level in this folder"
    )
    inspect.set_defaults(run=_inspect)
    _estimate.add_command(commands)
    again = add_parser(commands, "verify", "check that finished results are intact: stores, tables and outcomes")
    add_results(again)
    again.add_argument(
        "--jobs",
        type=int,
        default=os.cpu_count() or 1,
        metavar="N",
        help="slides to check at a time (default: number of cores)",
    )
    again.set_defaults(run=_verify)
    prune = add_parser(commands, "prune", "list or delete what removed slides and backends have left in the results")
    add_results(prune)
    prune.add_argument(
        "--delete", action="store_true", help="delete the listed files; without this option, nothing is deleted"
    )
    prune.set_defaults(run=_prune)
    add_commands(commands)
    _heatmap.add_command(commands)
    options = parser.parse_args(arguments)
    try:
        return int(options.run(options))
    except BrokenPipeError:
        # The reader of the output is gone; nothing more may be written, at exit either.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except (SlidemillError, OSError) as error:
        sys.stderr.write(f"slidemill: {explain(error)}\n")
        return 1
    except KeyboardInterrupt:
        sys.stderr.write("slidemill: interrupted by Ctrl-C\n")
        return INTERRUPTED


def _inspect(options: argparse.Namespace) -> int:
    spec = GridSpec(patch_size=options.patch_size, overlap=options.overlap, level=0)
    if not 16 <= spec.patch_size <= 4096 or spec.overlap < 0 or spec.step <= 0:
        raise SlidemillError(
            f"--patch-size is {spec.patch_size} and --overlap {spec.overlap}: give 16 to 4096 pixels, and an "
            "overlap of 0 or more, twice of which is less than patch-size"
        )
    path: Path = options.path
    if path.is_dir():
        slides = {slide.slide: path / decode_path(slide.path) for slide in find_slides(path)}
    else:
        slides = {path.stem: path}
    failures = 0
    for name, file in slides.items():
        try:
            with open_slide(file) as slide:
                info = slide_info(slide)
            levels = levels_of(info, spec)
            print(describe(file, info, [*levels, *resolutions_of(info, spec)]))
            native = [int(level.number) for level in levels if level.key == "level"]
            print(*describe_readers(file, info, native), sep="\n", end="\n\n")
            if options.out is None:
                continue
            options.out.mkdir(parents=True, exist_ok=True)
            sheet = options.out / f"{name}.png"
            drawn, faults = contact_sheet(file, info, levels)
            drawn.save(sheet)
            print(f"the centre patch of each level: {sheet}\n")
            failures += bool(faults)
            for fault in faults:
                sys.stderr.write(f"slidemill: {fault}\n")
        except SlidemillError as error:
            failures += 1
            sys.stderr.write(f"slidemill: {error}\n")
    return 1 if failures else 0


def _verify(options: argparse.Namespace) -> int:
    results: Path = options.results
    if options.jobs < 1:
        raise SlidemillError(f"--jobs is {options.jobs}: give 1 or more")
    live = sys.stderr.isatty()

    def report(done: int, total: int, slide: str, faults: Sequence[Finding]) -> None:
        for one in faults:
            subject = slide if one.backend == EVERY_STORE else results / store_path(one.backend, one.slide)
            print(f"{subject}: {one.check}: {one.message}{_remedy(one, faults)}", flush=True)
        if live or done == total or done % 100 == 0:
            sys.stderr.write(f"{done} of {total} slides verified" + ("\r" if live and done < total else "\n"))

    if at_work := working(results):
        sys.stderr.write(f"slidemill: {at_work}: stores that it has rewritten do not match the tables yet\n")
    try:
        found = verify(results, options.jobs, report)
    except MachineError as error:
        sys.stderr.write(f"slidemill: the results cannot be checked: {error}\n")
        return LOOK_AGAIN
    for path in found.unlisted:
        sys.stderr.write(
            f"slidemill: {results / path} is in no table of these results: remove it if it is not needed\n"
        )
    for file in found.files:
        print(f"{results / file.path}: {file.message}")
    if found.unsealed:
        sys.stderr.write(
            f"slidemill: {format_count(len(found.unsealed), 'table or outcome', 'tables and outcomes')} cannot be "
            f"checked, because the digest is missing ({results / found.unsealed[0]}): an earlier version wrote none, "
            "or it was removed; run again to write it\n"
        )
    if found.joined:
        missing = not (results / JOINED).exists()
        print(f"{results / JOINED}: {found.joined}{'' if missing else '; remove it and run again'}")
    if found.outdated:
        sys.stderr.write(f"slidemill: {results / JOINED} is older than the tables: run again to update it\n")
    for why in found.unseen:
        sys.stderr.write(f"slidemill: cannot be checked: {why}\n")
    if found.faults or found.joined or found.files:
        broken = len({(one.slide, one.backend) for one in found.faults if one.backend != EVERY_STORE})
        slides = len({one.slide for one in found.faults})
        count = f"{broken} of {found.stores} stores, of {slides} of {found.slides} slides, are not"
        those = "those"
        if not found.faults and found.files:
            number = len({file.path for file in found.files})
            files = format_count(number, "table or outcome", "tables and outcomes")
            count = f"{files} {'is' if number == 1 else 'are'} not"
        elif not found.faults:
            count, those = f"{JOINED} is not", "that"
        if at_work := at_work or working(results):
            print(f"{count} {those} of the last finished run; {at_work}: verify again when it has ended; "
                  "if it was killed, run again first")  # fmt: skip
            return LOOK_AGAIN
        print(f"{count} intact: finish the run and verify again; remove what is still listed, and run again")
        return 1
    if found.unseen:
        print("not everything could be checked, for the reasons above; what was checked is intact")
        return LOOK_AGAIN
    if not found.stores:
        print(f"the tables of {format_count(found.slides, 'slide')} are intact; the run wrote no stores")
        return 0
    also = "" if found.joined is None else f" and {JOINED}"
    whole = f"{format_count(found.stores, 'store')} of {format_count(found.slides, 'slide')}{also}"
    print(f"{whole} {'is' if found.stores == 1 and not also else 'are'} intact")
    return 0


def _remedy(finding: Finding, others: Sequence[Finding]) -> str:
    """Return a remedy for a finding that names none, or an empty text."""
    if "run again" in finding.message:
        return ""
    if finding.backend != EVERY_STORE:
        return "; remove it and run again"
    # If stores differ, the digests of the damaged one name it.
    are_all = all(one.backend == EVERY_STORE for one in others)
    return "; remove the stores of this slide and run again" if are_all else ""


def _prune(options: argparse.Namespace) -> int:
    with at_rest(options.results):
        left = find_left_over(options.results)
        for path, size in left.sizes.items():
            print(f"{size:>15,}  {path}")
        for path, why in left.kept.items():
            print(f"{'kept':>15}  {path} {why}")
        if not left.sizes:
            print("no files of removed slides or backends are left")
            return 0
        files = format_count(len(left.sizes), "file or folder", "files and folders")
        whose = [format_count(len(left.slides), "removed slide")] if left.slides else []
        for backend, slides in left.backends.items():
            whose.append(f"{format_count(slides, 'slide')} in {backend}, which the last run did not write")
        if options.delete:
            delete(left)
        end = "deleted" if options.delete else "to delete them, add --delete"
        print(f"{files}, {format_size(sum(left.sizes.values()))}, of {', and of '.join(whose)}; {end}")
    return 0
