"""Make the demo's slides and annotations in a folder, unless they exist."""

import sys
from pathlib import Path

from slidemill.testing import Tissue, paint, write_annotation, write_svs

WIDTH, HEIGHT = 3072, 2304
NORMAL = Tissue("Normal", (200, 180, WIDTH - 240, HEIGHT - 160), 2.2, 5)


def benign(left: int, top: int, right: int, bottom: int) -> Tissue:
    """Return an area with more, but small nuclei."""
    return Tissue("Benign", (left, top, right, bottom), 9.0, 6, (214, 140, 190))


def carcinoma(left: int, top: int, right: int, bottom: int) -> Tissue:
    """Return an area crowded with large nuclei."""
    return Tissue("Carcinoma invasive", (left, top, right, bottom), 22.0, 10, (190, 120, 180))


DEMO = {
    "case-01.svs": [benign(400, 500, 1300, 1500), carcinoma(1500, 600, 2600, 1700)],
    "case-02.svs": [carcinoma(520, 420, 1700, 1300), benign(1400, 1300, 2500, 2000)],
    "Fall 3 Präparat.svs": [benign(900, 400, 2200, 1900)],
}


def main(folder: Path) -> None:
    """Write the slides and annotations that are missing."""
    for seed, (name, areas) in enumerate(DEMO.items()):
        slide = folder / "slides" / name
        annotation = folder / "annotations" / f"{slide.stem}.xml"
        if not annotation.exists():
            write_annotation(annotation, areas)
        if not slide.exists():
            write_svs(slide, paint(WIDTH, HEIGHT, NORMAL, areas=areas, seed=seed))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
