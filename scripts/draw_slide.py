"""Draw one slide with its patches by label, and a sample of its patches."""

from pathlib import Path
from typing import TYPE_CHECKING

from slidemill.core.child_process import Apart, DiedError
from slidemill.core.csv_tables import read_table
from slidemill.core.job_log import LOG, job_log
from slidemill.core.outcomes import check_tables, read_outcome
from slidemill.core.specs import LabelSpec
from slidemill.errors import SlideError, StoreError
from slidemill.report.patch_pictures import LONGEST, draw_message, draw_overlay, draw_sample, save_picture
from slidemill.sampling.label_filter import slide_regions
from slidemill.sampling.tissue_mask import load_mask
from slidemill.slides.discovery import decoded, slide_path
from slidemill.slides.fingerprint import check_unchanged
from slidemill.slides.icc import stated
from slidemill.slides.low_resolution import low_resolution
from slidemill.slides.slide_info import SlideInfo
from slidemill.stores.paths import store_of

if TYPE_CHECKING:
    from snakemake.iocontainers import Snakemake

    snakemake: Snakemake


def main(
    roots: tuple[Path, Path],
    annotation: str | None,
    seed: int,
    labelled: Path,
    metadata: Path,
    dropped: Path,
    store: Path,
    overlay: Path,
    montage: Path,
    mask: Path | None = None,
    icc: str = "ignore",
    labels: LabelSpec = LabelSpec({}, "centre", ""),  # noqa: B008
) -> None:
    """Publish both pictures; what cannot be drawn is a picture that says why."""
    found = read_outcome(labelled)
    check_tables([found], metadata=metadata, dropped=dropped)  # they are read several times below
    try:
        if found.failed:
            raise SlideError(f"failed in {found.stage}")
        info = SlideInfo.from_json(found.details["info"])
        regions = slide_regions(roots[1], annotation, found.details["annotation_fingerprint"], info, labels)
        view = low_resolution(slide_path(roots[0], found.details["path"]), info, LONGEST, stated(icc, info.icc))
        LOG.info("notes on the picture: %s", "; ".join(view.notes) or "none")
        tissue = load_mask(mask, info.size) if mask else None
        picture = draw_overlay(view.image, info.size[0], read_table(metadata), regions, read_table(dropped), tissue)
    except SlideError as error:
        LOG.warning("%s", error)
        picture = draw_message(f"no picture: {error}")
    if not found.failed:
        check_unchanged(roots[0] / decoded(found.details["path"]), found.details["fingerprint"])
    save_picture(picture, overlay)
    # A damaged store may end the process that reads it; its validation says what is wrong.
    with Apart() as process:
        try:
            sample = process.call(draw_sample, store_of(store), metadata, seed)
        except (StoreError, DiedError) as error:
            LOG.warning("%s", error)
            sample = draw_message("no picture: the store cannot be read")
    save_picture(sample, montage)


if __name__ == "__main__":
    with job_log(snakemake.log[0]):
        main(
            (Path(snakemake.config["roots"]["slides"]), Path(snakemake.config["roots"]["annotations"])),
            snakemake.params.annotation,
            snakemake.params.seed,
            **{name: Path(file) for name, file in (*snakemake.input.items(), *snakemake.output.items())},
            icc=snakemake.params.icc,
            labels=LabelSpec(**snakemake.params.labels),
        )
