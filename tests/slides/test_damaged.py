"""Damaged tables, slides, annotations and configurations, each once found by `make fuzz`: they end in words."""

import numpy as np
import pytest
import shapely

from slidemill.annotations.read import read_annotation
from slidemill.config.configuration import read_config
from slidemill.core.csv_tables import read_columns, read_table
from slidemill.core.pyramid import SlideInfo
from slidemill.core.specs import GridSpec
from slidemill.datasets.results import read_metadata
from slidemill.errors import ConfigError, SlidemillError
from slidemill.sampling._label_rules import region_at
from slidemill.slides.patch_table import patches_of
from slidemill.tiles.levels import open_level
from slidemill.tiles.tiled_level import TilesError
from tests.conftest import painted
from tests.tiffs import STRUCTURES, write

INFO = SlideInfo("x", ((999, 999),), (1.0,), None, 1.0, 1.0, 1.0, "ffffff")
HEADER = b"patch_id,slide,column,row,x0,y0,width0,height0,level,downsample,mpp,label,label_name,label_fraction\n"
ROW = b"r00000_c00000,s,0,0,0,0,64,64,0,1.0,0.5,0,Normal,\n"


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
        read_config({"slides": "s", "results": "r", key: name}, tmp_path)


def squares(count, kind=""):
    """So many squares of 40 pixels, side by side in rows of 20."""
    places = [(place % 20 * 50 + (10 if kind else 0), place // 20 * 50 + (10 if kind else 0)) for place in range(count)]
    side, hole = (10, 'NegativeROA="1" InputRegionId="0"') if kind else (40, "")
    return "".join(
        f'<Region Id="{kind}{number + 1}" Text="{number}" {hole}><Vertices>'
        + "".join(f'<Vertex X="{x + a * side}" Y="{y + b * side}"/>' for a, b in ((0, 0), (1, 0), (1, 1), (0, 1)))
        + "</Vertices></Region>"
        for number, (x, y) in enumerate(places)
    )


def test_many_regions_look_at_the_points_and_the_holes_near_them_alone(tmp_path, monkeypatch):
    """Each of 100,000 regions would else look at all points, and each of their holes be cut out of all."""
    looked, cut = [], []
    contains, union = shapely.contains_xy, shapely.union_all
    monkeypatch.setattr("shapely.contains_xy", lambda shape, x, y: (looked.append(len(x)), contains(shape, x, y))[1])
    monkeypatch.setattr("shapely.union_all", lambda shapes: (cut.append(len(shapes)), union(shapes))[1])
    path = tmp_path / "many.xml"
    regions = squares(400) + squares(400, "h")
    path.write_text(f'<Annotations><Annotation Id="1"><Regions>{regions}</Regions></Annotation></Annotations>')
    annotation = read_annotation(path)
    assert cut == [1] * 400
    assert {region.shape.area for region in annotation.regions} == {40 * 40 - 10 * 10}
    points = np.stack(np.meshgrid(np.arange(5.0, 1000, 10), np.arange(5.0, 1000, 10)), axis=-1).reshape(-1, 2)
    names = np.append(annotation.names, "outside")[region_at(annotation, points)]
    assert sum(looked) <= len(points)
    for (x, y), name in zip(points, names, strict=True):
        inside = x % 50 < 40 and y % 50 < 40 and not (10 < x % 50 < 20 and 10 < y % 50 < 20)
        assert name == (str(int(y // 50 * 20 + x // 50)) if inside else "outside")


def a_tiff(folder, compression, damage=None):
    structure = next(one for one in STRUCTURES if one.compression == compression and one.tile == (128, 128))
    write(folder / "s.tif", painted(400, 300), structure, damage)
    return SlideInfo(structure.vendor, ((400, 300),), (1.0,), None, None, None, None, "ffffff")


def test_a_jpeg_2000_tile_that_claims_gigabytes_is_not_decoded(tmp_path):
    def claim(number, data):
        return data[:8] + (60_000).to_bytes(4, "big") * 2 + data[16:] if number == 1 else data

    info = a_tiff(tmp_path, "APERIO_JP2000_RGB", claim)
    with open_level(tmp_path / "s.tif", info, 0) as level:
        tiles = list(level.data(range(2)))
        assert level.pixels(0, tiles[0], level.buffer()).shape == (128, 128, 3)
        with pytest.raises(TilesError, match="60000 x 60000 pixels"):
            level.pixels(1, tiles[1], level.buffer())


def test_tiles_of_gigabytes_are_left_to_openslide(tmp_path, monkeypatch):
    info = a_tiff(tmp_path, "jpeg")
    monkeypatch.setattr("slidemill.tiles.tiled_level.LARGEST_TILE", 128 * 128 * 3 - 1)
    with pytest.raises(TilesError, match="128 x 128 pixels are larger"), open_level(tmp_path / "s.tif", info, 0):
        pass
