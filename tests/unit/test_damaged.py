"""Damaged tables, slides, annotations and configurations, each once found by `make fuzz`: they end in words."""

import pytest
import yaml

from slidemill.config import read_config
from slidemill.errors import ConfigError, SlidemillError
from slidemill.geometry import GridSpec
from slidemill.metadata import read_metadata
from slidemill.sampling import patches_of
from slidemill.slides import SlideInfo
from slidemill.tables import read_columns, read_table
from tests.conftest import ROOT

SCHEMA = yaml.safe_load((ROOT / "workflow/schemas/config.schema.yaml").read_text(encoding="utf-8"))
INFO = SlideInfo("x", ((999, 999),), (1.0,), None, 1.0, 1.0, 1.0, "ffffff")
HEADER = b"patch_id,slide,column,row,x0,y0,width0,height0,level,downsample,mpp,label,label_name\n"
ROW = b"r00000_c00000,s,0,0,0,0,64,64,0,1.0,0.5,0,Normal\n"


@pytest.mark.parametrize("data", [b"patch_id,row\n\xe3\x28,1\n", b"patch_id\xff\n", b'patch_id,row\n"a\0",1\n"'])
def test_a_table_that_is_no_text(tmp_path, data):
    path = tmp_path / "table.csv"
    path.write_bytes(data)
    for read in (lambda: list(read_table(path, ("patch_id", "row"))), lambda: read_columns(path)):
        try:
            read()
        except SlidemillError as error:
            assert str(path) in str(error)


@pytest.mark.parametrize("data", [b"patch_id\n\xe3\x28\n", b"\xff\n"])
def test_bytes_that_are_not_utf8_are_told(tmp_path, data):
    path = tmp_path / "table.csv"
    path.write_bytes(data)
    with pytest.raises(SlidemillError, match="remove it and run again"):
        list(read_table(path))


@pytest.mark.parametrize(
    "data",
    [
        HEADER + ROW.replace(b"64,64", b"column,64"),
        HEADER + ROW + ROW[:-1] + b",1,2,3,4\n",
        HEADER + ROW.replace(b"64,64", b"9" * 30 + b",64"),
        HEADER + ROW.replace(b"Normal", b"\xe3\x28"),
    ],
)
def test_a_metadata_table_with_other_values_than_its_columns_have(tmp_path, data):
    path = tmp_path / "metadata.csv"
    path.write_bytes(data)
    with pytest.raises(SlidemillError, match=r"metadata\.csv"):
        read_metadata(path)


@pytest.mark.parametrize(
    "row",
    [{}, {"column": "0"}, {"column": "a", "row": "0"}, {"column": "0", "row": "-1"}, {"column": "9" * 30, "row": "0"}],
)
def test_rows_that_stand_for_no_patch_of_the_grid(row):
    with pytest.raises(SlidemillError, match="run again"):
        patches_of([row], INFO, GridSpec(64, level=0))


@pytest.mark.parametrize("key", ["results", "slides", "annotations"])
@pytest.mark.parametrize("name", ["9" * 400, "a/" * 3000, "a\0b"])
def test_names_that_no_file_system_takes(tmp_path, key, name):
    (tmp_path / "s").mkdir()
    with pytest.raises(ConfigError, match=key):
        read_config({"slides": "s", "results": "r", key: name}, SCHEMA, tmp_path)
