"""Results of four slides of three patients with targets, and without pixels."""

import pytest

from slidemill import open_dataset
from tests.results import write_metadata, write_slide, write_tables

SHEET = {
    "d": {"patient": "P1", "diagnosis": "ductal", "age": "61", "slide_label": "1"},
    "a": {"patient": "P2", "diagnosis": " lobular", "age": "", "slide_label": "10"},
    "c": {"patient": "P1", "diagnosis": "ductal ", "age": "7.5", "slide_label": "2"},
    "b": {"patient": "P3", "diagnosis": "NA", "age": "n/a", "slide_label": "1"},
}


@pytest.fixture(scope="session")
def results(tmp_path_factory):
    """A folder of results without stores; nothing may write to it."""
    folder = tmp_path_factory.mktemp("with-targets")
    for slide in SHEET:
        write_slide(folder, slide, (), encodings={})
    write_tables(folder, dict.fromkeys(SHEET, "ok"), backends=())
    write_metadata(folder, list(SHEET), columns=SHEET)
    return folder


@pytest.fixture
def dataset(results):
    with open_dataset(results) as opened:
        yield opened
