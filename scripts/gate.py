"""Fail with a table of what is wrong, when more slides failed than may, or folds leak."""

from pathlib import Path
from typing import TYPE_CHECKING

from slidemill.core.csv_tables import read_cohort_table
from slidemill.core.job_log import LOG, job_log
from slidemill.core.specs import SplitSpec
from slidemill.core.text import counted
from slidemill.errors import SlidemillError
from slidemill.report.split_summary import split_faults
from slidemill.sampling.label_faults import label_faults
from slidemill.stages.gather import complaints

if TYPE_CHECKING:
    from snakemake.iocontainers import Snakemake

    snakemake: Snakemake


def main(
    slides: Path,
    validation: Path,
    max_failed: int,
    splits: Path | None = None,
    spec: SplitSpec | None = None,
    unmapped: str = "ignore",
) -> None:
    """Raise SlidemillError with a line for each slide or check that failed, and each fault of labels and folds."""
    faults = complaints(read_cohort_table(slides), read_cohort_table(validation))
    lines = [f"  {line}" for own in faults.values() for line in own]
    kept = f"everything else is done and kept in {slides.parent.resolve()}"
    told = []
    if len(faults) > max_failed:
        allowed = f", and max_failed allows {max_failed}" if max_failed else ""
        told += [f"{counted(len(faults), 'slide')} failed{allowed}; {kept}:", "  slide  stage  what is wrong", *lines]
    if wrong := label_faults(read_cohort_table(slides), unmapped):
        told += [f"the labels cannot be trusted; {kept}:", *(f"  {line}" for line in wrong)]
    if splits and spec and (wrong := split_faults(splits, spec)):
        told += [f"the folds in {splits.name} are not to be trusted; {kept}:", *(f"  {line}" for line in wrong)]
    if told:
        raise SlidemillError("\n".join(told))
    for line in lines:
        LOG.warning("allowed by max_failed: %s", line)
    LOG.info("%s failed, %d may", counted(len(faults), "slide"), max_failed)


if __name__ == "__main__":
    with job_log(snakemake.log[0]):
        inputs, params = snakemake.input, snakemake.params
        spec = SplitSpec(**params.splits) if params.splits else None
        splits = Path(inputs.splits) if "splits" in inputs.keys() else None  # noqa: SIM118
        main(Path(inputs.slides), Path(inputs.validation), params.max_failed, splits, spec, params.unmapped)
