"""The commands ``slidemill export`` and ``slidemill import-pywsi``."""

from __future__ import annotations

import argparse
import difflib
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from slidemill.cli._import_pywsi import Unsaid, import_database
from slidemill.cli._parsers import add_parser, add_results
from slidemill.core.results_layout import SUFFIXES
from slidemill.core.text import format_count
from slidemill.datasets.dataset import Dataset
from slidemill.datasets.export import ENCODINGS_OF_FILES, IMAGES, export
from slidemill.datasets.results import open_dataset
from slidemill.errors import SlidemillError
from slidemill.exchange.exported_slide import FILE, NAMES
from slidemill.exchange.layouts import (
    CLAM,
    CLAM_TENSORS,
    GEOJSON,
    LAYOUTS,
    SLIDEFLOW,
    TRIDENT,
    LayoutOptions,
    export_layout,
    slides_without_patches,
)
from slidemill.exchange.patch_geojson import BOUNDS, ORIGINS

EVERY = 1000
"""Patches between two lines of progress in a log; `LIVE_EVERY` in a terminal."""
LIVE_EVERY = 50

OPTIONS_OF_LAYOUTS = {
    "names": LAYOUTS,
    "features": (TRIDENT, CLAM, CLAM_TENSORS, SLIDEFLOW),
    "columns": (GEOJSON,),
    "origin": (GEOJSON,),
}
"""By option, the layouts that have it."""


def add_commands(commands: Any) -> None:
    """Add the commands to argparse's subparsers."""
    out = add_parser(
        commands, "export", "write patches with their labels to one file, or to a folder for another program"
    )
    add_results(out)
    out.add_argument("out", type=Path, metavar="OUT", help="the file to write, .h5 or .tar; with --layout, the folder")
    out.add_argument("--layout", choices=LAYOUTS, help="write a folder for another program")
    out.add_argument("--backend", choices=SUFFIXES, help="the stores to read (default: the first that exist)")
    out.add_argument(
        "--slides",
        nargs="+",
        metavar="SLIDE",
        help="only these slides, by id, path, or file name with or without its ending",
    )
    out.add_argument("--labels", nargs="+", metavar="LABEL", help="only these labels, by name or number")
    out.add_argument("--query", help="only patches that match, such as 'tissue_fraction > 0.5'")
    out.add_argument(
        "--encoding", choices=ENCODINGS_OF_FILES,
        help="images (default): PNG or JPEG files in a tar, an array in HDF5; stored: the bytes of the stores",
    )  # fmt: skip
    out.add_argument(
        "--names", choices=NAMES,
        help="with --layout: name files like the slide's file, as other programs expect (default), or like its id",
    )  # fmt: skip
    out.add_argument(
        "--features", nargs="+", metavar="NAME",
        help="with --layout trident, clam, clam-pt or slideflow: only these features (default: all)",
    )  # fmt: skip
    out.add_argument(
        "--columns",
        nargs="+",
        metavar="COLUMN",
        help="with --layout geojson: columns of the table to add to each patch",
    )
    out.add_argument(
        "--origin", choices=ORIGINS,
        help="with --layout geojson: where coordinates start: at the slide's bounds, as in QuPath (default), or at its "
        "whole canvas",
    )  # fmt: skip
    out.set_defaults(run=_export)
    old = add_parser(commands, "import-pywsi", "convert an LMDB database of py-wsi to results that open_dataset opens")
    old.add_argument("old", type=Path, metavar="OLD", help="the folder of the database, or its data.mdb")
    old.add_argument("new", type=Path, metavar="NEW", help="the folder to write")
    old.add_argument(
        "--downsample", type=int, required=True, metavar="N",
        help="level-0 pixels per patch pixel: 1 if the last DeepZoom level was sampled, 2 for the one before, 4, 8 ...",
    )  # fmt: skip
    old.add_argument(
        "--overlap", type=int, default=0, metavar="PIXELS", help="the overlap that py-wsi was given (default: 0)"
    )
    old.add_argument("--labels", nargs="+", default=[], metavar="NAME=N", help="the label map that py-wsi was given")
    old.set_defaults(run=_import_pywsi)


def _export(options: argparse.Namespace) -> int:
    with open_dataset(options.results, options.backend) as dataset:
        names = set(dataset.table["label_name"])
        labels = [_label(text, names) for text in options.labels] if options.labels else None
        asked = dataset.select(options.slides)
        chosen = _filter_rows(asked, options.query).select(labels=labels)
        if options.layout:
            return _export_layout(asked, chosen, options)
        _require_layout(options)
        codec = export(
            chosen,
            options.out,
            lambda done: _report_progress(done, len(chosen), "exported"),
            encoding=options.encoding or IMAGES,
        )
        size = options.out.stat().st_size
        slides = format_count(len(chosen.slides), "slide")
        print(
            f"{options.out}: {format_count(len(chosen), 'patch', 'patches')} of {slides}, {codec.name}, {size:,} bytes"
        )
    return 0


def _require_layout(options: argparse.Namespace) -> None:
    """Check that the options of layouts are given with the layouts that have them."""
    for name, layouts in OPTIONS_OF_LAYOUTS.items():
        if getattr(options, name) is not None and options.layout not in layouts:
            raise SlidemillError(f"--{name}: only --layout {' or '.join(layouts)} has this option; leave it out")


def _export_layout(asked: Dataset, chosen: Dataset, options: argparse.Namespace) -> int:
    """Write a folder in another program's layout; slides of `asked` without a chosen patch are empty there."""
    _require_layout(options)
    if options.encoding:
        raise SlidemillError("--encoding: a file has this option, and a folder of --layout has not; leave it out")
    empty = [] if options.slides else slides_without_patches(asked.results)
    total, last = len(chosen), 0

    def report(done: int) -> None:
        nonlocal last
        every = LIVE_EVERY if sys.stderr.isatty() else EVERY
        if (done == total > last) or done // every > last // every:
            _report_progress(done, total, "exported", always=True)
        last = done

    files = export_layout(
        chosen,
        options.out,
        options.layout,
        slides=[*asked.slides, *empty],
        options=LayoutOptions(
            names=options.names or FILE,
            features=options.features,
            columns=tuple(options.columns or ()),
            origin=options.origin or BOUNDS,
        ),
        progress=report,
    )
    slides = format_count(len(chosen.slides), "slide")
    print(f"{options.out}: {format_count(total, 'patch', 'patches')} of {slides}, {format_count(len(files), 'file')}")
    return 0


def _filter_rows(dataset: Dataset, query: str | None) -> Dataset:
    try:
        return dataset.select(query=query)
    except SlidemillError as error:
        # The message of pandas is the context of the error.
        if (cause := error.__context__) is None:
            raise
        columns = [str(name) for name in dataset.table.columns]
        unknown = re.search(r"name '(.+)' is not defined", str(cause))
        why = f"no column is called {unknown[1]!r}{_near(unknown[1], columns)}" if unknown else str(cause)
        raise SlidemillError(
            f"--query is {query!r}: {why}: give a condition over the columns of metadata.csv, {', '.join(columns)}, "
            "such as 'x0 > 1000'"
        ) from None


def _near(text: str, names: Sequence[str]) -> str:
    """Return a remark on similar names, or an empty text."""
    found = difflib.get_close_matches(text, names)
    return f" (there is {', '.join(found)})" if found else ""


def _import_pywsi(options: argparse.Namespace) -> int:
    if options.downsample < 1 or options.overlap < 0:
        raise SlidemillError(
            f"--downsample is {options.downsample} and --overlap {options.overlap}: give 1 or more, and 0 or more"
        )
    if options.downsample & (options.downsample - 1):
        raise SlidemillError(
            f"--downsample is {options.downsample}: each DeepZoom level is half of the next: give 1, 2, 4, 8 or so on"
        )
    labels: dict[str, int] = {}
    for text in options.labels:
        name, _, number = text.rpartition("=")
        if not (name and number.isdecimal()):
            raise SlidemillError(f"--labels names {text!r}: give NAME=NUMBER, such as Tumour=1, for each label")
        if name in labels:
            raise SlidemillError(f"--labels names {name!r} twice, as {labels[name]} and {number}: give each name once")
        labels[name] = int(number)
    unsaid = Unsaid(options.downsample, options.overlap, labels)
    count = import_database(
        options.old, options.new, unsaid, report=lambda done, of: _report_progress(done, of, "imported")
    )
    print(f"{options.new}: {format_count(count, 'patch', 'patches')}; open_dataset({str(options.new)!r}) opens it")
    return 0


def _report_progress(done: int, total: int, what: str, *, always: bool = False) -> None:
    """Write the progress to stderr, every so often or always; in a terminal, update one line."""
    live = sys.stderr.isatty()
    if always or done == total or done % (LIVE_EVERY if live else EVERY) == 0:
        sys.stderr.write(f"{done} of {total} patches {what}" + ("\r" if live and done < total else "\n"))


def _label(text: str, names: set[str]) -> int | str:
    """Return the label of an argument: its name, or its number if no name equals it."""
    return int(text) if text not in names and text.removeprefix("-").isdecimal() else text
