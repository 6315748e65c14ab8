"""What the configuration asks of each stage, as values; the grid's stands in `slidemill.geometry`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class LabelSpec:
    """How annotations become labels: names to integers, which point of a patch decides, the name outside."""

    map: Mapping[str, int]
    rule: str
    outside: str


@dataclass(frozen=True, slots=True)
class StoreSpec:
    """How one backend encodes patches: an encoding's name, and the quality of ``jpeg`` (None for the others)."""

    encoding: str
    quality: int | None = None


@dataclass(frozen=True, slots=True)
class WorkSpec:
    """How a slide is read: the reader's name, how many threads, and the seed of what is compared with OpenSlide."""

    reader: str
    threads: int
    seed: int


@dataclass(frozen=True, slots=True)
class ValidationSpec:
    """How many patches a slide are compared with the slide, and what JPEG must reach in dB."""

    sample: int
    min_psnr: float


@dataclass(frozen=True, slots=True)
class BenchmarkSpec:
    """How many patches are read, how often, and for how many seconds at most."""

    patches: int
    repeats: int
    time_limit: float
