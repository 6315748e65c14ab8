"""Gather every slide's outcomes, patches and findings into the cohort's tables."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from slidemill.core.job_log import job_log
from slidemill.core.outcomes import Outcome, read_outcome
from slidemill.runs.run_plan import PLAN, read_plan
from slidemill.runs.settings import Settings, check_cohort_settings, cohort_digest
from slidemill.stages.gather import CohortTables, SlideResults, checks_of, write_cohort

if TYPE_CHECKING:
    from snakemake.iocontainers import Snakemake

    snakemake: Snakemake


def main(
    labelled: Sequence[Path],
    stored: Sequence[Path],
    metadata: Sequence[Path],
    validation: Sequence[Path],
    skip_unreadable: bool,
    tables: CohortTables,
    settings: Mapping[str, Settings] | None = None,
) -> None:
    """Publish the tables; `labelled`, `metadata` and `validation` are of the same slides in the same order.

    Tables of another run are refused, where the `settings` of this run are given, by slide.
    """
    outcomes: dict[str, list[Outcome]] = defaultdict(list)
    stages: dict[str, dict[str, Outcome]] = defaultdict(dict)
    for path in stored:
        outcome = read_outcome(path)
        outcomes[outcome.slide].append(outcome)
        stages[outcome.slide][f"store_patches/{path.parent.name}"] = outcome
    slides = [
        SlideResults(found, [*outcomes[found.slide], read_outcome(checks_of(findings))], patches, findings)
        for found, patches, findings in zip(map(read_outcome, labelled), metadata, validation, strict=True)
    ]
    for one in slides:
        stages[one.facts.slide]["write_metadata"] = one.facts
    check_cohort_settings(Path(), stages, settings or {})
    write_cohort(slides, skip_unreadable, tables, cohort_digest(settings) if settings else "")


if __name__ == "__main__":
    with job_log(snakemake.log[0]):
        inputs, outputs = snakemake.input, snakemake.output
        main(
            [Path(path) for path in inputs.labelled],
            [Path(path) for path in inputs.stored],
            [Path(path) for path in inputs.metadata],
            [Path(path) for path in inputs.validation],
            snakemake.params.unreadable_patches == "skip",
            CohortTables(**{name: Path(path) for name, path in outputs.items()}),
            read_plan(PLAN).settings,
        )
