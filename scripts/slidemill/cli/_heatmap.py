"""The command ``slidemill heatmap``."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

from slidemill.cli._parsers import add_parser, add_results
from slidemill.core.text import format_count, format_list
from slidemill.datasets.results import open_dataset
from slidemill.exchange.exported_slide import FILE, NAMES
from slidemill.exchange.heatmap import count_missing, write_heatmaps
from slidemill.exchange.patch_geojson import BOUNDS, ORIGINS
from slidemill.exchange.scores import read_scores


def add_command(commands: Any) -> None:
    """Add the command to argparse's subparsers."""
    own = add_parser(commands, "heatmap", "write scores of patches as GeoJSON for QuPath, and as pictures")
    add_results(own)
    own.add_argument(
        "scores",
        type=Path,
        metavar="SCORES.csv",
        help="a table with the columns patch_id, slide, and one or more of scores",
    )
    own.add_argument("out", type=Path, metavar="OUT", help="the folder to write, which must not exist")
    own.add_argument("--column", metavar="COLUMN", help="the column to write (default: the only one)")
    own.add_argument(
        "--origin", choices=ORIGINS, default=BOUNDS,
        help="where coordinates start: at the slide's bounds, as in QuPath (default), or at its whole canvas",
    )  # fmt: skip
    own.add_argument(
        "--names", choices=NAMES, default=FILE, help="name files by the slide's file (default), or by its id"
    )
    own.set_defaults(run=_heatmap)


def _heatmap(options: argparse.Namespace) -> int:
    with open_dataset(options.results) as dataset:
        scores = read_scores(options.scores, dataset, options.column)
        files = write_heatmaps(dataset, scores, options.out, origin=options.origin, names=options.names)
        if missing := count_missing(dataset, scores.values):
            each = format_list([f"{count} of {slide}" for slide, count in missing.items()])
            without = format_count(sum(missing.values()), "patch has", "patches have")
            sys.stderr.write(f"slidemill: {without} no score and are not drawn: {each}\n")
    print(
        f"{options.out}: {scores.name} of {format_count(len(files) // 2, 'slide')}, {format_count(len(files), 'file')}"
    )
    return 0
