"""Make the pictures of the README and the docs from the demo's results."""

import shutil
import sys
from pathlib import Path

from PIL import Image

from slidemill import open_dataset, show

SLIDE = "case-01"
WIDTH = 800
QUALITY = 80


def main(demo: Path, folder: Path) -> None:
    """Write the pictures to a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    results = demo / "results"
    shutil.copyfile(results / "figures" / "benchmark.png", folder / "benchmark.png")
    with open_dataset(results) as ds:
        (slide,) = ds.select(slides=SLIDE).slides
        with Image.open(results / "figures" / "overlay" / f"{slide}.jpg") as overlay:
            overlay.thumbnail((WIDTH, WIDTH), Image.Resampling.LANCZOS)
            overlay.save(folder / "overlay.jpg", quality=QUALITY)
        show.montage(ds, size=120).save(folder / "montage.jpg", quality=QUALITY)
        chosen = show.overlay(ds.select(labels=["Carcinoma invasive"]), SLIDE, longest=600)
        chosen.save(folder / "chosen.jpg", quality=QUALITY)
        figure = show.stitched_beside_thumbnail(ds, SLIDE, demo / "slides")
    figure.savefig(folder / "stitched.jpg", dpi=80, pil_kwargs={"quality": QUALITY})


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
