"""Make slides of six patients with two diagnoses, and their sheet, in a folder, unless they exist."""

import csv
import sys
from pathlib import Path

from slidemill.testing import Tissue, paint, write_svs

WIDTH, HEIGHT = 1024, 768
NORMAL = Tissue("Normal", (40, 40, WIDTH - 40, HEIGHT - 40), 2.2, 5)
DIAGNOSES = ("benign", "carcinoma")
SLIDES = 12


def areas(diagnosis: str, number: int) -> list[Tissue]:
    """Return the areas of a slide: benign tissue in all, and a small carcinoma in those with this diagnosis."""
    left, top = 150 + 60 * (number % 6), 120 + 40 * (number % 5)
    found = [Tissue("Benign", (left, top, left + 420, top + 380), 9.0, 6, (214, 140, 190))]
    if diagnosis == "carcinoma":
        box = (left + 250, top + 120, left + 520, top + 390)
        found.append(Tissue("Carcinoma invasive", box, 22.0, 10, (190, 120, 180)))
    return found


def main(folder: Path) -> None:
    """Write the slides that are missing, and the sheet."""
    rows = [("slide", "path", "patient", "diagnosis")]
    for number in range(SLIDES):
        patient = number // 2
        slide, diagnosis = f"case-{number + 1:02}", DIAGNOSES[patient % 2]
        path = folder / "slides" / f"{slide}.svs"
        if not path.exists():
            write_svs(path, paint(WIDTH, HEIGHT, NORMAL, areas=areas(diagnosis, number), seed=number))
        rows.append((slide, f"slides/{path.name}", f"P{patient + 1}", diagnosis))
    with (folder / "sheet.csv").open("w", encoding="utf-8", newline="") as file:
        csv.writer(file, lineterminator="\n").writerows(rows)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
