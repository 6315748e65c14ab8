"""Check the files of a DICOM slide."""

from __future__ import annotations

from pathlib import Path

from slidemill.errors import SlideError
from slidemill.tiles.dicom_elements import series_of


def check_one_series(path: Path) -> None:
    """Check that the .dcm files next to a slide belong to one series.

    Slides of other formats pass.

    Raises
    ------
    SlideError
        When they are of several series, of which OpenSlide would read one, or cannot be read.
    """
    if path.suffix.lower() != ".dcm":
        return
    try:
        files = [file for file in path.parent.iterdir() if file.suffix.lower() == ".dcm" and file.is_file()]
        found = {series for series in map(series_of, files) if series}
    except OSError as error:
        raise SlideError(f"{path.name}: {error.strerror}: check that all .dcm files next to it may be read") from None
    if len(found) > 1:
        raise SlideError(f"{path.name}: its folder holds {len(found)} series: put each in a separate folder")
