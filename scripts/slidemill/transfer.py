"""The commands that bring patches out of results and into them: ``slidemill export`` and ``slidemill import-pywsi``."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

from slidemill.dataset import open_dataset
from slidemill.exporting import export
from slidemill.stores.paths import SUFFIXES

EVERY = 1000
"""Patches between two lines that tell how far it is, where nobody looks on."""
LIVE_EVERY = 50


def add_commands(commands: Any) -> None:
    """Add the commands to argparse's subparsers."""
    out = commands.add_parser("export", help="patches with their labels in one file, to send it to somebody")
    out.add_argument("results", type=Path, metavar="RESULTS")
    out.add_argument("out", type=Path, metavar="OUT", help="the file to write, a .h5 or a .tar")
    out.add_argument("--backend", choices=SUFFIXES, help="the stores to copy from (default: the first there is)")
    out.add_argument("--slides", nargs="+", metavar="ID", help="these slides alone")
    out.add_argument("--labels", nargs="+", metavar="LABEL", help="these labels alone, by name or number")
    out.add_argument("--query", help="patches that fulfil this alone, such as 'tissue_fraction > 0.5'")
    out.set_defaults(run=_export)


def _export(options: argparse.Namespace) -> int:
    with open_dataset(options.results, options.backend) as dataset:
        names = set(dataset.table["label_name"])
        labels = [_label(text, names) for text in options.labels] if options.labels else None
        chosen = dataset.select(options.slides, labels, options.query)
        every = LIVE_EVERY if sys.stderr.isatty() else EVERY

        def told(done: int) -> None:
            if done == len(chosen) or done % every == 0:
                end = "\r" if every == LIVE_EVERY and done < len(chosen) else "\n"
                sys.stderr.write(f"{done} of {len(chosen)} patches exported{end}")

        codec = export(chosen, options.out, told)
        size = options.out.stat().st_size
        print(f"{options.out}: {len(chosen)} patches of {len(chosen.slides)} slides, {codec.name}, {size:,} bytes")
    return 0


def _label(text: str, names: set[str]) -> int | str:
    """Return what an argument names: a label's name, or its number where no name is like that."""
    return int(text) if text not in names and text.removeprefix("-").isdecimal() else text
