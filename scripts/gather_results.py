"""Gather every slide's outcomes, patches and findings into the cohort's tables."""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from slidemill.cohort import merged_rows, slide_row
from slidemill.columns import METADATA_COLUMNS, SLIDE_COLUMNS, VALIDATION_COLUMNS
from slidemill.joblog import LOG, job_log
from slidemill.outcomes import Outcome, read_outcome
from slidemill.tables import read_columns, read_table, write_table

if TYPE_CHECKING:
    from snakemake.iocontainers import Snakemake

    snakemake: Snakemake


def main(
    facts: Sequence[Path],
    later: Sequence[Path],
    metadata: Sequence[Path],
    validation: Sequence[Path],
    slides_table: Path,
    metadata_table: Path,
    validation_table: Path,
) -> None:
    """Publish the three tables; metadata.csv holds the patches of the slides that did not fail."""
    outcomes: dict[str, list[Outcome]] = defaultdict(list)
    for path in later:
        outcome = read_outcome(path)
        outcomes[outcome.slide].append(outcome)
    good: list[Path] = []

    def slide_rows() -> Iterator[dict[str, Any]]:
        for path, patches, findings in zip(facts, metadata, validation, strict=True):
            found = read_outcome(path)
            row = slide_row(found, outcomes[found.slide], list(read_table(findings)))
            LOG.info("%s: %s %s", row["slide"], row["status"], row["message"])
            if row["status"] == "ok":
                good.append(patches)
            yield row

    write_table(slides_table, SLIDE_COLUMNS, slide_rows())
    header = read_columns(metadata[0]) if metadata else METADATA_COLUMNS
    write_table(metadata_table, header, merged_rows(good))
    write_table(validation_table, VALIDATION_COLUMNS, merged_rows(validation))


if __name__ == "__main__":
    with job_log(snakemake.log[0]):
        inputs = snakemake.input
        main(
            [Path(path) for path in inputs.facts],
            [Path(path) for path in (*inputs.sampled, *inputs.labelled, *inputs.stored)],
            [Path(path) for path in inputs.metadata],
            [Path(path) for path in inputs.validation],
            Path(snakemake.output.slides),
            Path(snakemake.output.metadata),
            Path(snakemake.output.validation),
        )
