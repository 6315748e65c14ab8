"""How many patches to expect of a slide when a job asks for memory; free of heavy imports, for the Snakefile."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

ROW = 48
"""Least number of bytes that a row of a table of patches takes, without its slide's id."""
PIXELS_PER_BYTE = 8
"""Level-0 pixels per byte of a slide's file. Tissue takes more bytes per pixel, glass takes fewer."""
FINEST_MPP, HIGHEST_POWER = 0.25, 40.0
"""Micrometres per pixel, and magnification, of the finest common slides."""


def table_rows(table: Path, slide: str = "") -> int:
    """Return at least as many rows as a table has, by its size alone; 0 where it is not written yet."""
    try:
        return os.stat(table).st_size // (ROW + len(slide))  # noqa: PTH116 - a plan asks this for each job
    except OSError:
        return 0


def expected_patches(file_bytes: int, grid: Mapping[str, Any]) -> int:
    """Return how many patches a slide may have that is not sampled yet, from the pixels its file has room for.

    Parameters
    ----------
    file_bytes
        Size of the slide's file in bytes.
    grid
        The keys of a `slidemill.core.specs.GridSpec`. Of a native level, a downsample of 2 per level is assumed.
    """
    downsample = 1.0
    if grid["mpp"]:
        downsample = grid["mpp"] / FINEST_MPP
    elif grid["magnification"]:
        downsample = HIGHEST_POWER / grid["magnification"]
    elif grid["level"]:
        downsample = 2.0 ** min(grid["level"], 10)
    step = (grid["patch_size"] - 2 * grid["overlap"]) * max(downsample, 1.0)
    return int(file_bytes * PIXELS_PER_BYTE / step**2)
