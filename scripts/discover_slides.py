"""Write down what OpenSlide says of one slide."""

from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from slidemill.core.job_log import job_log
from slidemill.core.outcomes import Outcome, attempt, write_outcome
from slidemill.runs.settings import settings_digest, with_settings
from slidemill.slides.dicom import check_one_series
from slidemill.slides.discovery import decoded, slide_path
from slidemill.slides.fingerprint import check_unchanged
from slidemill.slides.slide_info import measured, opened, slide_info

if TYPE_CHECKING:
    from snakemake.iocontainers import Snakemake

    snakemake: Snakemake

STAGE = "discover_slides"


def main(
    root: Path,
    slide: str,
    path: str,
    fingerprint: str,
    limit_bounds: bool,
    facts: Path,
    mpp: float | None = None,
    assume_mpp: float | None = None,
    settings: str | None = None,
) -> None:
    """Open the slide and publish its facts; a slide that cannot be opened becomes a failed outcome."""

    def look() -> Outcome:
        source = slide_path(root, path)
        check_one_series(source)
        with opened(source) as handle:
            info, mpp_source, notes = measured(slide_info(handle), mpp, assume_mpp)
        check_unchanged(source, fingerprint)
        details = {
            "info": info.to_json(),
            "deepzoom_levels": info.deepzoom_levels(limit_bounds),
            "mpp_source": mpp_source,
            "slide_notes": notes,
            "file_size": source.stat().st_size,
        }
        return Outcome(slide, STAGE, details=details)

    outcome = attempt(slide, STAGE, look, unchanged=partial(check_unchanged, root / decoded(path), fingerprint))
    known = {"path": path, "fingerprint": fingerprint}
    write_outcome(facts, with_settings(replace(outcome, details={**known, **outcome.details}), STAGE, settings))


if __name__ == "__main__":
    with job_log(snakemake.log[0]):
        main(
            Path(snakemake.config["roots"]["slides"]),
            snakemake.wildcards.slide,
            limit_bounds=snakemake.params.limit_bounds,
            facts=Path(snakemake.output.facts),
            assume_mpp=snakemake.params.assume_mpp,
            settings=settings_digest(dict(snakemake.params.items())),
            **snakemake.params.file,
        )
