"""Draw one slide with its patches by label, and a sample of its patches."""

from pathlib import Path
from typing import TYPE_CHECKING

from PIL import Image

from slidemill.annotations import read_annotation
from slidemill.discovery import decoded, slide_path
from slidemill.drawing import LONGEST, draw_message, draw_montage, draw_overlay
from slidemill.errors import SlideError
from slidemill.files import replacing
from slidemill.fingerprints import check_unchanged
from slidemill.joblog import LOG, job_log
from slidemill.outcomes import read_outcome
from slidemill.reading import thumbnail
from slidemill.regions import Annotation
from slidemill.slides import SlideInfo, opened
from slidemill.stores.paths import store_of
from slidemill.stores.registry import open_store
from slidemill.tables import read_table

if TYPE_CHECKING:
    from snakemake.iocontainers import Snakemake

    snakemake: Snakemake


def main(
    roots: tuple[Path, Path],
    annotation: str | None,
    labelled: Path,
    metadata: Path,
    store: Path,
    seed: int,
    overlay: Path,
    montage: Path,
) -> None:
    """Publish both pictures; what cannot be drawn is a picture that says why."""
    found = read_outcome(labelled)
    rows = list(read_table(metadata))
    try:
        if found.failed:
            raise SlideError(f"failed in {found.stage}")
        info = SlideInfo.from_json(found.details["info"])
        regions = read_annotation(slide_path(roots[1], annotation), info.corner) if annotation else Annotation(())
        with opened(slide_path(roots[0], found.details["path"])) as slide:
            picture = draw_overlay(thumbnail(slide, info, LONGEST), info.dimensions[0][0], rows, regions)
    except SlideError as error:
        LOG.warning("%s", error)
        picture = draw_message(f"no picture: {error}")
    if not found.failed:
        check_unchanged(roots[0] / decoded(found.details["path"]), found.details["fingerprint"])
        expected = found.details["annotation_fingerprint"]
        check_unchanged(roots[1] / decoded(annotation or ""), expected, "annotation")
    save(picture, overlay)
    with open_store(store) as patches:
        save(draw_montage(patches, [row for row in rows if row["patch_id"] in patches], seed), montage)


def save(picture: Image.Image, path: Path) -> None:
    """Publish a picture as JPEG, a tenth of PNG's bytes for tissue."""
    with replacing(path) as aside:
        picture.save(aside, format="jpeg", quality=85)


if __name__ == "__main__":
    with job_log(snakemake.log[0]):
        main(
            (Path(snakemake.config["roots"]["slides"]), Path(snakemake.config["roots"]["annotations"])),
            snakemake.params.annotation,
            Path(snakemake.input.labelled),
            Path(snakemake.input.metadata),
            store_of(Path(snakemake.input.store)),
            snakemake.params.seed,
            Path(snakemake.output.overlay),
            Path(snakemake.output.montage),
        )
