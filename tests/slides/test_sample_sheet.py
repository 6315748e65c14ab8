"""Sheets that list slides."""

from pathlib import Path

import pytest
import yaml

from slidemill.core.columns import METADATA_COLUMNS
from slidemill.errors import ConfigError
from slidemill.slides.discovery import SlideFile, decode_path
from slidemill.slides.sample_sheet import read_sheet

ROOT = Path(__file__).parents[2]
SCHEMA = yaml.safe_load((ROOT / "workflow/schemas/slides.schema.yaml").read_text(encoding="utf-8"))


@pytest.fixture
def listed(tmp_path):
    """Return a function from a sheet's text to the slides that it lists."""

    def listed(text, name="sheet.csv"):
        sheet = tmp_path / name
        sheet.write_bytes(text if isinstance(text, bytes) else text.encode())
        return read_sheet(sheet, SCHEMA, frozenset(METADATA_COLUMNS))

    return listed


@pytest.mark.parametrize(("name", "separator"), [("a.csv", ","), ("a.tsv", "\t"), ("A.TSV", "\t")])
@pytest.mark.parametrize("line_end", ["\n", "\r\n"])
def test_csv_and_tsv_are_read_in_their_order(listed, name, separator, line_end):
    rows = [["path", "slide", "annotation"], ["z/one.svs", "b", "one.xml"], ["two.tif", "a", ""]]
    text = line_end.join(separator.join(row) for row in rows)
    assert listed(text, name) == [SlideFile("b", "z/one.svs", "one.xml"), SlideFile("a", "two.tif")]


def test_masks_of_tissue_have_a_column(listed):
    slides = listed("slide,path,tissue_mask\na,a.svs,masks/a mask.png\nb,b.svs,\n")
    assert [slide.tissue_mask for slide in slides] == ["masks/a mask.png", None]


def test_a_byte_order_mark_is_no_part_of_the_first_column(listed):
    assert listed(b"\xef\xbb\xbfslide,path\na,a.svs\n") == [SlideFile("a", "a.svs")]


def test_free_columns_travel(listed):
    one, two = listed('slide,patient,path,annotation,Stain (kit)\na,007,a.svs,,"H&E, ""new"""\nb,,b.svs,b.xml,\n')
    assert one.columns == {"patient": "007", "Stain (kit)": 'H&E, "new"'}
    assert two.columns == {"patient": "", "Stain (kit)": ""}


def test_blank_lines_are_no_slides(listed):
    assert [slide.slide for slide in listed("slide,path\n\na,a.svs\n\n\nb,b.svs\n\n")] == ["a", "b"]


@pytest.mark.parametrize("path", ["sub/a b.svs", "../a.svs", "/abs/{olute}/ä.svs", "a%20b.svs", "-a.svs"])
def test_paths_are_kept_as_they_are_relative_and_absolute(listed, tmp_path, path):
    (slide,) = listed(f"slide,path,annotation\na,{path},{path}.xml\n")
    assert decode_path(slide.path) == Path(path)
    assert decode_path(slide.annotation) == Path(f"{path}.xml")
    assert slide.path.isascii()
    assert tmp_path / decode_path(slide.path) == (Path(path) if path.startswith("/") else tmp_path / path)


def test_many_slides_may_share_a_file(listed):
    assert [slide.path for slide in listed("slide,path\na,x.svs\nb,x.svs\n")] == ["x.svs", "x.svs"]


FAULTS = {
    "no bytes": ("", ["'slide' is missing", "add it"]),
    "header alone": ("slide,path\n", ["lists no slide", "give it a row for each"]),
    "no slide": ("id,path\na,a.svs\n", ["'slide' is missing", "['id', 'path']", "add it"]),
    "no path": ("slide,file\na,a.svs\n", ["'path' is missing", "['slide', 'file']", "add it"]),
    "semicolons": ("slide;path\na;a.svs\n", ["'slide' is missing", "['slide;path']", "by commas"]),
    "tabs in a .csv": ("slide\tpath\na\ta.svs\n", ["'slide' is missing", "by commas"]),
    "a column twice": ("slide,path,x,x\na,a.svs,1,2\n", ["'x'", "used twice", "its own name"]),
    "a nameless column": ("slide,path,\na,a.svs,1\n", ["''", "nameless", "its own name"]),
    "a clash": ("slide,path,label_name\na,a.svs,1\n", ["'label_name'", "metadata.csv's own", "rename it"]),
    "a label twice": ("slide,path,label,slide_label\na,a.svs,1,2\n", ["'label' and 'slide_label'", "rename one"]),
    "a bad id": ("slide,path\nok,a.svs\na b,b.svs\n", ["line 3", "slide is 'a b'", "rename it in the sheet"]),
    "an empty path": ("slide,path,x\na,,1\n", ["line 2", "incomplete", "'path'"]),
    "an empty id": ("slide,path\n,a.svs\n", ["line 2", "incomplete", "'slide'"]),
    "a short row": ("slide,path,x\na,a.svs\n", ["line 2", "more or fewer fields", "correct it"]),
    "a long row": ("slide,path\na,a.svs,1\n", ["line 2", "more or fewer fields", "correct it"]),
    "an id twice": ("slide,path\na,a.svs\nb,b.svs\na,c.svs\n", ["slide a (a.svs and c.svs)", "twice", "its own"]),
    "an id twice but for case": ("slide,path\na,a.svs\nA,b.svs\n", ["twice", "case does not count"]),
    "an open quote": ('slide,path\na,"a.svs\nb,b.svs\n', ["line", "fix the line's quotes"]),
    "a quote within": ('slide,path\na,"a"b.svs\n', ["line 2", "fix the line's quotes"]),
    "Latin-1": (
        "slide,path\na,ä.svs\n".encode("latin-1"),
        ["not UTF-8 at byte 13", "save the sheet as UTF-8"],
    ),
    "UTF-16": ("slide,path\na,a.svs\n".encode("utf-16"), ["not UTF-8", "save the sheet as UTF-8"]),
}


@pytest.mark.parametrize(("text", "parts"), FAULTS.values(), ids=FAULTS)
def test_a_fault_names_sheet_value_and_remedy(listed, text, parts):
    with pytest.raises(ConfigError) as caught:
        listed(text)
    message = str(caught.value)
    assert [part for part in ("sheet.csv", *parts) if part not in message] == [], message


@pytest.mark.parametrize("slide", ["-a", ".a", "_a", "a/b", "ä", "a" * 101, "{a}", "a\n", "all", "ALL"])
def test_ids_that_are_not_safe_are_refused(listed, slide):
    with pytest.raises(ConfigError, match=r"slide is '.*an id has up to 100"):
        listed(f'slide,path\n"{slide}",a.svs\n')


@pytest.mark.parametrize("slide", ["a", "0", "A.b_c-d", "a" * 100, "007", "1e5", "all-1", "hall", "alla"])
def test_safe_ids_stay_as_they_are(listed, slide):
    assert listed(f"slide,path\n{slide},a.svs\n") == [SlideFile(slide, "a.svs")]


def test_label_column_is_the_slides_label(listed):
    """Patches have a label too, so that tables name the sheet's column otherwise."""
    one, two = listed("slide,label,path,grade\na,tumour,a.svs,3\nb,,b.svs,1\n")
    assert list(one.columns.items()) == [("slide_label", "tumour"), ("grade", "3")]
    assert two.columns == {"slide_label": "", "grade": "1"}
    assert listed("slide,path,slide_label\na,a.svs,x\n")[0].columns == {"slide_label": "x"}


@pytest.mark.parametrize("column", sorted(set(METADATA_COLUMNS) - {"slide", "mpp", "label"}))
def test_every_column_of_the_metadata_is_reserved(listed, column):
    with pytest.raises(ConfigError, match=f"the column '{column}' is one of metadata.csv's own"):
        listed(f"slide,path,{column}\na,a.svs,1\n")


def test_a_sheet_may_say_what_pixels_measure(listed):
    one, two = listed("slide,path,mpp\na,a.svs,0.25\nb,b.svs,\n")
    assert (one.mpp, two.mpp, dict(one.columns)) == (0.25, None, {})


@pytest.mark.parametrize("mpp", ["0", "-1", "x", "0.0", "nan", "1e400", "0.25.1"])
def test_pixels_that_measure_nothing_are_refused(listed, mpp):
    with pytest.raises(ConfigError, match="µm per level-0 pixel"):
        listed(f"slide,path,mpp\na,a.svs,{mpp}\n")


def test_commas_in_a_tsv_are_told_to_be_tabs(listed):
    with pytest.raises(ConfigError, match="by tabs"):
        listed("slide,path\na,a.svs\n", "sheet.tsv")


def test_a_missing_sheet_is_told(tmp_path):
    with pytest.raises(ConfigError, match=r"none\.csv does not exist: name a \.csv or \.tsv file"):
        read_sheet(tmp_path / "none.csv", SCHEMA, frozenset())


@pytest.mark.parametrize("cell", ["NA", "n/a", "None", "nan", "NULL", "<NA>", " ", "-"])
@pytest.mark.parametrize("column", ["annotation", "tissue_mask"])
def test_words_for_a_missing_file_are_refused(listed, column, cell):
    with pytest.raises(ConfigError, match="leave the cell empty where there is none") as caught:
        listed(f"slide,path,{column}\na,a.svs,a.xml\nb,b.svs,{cell}\n")
    assert f"line 3: {column} is {cell!r}" in str(caught.value)
    (slide,) = listed(f"slide,path,{column}\na,a.svs,./NA\n")
    assert getattr(slide, column) == "NA"
