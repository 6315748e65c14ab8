"""Records of how the patches of slides are read from the slides, in ``slide_records.json``.

They are what a store's manifest is for a store: the slide's fingerprint, its grid, its reader and its colours.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from slidemill.core.outcomes import Outcome
from slidemill.core.pyramid import SlideInfo
from slidemill.core.results_layout import SLIDE_RECORDS
from slidemill.core.seals import read_cohort_seal, read_sealed, write_sealed
from slidemill.core.specs import GridSpec
from slidemill.core.stage_facts import ReaderFacts
from slidemill.errors import SlidemillError
from slidemill.slides.discovery import decode_path, encode_path
from slidemill.slides.icc import colour_state

AS_CONFIGURED = ReaderFacts(reader="openslide", reason="as the configuration says")


@dataclass(frozen=True, slots=True, kw_only=True)
class SlideRecord:
    """How a slide's patches are read.

    Parameters
    ----------
    path
        The slide's file, as `slidemill.slides.discovery.SlideFile` names it.
    fingerprint
        The fingerprint of its content.
    info, grid
        Its facts, and the grid of its patches.
    colours
        How pixels are converted, as `slidemill.slides.icc.colour_state` returns it.
    reading
        The reader; None where results do not say it.
    """

    path: str
    fingerprint: str
    info: SlideInfo
    grid: GridSpec
    colours: str
    reading: ReaderFacts | None = None

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> SlideRecord:
        """Build the record from the JSON value of its `asdict`; KeyError or TypeError for another value."""
        reading = value["reading"]
        typed = {
            "info": SlideInfo.from_json(value["info"]),
            "grid": GridSpec(**value["grid"]),
            "reading": ReaderFacts(**reading) if reading else None,
        }
        return cls(**{**value, **typed})


@dataclass(frozen=True, slots=True)
class ReadingChoice:
    """What a run chooses for reading slides.

    Parameters
    ----------
    root
        The folder of the slides.
    reader, icc
        As the configuration names them.
    """

    root: Path
    reader: str
    icc: str

    def record(self, outcome: Outcome) -> SlideRecord | None:
        """Return the record of a slide with patches from an outcome of sample_patches or later; None without them."""
        facts, sample = outcome.facts, outcome.sample
        if not (facts and sample and sample.sampling):
            return None
        return SlideRecord(
            path=outcome.path,
            fingerprint=outcome.fingerprint,
            info=facts.info,
            grid=sample.sampling,
            colours=colour_state(self.icc, facts.info.icc),
            reading=AS_CONFIGURED if self.reader == "openslide" else sample.reading,
        )


@dataclass(frozen=True, slots=True)
class SlideRecords:
    """The folder of a run's slides, and the record of each slide by id."""

    root: Path
    slides: Mapping[str, SlideRecord]


def write_records(path: Path, records: SlideRecords) -> int:
    """Publish records at `path`, and return their number."""
    slides = {slide: asdict(record) for slide, record in records.slides.items()}
    write_sealed(path, {"root": encode_path(records.root.absolute()), "slides": slides})
    return len(slides)


def read_records(results: Path) -> SlideRecords | None:
    """Return the records of finished results; None in results of earlier versions.

    Raises
    ------
    SlidemillError
        When the file is damaged, or is not of the run that wrote the tables.
    """
    path = results / SLIDE_RECORDS
    if not path.is_file():
        return None
    if seal := read_cohort_seal(path):
        seal.check(path)
    value, _ = read_sealed(path)
    try:
        slides = {slide: SlideRecord.from_json(own) for slide, own in value["slides"].items()}
        return SlideRecords(decode_path(value["root"]), slides)
    except (AttributeError, KeyError, TypeError):
        raise SlidemillError(f"{path}: holds no records of slides: it is damaged; remove it and run again") from None
