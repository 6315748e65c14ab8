"""Parsers of commands."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any


def add_parser(commands: Any, name: str, text: str) -> argparse.ArgumentParser:
    """Add a command to argparse's subparsers; its text is shown in the list of commands and in its own help."""
    parser: argparse.ArgumentParser = commands.add_parser(name, help=text, description=f"{text[0].upper()}{text[1:]}.")
    return parser


def add_results(parser: argparse.ArgumentParser) -> None:
    """Add the argument that names a results folder."""
    parser.add_argument("results", type=Path, metavar="RESULTS", help="the results folder of a run")
