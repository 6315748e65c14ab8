"""Record the facts that OpenSlide reports of a slide."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from slidemill.core.outcomes import Outcome, attempt, write_outcome
from slidemill.core.stage_facts import SlideFacts
from slidemill.runs.job_settings import settings_digest, with_settings
from slidemill.slides.dicom import check_one_series
from slidemill.slides.discovery import decode_path, slide_path
from slidemill.slides.fingerprint import check_unchanged
from slidemill.slides.slide_info import choose_mpp, open_slide, slide_info
from slidemill.stages.job import Job

STAGE = "discover_slides"


@dataclass(frozen=True, slots=True, kw_only=True)
class DiscoverJob:
    """Inputs and output of a job that opens a slide.

    Parameters
    ----------
    root, path
        The folder of the slides, and the slide's path in it as `SlideFile` names it.
    slide, fingerprint
        The slide's id, and the fingerprint that the run was planned with.
    limit_bounds
        Whether the grid begins at the scanned area.
    facts
        The outcome.
    mpp, assume_mpp
        µm per pixel by the sample sheet, and of slides that have none; or None.
    settings
        Digest of the job's settings, if it is known.
    """

    root: Path
    slide: str
    path: str
    fingerprint: str
    limit_bounds: bool
    facts: Path
    mpp: float | None = None
    assume_mpp: float | None = None
    settings: str | None = None

    @classmethod
    def from_job(cls, job: Job) -> DiscoverJob:
        """Return the inputs and output of a job of the rule discover_slides."""
        return cls(
            root=job.roots.slides,
            slide=job.wildcards["slide"],
            limit_bounds=job.params["limit_bounds"],
            facts=job.outputs["facts"],
            assume_mpp=job.params["assume_mpp"],
            settings=settings_digest(job.params),
            **job.params["file"],
        )


def discover_slide(job: DiscoverJob) -> None:
    """Publish a slide's facts; a slide that cannot be opened fails.

    Raises
    ------
    SlidemillError
        When the slide has changed since the run was planned.
    """
    known = Outcome(job.slide, STAGE, path=job.path, fingerprint=job.fingerprint)

    def look() -> Outcome:
        source = slide_path(job.root, job.path)
        check_one_series(source)
        with open_slide(source) as handle:
            info, mpp_source, notes = choose_mpp(slide_info(handle), job.mpp, job.assume_mpp)
        check_unchanged(source, job.fingerprint)
        facts = SlideFacts(
            info=info,
            deepzoom_levels=info.deepzoom_levels(job.limit_bounds),
            mpp_source=mpp_source,
            file_size=source.stat().st_size,
        )
        return replace(known, facts=facts, slide_notes=tuple(notes))

    unchanged = partial(check_unchanged, job.root / decode_path(job.path), job.fingerprint)
    outcome = attempt(job.slide, STAGE, look, after=known, unchanged=unchanged)
    write_outcome(job.facts, with_settings(outcome, STAGE, job.settings))
