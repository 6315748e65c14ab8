"""The commands that bring patches out of results and into them: ``slidemill export`` and ``slidemill import-pywsi``."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

from slidemill.errors import SlidemillError
from slidemill.exporting import export
from slidemill.importing import Unsaid, import_database
from slidemill.opening import open_dataset
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
    old = commands.add_parser("import-pywsi", help="an LMDB database of py-wsi as results that open_dataset opens")
    old.add_argument("old", type=Path, metavar="OLD", help="the database's folder, or its data.mdb")
    old.add_argument("new", type=Path, metavar="NEW", help="the folder to write")
    old.add_argument(
        "--downsample", type=int, required=True, metavar="N",
        help="level-0 pixels a patch pixel: 1 where the last DeepZoom level was sampled, 2 for the one before, 4, ...",
    )  # fmt: skip
    old.add_argument("--overlap", type=int, default=0, help="as py-wsi was given it (default: 0)")
    old.add_argument("--labels", nargs="+", default=[], metavar="NAME=N", help="the label map that py-wsi was given")
    old.set_defaults(run=_import_pywsi)


def _export(options: argparse.Namespace) -> int:
    with open_dataset(options.results, options.backend) as dataset:
        names = set(dataset.table["label_name"])
        labels = [_label(text, names) for text in options.labels] if options.labels else None
        chosen = dataset.select(options.slides, labels, options.query)
        codec = export(chosen, options.out, lambda done: _tell(done, len(chosen), "exported"))
        size = options.out.stat().st_size
        print(f"{options.out}: {len(chosen)} patches of {len(chosen.slides)} slides, {codec.name}, {size:,} bytes")
    return 0


def _import_pywsi(options: argparse.Namespace) -> int:
    if options.downsample < 1 or options.overlap < 0:
        raise SlidemillError(
            f"--downsample is {options.downsample} and --overlap {options.overlap}: give 1 or more, and 0 or more"
        )
    labels = {}
    for text in options.labels:
        name, _, number = text.rpartition("=")
        if not (name and number.isdecimal()):
            raise SlidemillError(f"--labels names {text!r}: give NAME=NUMBER, such as Tumour=1, for each label")
        labels[name] = int(number)
    unsaid = Unsaid(options.downsample, options.overlap, labels)
    count = import_database(options.old, options.new, unsaid, lambda done, of: _tell(done, of, "imported"))
    print(f"{options.new}: {count} patches; open_dataset({str(options.new)!r}) opens it")
    return 0


def _tell(done: int, total: int, what: str) -> None:
    """Tell on stderr how far it is: in one line where somebody looks on, else now and then."""
    live = sys.stderr.isatty()
    if done == total or done % (LIVE_EVERY if live else EVERY) == 0:
        sys.stderr.write(f"{done} of {total} patches {what}" + ("\r" if live and done < total else "\n"))


def _label(text: str, names: set[str]) -> int | str:
    """Return what an argument names: a label's name, or its number where no name is like that."""
    return int(text) if text not in names and text.removeprefix("-").isdecimal() else text
