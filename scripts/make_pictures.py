"""Make the pictures of the README and the docs from the demo's results."""

import shutil
import sys
from pathlib import Path

from slidemill import open_dataset, show

SLIDE = "case-01-bdbd6dbfdc"


def main(demo: Path, folder: Path) -> None:
    """Write the pictures to a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    results = demo / "results"
    shutil.copyfile(results / "figures" / "overlay" / f"{SLIDE}.jpg", folder / "overlay.jpg")
    shutil.copyfile(results / "figures" / "benchmark.png", folder / "benchmark.png")
    with open_dataset(results) as ds:
        show.montage(ds).save(folder / "montage.jpg", quality=85)
        show.overlay(ds.select(labels=["Carcinoma invasive"]), SLIDE, longest=600).save(
            folder / "chosen.jpg", quality=85
        )
        figure = show.stitched_beside_thumbnail(ds, SLIDE, demo / "slides")
    figure.savefig(folder / "stitched.jpg", dpi=80, pil_kwargs={"quality": 85})


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
