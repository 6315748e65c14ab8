"""The command line: ``slidemill inspect``."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from slidemill import __version__
from slidemill.discovery import decoded, find_slides
from slidemill.errors import SlidemillError
from slidemill.geometry import GridSpec
from slidemill.inspection import contact_sheet, describe, levels_of
from slidemill.slides import opened, slide_info


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line, and return the exit code: 0, or 1 where a slide or the command is at fault."""
    parser = argparse.ArgumentParser(prog="slidemill", description="Patch stores from whole-slide images.")
    parser.add_argument("--version", action="version", version=f"slidemill {__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    inspect = commands.add_parser("inspect", help="a slide's levels, and a patch of each, to choose one by eye")
    inspect.add_argument("path", type=Path, metavar="SLIDE_OR_FOLDER")
    inspect.add_argument("--patch-size", type=int, default=256, help="pixels (default: 256)")
    inspect.add_argument("--overlap", type=int, default=0, help="pixels on each side (default: 0)")
    inspect.add_argument(
        "--out", type=Path, metavar="FOLDER", help="where contact sheets go (default: slidemill-inspect)",
        default=Path("slidemill-inspect"),
    )  # fmt: skip
    inspect.set_defaults(run=_inspect)
    options = parser.parse_args(arguments)
    try:
        return int(options.run(options))
    except (SlidemillError, OSError) as error:
        sys.stderr.write(f"slidemill: {error}\n")
        return 1


def _inspect(options: argparse.Namespace) -> int:
    spec = GridSpec(patch_size=options.patch_size, overlap=options.overlap, level=0)
    if not 16 <= spec.patch_size <= 4096 or spec.overlap < 0 or spec.step <= 0:
        raise SlidemillError(
            f"--patch-size is {spec.patch_size} and --overlap {spec.overlap}: give 16 to 4096 pixels, and an "
            "overlap of 0 or more, twice of which is less than patch-size"
        )
    path: Path = options.path
    if path.is_dir():
        slides = {slide.slide: path / decoded(slide.path) for slide in find_slides(path)}
    else:
        slides = {path.stem: path}
    failures = 0
    for name, file in slides.items():
        try:
            with opened(file) as slide:
                info = slide_info(slide)
                levels = levels_of(info, spec)
                print(describe(file, info, levels))
                options.out.mkdir(parents=True, exist_ok=True)
                sheet = options.out / f"{name}.png"
                contact_sheet(slide, info, levels).save(sheet)
                print(f"the centre patch of each level: {sheet}\n")
        except SlidemillError as error:
            failures += 1
            sys.stderr.write(f"slidemill: {error}\n")
    return 1 if failures else 0
