"""What is fuzzed: each reader, with valid inputs to damage, and a call that reads one to its end."""

import contextlib
import json
import pickle
import sys
from dataclasses import dataclass
from types import ModuleType

import h5py
import numpy as np
import tifffile
import yaml
from PIL import Image

from slidemill.annotations.frames import Frame
from slidemill.annotations.read import read_annotation
from slidemill.config.configuration import read_config
from slidemill.coordinates import _hdf5
from slidemill.coordinates._read import read_coordinates
from slidemill.coordinates.placing import place_patches
from slidemill.core.csv_tables import read_table
from slidemill.core.encodings import ENCODINGS, decode_patch, encode_patch
from slidemill.core.outcomes import Outcome, read_outcome, write_outcome
from slidemill.core.pyramid import SlideInfo
from slidemill.core.specs import GridSpec, LabelSpec
from slidemill.core.stage_facts import SlideFacts
from slidemill.datasets.results import read_metadata
from slidemill.errors import SlidemillError
from slidemill.exchange.pywsi import parse_item
from slidemill.features.feature_file import FeatureManifest, PatchPlaces, open_features, write_features
from slidemill.sampling._custom_mask import read_mask
from slidemill.sampling._label_rules import region_at
from slidemill.sampling.labelled_table import Labelling, label_blocks
from slidemill.slides.patch_table import patches_of
from slidemill.slides.sample_sheet import read_sheet
from slidemill.slides.slide_info import open_slide, slide_info
from slidemill.stores.checks import Expected, check_store
from slidemill.stores.manifest import Manifest
from slidemill.stores.registry import open_store
from slidemill.stores.zarr import FILES
from slidemill.testing import write_annotation
from slidemill.tiles.levels import open_level
from tests.conftest import AREAS, REAL_SLIDES, ROOT, painted
from tests.dicoms import LAYOUTS, write_series
from tests.stores.contract import SIZE, patches_and_pixels, write_patches
from tests.tiffs import STRUCTURES, write

SCHEMA = yaml.safe_load((ROOT / "workflow/schemas/slides.schema.yaml").read_text(encoding="utf-8"))
POINTS = np.stack(np.meshgrid(np.arange(0, 1000, 50.0), np.arange(0, 1000, 50.0)), axis=-1).reshape(-1, 2)
SHAPE = (SIZE, SIZE, 3)
INFO = SlideInfo("x", ((999, 999),), (1.0,), None, 1.0, 1.0, 1.0, "ffffff")


@dataclass(frozen=True)
class Target:
    """A reader: the structure of its inputs, valid ones, and a call that reads one, given a folder to write in."""

    kind: str
    seeds: object
    read: object
    crashes: bool = False
    """Whether a library may end the process where its file is damaged: told, and no fault of this project."""


def noise(count, size):
    return np.random.default_rng(0).integers(0, 256, (count, size, size, 3), np.uint8)


def put(folder, name, data):
    path = folder / name
    path.write_bytes(data)
    return path


def annotations(folder):
    write_annotation(folder / "a.xml", AREAS)
    real = REAL_SLIDES / "CMU-1-Small-Region.xml"
    yield from (path.read_bytes() for path in (folder / "a.xml", real) if path.exists())
    yield (
        b'<Annotations><Annotation Id="1"><Regions><Region Id="1" Type="2"><Vertices><Vertex X="1" Y="2"/>'
        b'<Vertex X="500" Y="600"/></Vertices></Region><Region Id="2" NegativeROA="1" InputRegionId="1" Type="1">'
        b'<Vertices><Vertex X="20" Y="20"/><Vertex X="90" Y="90"/></Vertices></Region>'
        b"</Regions></Annotation></Annotations>"
    )

    yield (
        b'<Annotations><Annotation Name="A"><Regions><Region Type="Ellipse" HasEndcaps="0" NegativeROA="0"><Vertices>'
        b'<V X="1" Y="2"/><V X="500" Y="600"/></Vertices></Region><Region Type="Polygon" NegativeROA="1"><Vertices>'
        b'<V X="20" Y="20"/><V X="90" Y="20"/><V X="90" Y="90"/></Vertices></Region></Regions></Annotation>'
        b"</Annotations>"
    )

    yield (
        b'<ASAP_Annotations><Annotations><Annotation Name="1" Type="Polygon" PartOfGroup="A"><Coordinates>'
        b'<Coordinate Order="0" X="1" Y="2"/><Coordinate Order="2" X="90" Y="90"/><Coordinate Order="1" X="90" Y="2"/>'
        b'</Coordinates></Annotation></Annotations><AnnotationGroups><Group Name="A"/>'
        b"</AnnotationGroups></ASAP_Annotations>"
    )


def geojson(_folder):
    rings = [[[0, 0], [900, 0], [900, 900.5], [0, 900], [0, 0]], [[10, 10], [20, 10], [20, 20], [10, 10]]]
    for kind, coordinates in (("Polygon", rings), ("MultiPolygon", [rings, rings])):
        properties = {"objectType": "annotation", "name": "n", "classification": {"name": "A", "color": [1, 2, 3]}}
        feature = {"type": "Feature", "geometry": {"type": kind, "coordinates": coordinates}, "properties": properties}
        yield json.dumps({"type": "FeatureCollection", "features": [feature]}).encode()
        yield json.dumps([feature, feature]).encode()


def label_images(folder):
    pixels = np.kron(np.arange(20).reshape(4, 5), np.ones((16, 16), int)).astype(np.uint8)
    Image.fromarray(pixels).save(folder / "a.png")
    yield (folder / "a.png").read_bytes()
    for dtype, options in (
        (np.uint8, {"tile": (32, 32), "compression": "deflate"}),
        (np.uint32, {"rowsperstrip": 9, "compression": "lzw", "predictor": True}),
        (np.uint16, {}),
    ):
        tifffile.imwrite(folder / "a.tif", pixels.astype(dtype), photometric="minisblack", **options)
        yield (folder / "a.tif").read_bytes()


def read_regions(data, folder):
    annotation = read_annotation(put(folder, "a.xml", data), Frame((800, 640), (5, 5, 700, 600), "bounds"))
    region_at(annotation, POINTS)
    rows = [{"x0": x, "y0": y, "width0": 100, "height0": 100} for x, y in POINTS]
    list(label_blocks(rows, Labelling(annotation, LabelSpec({}, "area", "outside"))))


def sheets(_folder):
    yield b"slide,path,patient,annotation\nA-1,a.svs,P1,a.xml\nA-2,sub/b.svs,,\n"
    yield '\ufeffslide,path,site\nA,"a ""b"", c.svs",Köln\n'.encode()


def configs(_folder):
    yield json.dumps({"slides": "s", "results": "r"}).encode()
    for name in ("config", "demo"):
        yield json.dumps(yaml.safe_load((ROOT / f"config/{name}.yaml").read_text(encoding="utf-8"))).encode()


def read_configuration(data, folder):
    try:
        values = json.loads(data)
    except (ValueError, RecursionError):
        return  # Snakemake reads the file, and asks for a mapping
    if isinstance(values, dict):
        (folder / "s").mkdir(exist_ok=True)
        read_config(values, folder)


def info_of(folder):
    structure = STRUCTURES[0]
    write(folder / "s.tif", painted(400, 300), structure)
    with open_slide(folder / "s.tif") as slide:
        return slide_info(slide)


def outcomes(folder):
    facts = SlideFacts(info=info_of(folder))
    write_outcome(folder / "o.json", Outcome("s", "discover_slides", path="s.tif", fingerprint="f", facts=facts))
    yield (folder / "o.json").read_bytes()


def read_facts(data, folder):
    outcome = read_outcome(put(folder, "o.json", data))
    if outcome.facts:
        outcome.info.deepzoom_levels(True)


def tables(_folder):
    yield b"patch_id,column,row,x0,y0,width0,height0,level,downsample,mpp\nr00000_c00000,0,0,0,0,64,64,0,1.0,0.5\n" * 1
    yield (
        b"patch_id,slide,column,row,x0,y0,width0,height0,level,downsample,mpp,label,label_name,label_fraction\n"
        b"r00000_c00000,s,0,0,0,0,64,64,0,1.0,0.5,0,Normal,0.75\nr00000_c00001,s,1,0,64,0,64,64,0,1.0,,-1,Other,\n"
    )


def read_tables(data, folder):
    path = put(folder, "t.csv", data)
    for read in (
        lambda: list(read_table(path, ("patch_id",))),
        lambda: read_metadata(path),
        lambda: patches_of(
            read_table(path),
            INFO,
            GridSpec(64, level=0),
        ),
    ):
        try:
            read()
        except SlidemillError:
            continue


def written(folder, backend, encoding):
    return write_patches(folder, noise, backend, encoding)[0]


def manifests(folder):
    yield (written(folder, "disk", "png") / "manifest.json").read_bytes()


def files_of(backend, encodings=("raw", "zstd", "png", "jpeg")):
    def seeds(folder):
        for encoding in encodings:
            yield written(folder, backend, encoding).read_bytes()

    return seeds


def whole(path):
    """Read all of a store; a patch that cannot be read hides none of the others."""
    with open_store(path) as store:
        for read in (store.stored_ids, *(lambda one=one: store.read(one) for one in store.ids[:40])):
            try:
                read()
            except SlidemillError:
                continue


class Item:
    """Has the attributes of py-wsi's class."""

    def __init__(self, pixels):
        self.channels, self.size, self.data, self.label = 3, len(pixels), pixels.tobytes(), 1
        self.coords = np.array([3, 4])


def pickles(_folder):
    """Patches as py-wsi pickles them, by each protocol, under its own name."""
    (pixels,) = noise(1, 8)
    name = Item.__module__
    for protocol in (3, 4, 5):
        Item.__module__, module = "py_wsi.item", ModuleType("py_wsi.item")
        module.Item = Item
        sys.modules |= {"py_wsi": ModuleType("py_wsi"), "py_wsi.item": module}
        try:
            yield pickle.dumps(Item(pixels), protocol)
        finally:
            Item.__module__ = name
            del sys.modules["py_wsi"], sys.modules["py_wsi.item"]


def read_pickle(data, _folder):
    with contextlib.suppress(ValueError):
        parse_item(data, 3, 4)


def folders(folder):
    """The files of a folder of patches that are read, one after another in one input."""
    path = written(folder, "disk", "png")
    yield json.dumps(
        {name: (path / name).read_text(encoding="utf-8") for name in ("manifest.json", "index.csv")}
        | {"picture": (path / "r00000_c00000.png").read_bytes().decode("latin-1")}
    ).encode()


def read_folder(data, folder):
    try:
        files = json.loads(data)
        (folder / "s").mkdir(exist_ok=True)
        for name in ("manifest.json", "index.csv"):
            (folder / "s" / name).write_text(files[name], encoding="utf-8")
        (folder / "s" / "r00000_c00000.png").write_bytes(files["picture"].encode("latin-1"))
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return
    whole(folder / "s")


def pictures(_folder):
    pixels = noise(1, SIZE)[0]
    for name, encoding in ENCODINGS.items():
        if encoding.encode is not None:
            yield name.encode() + b"|" + bytes(encode_patch(encoding, 90, pixels).data)


def read_picture(data, _folder):
    name, _, own = data.partition(b"|")
    decode_patch(ENCODINGS.get(name.decode("latin-1"), ENCODINGS["png"]), own, SHAPE)


def slides(folder):
    for structure in STRUCTURES:
        if structure.tile[0] * structure.tile[1] <= 240 * 240:
            write(folder / "s.tif", painted(400, 300), structure)
            yield (folder / "s.tif").read_bytes()


def read_tiles(data, folder):
    info = SlideInfo("generic-tiff", ((400, 300),), (1.0,), None, None, None, None, "ffffff")
    with open_level(put(folder, "s.tif", data), info, 0) as level:
        _read_each(level)


def _read_each(level):
    buffer = level.buffer()
    for number in range(len(level.offsets)):
        try:
            (own,) = level.data([number])
            level.pixels(number, own, buffer)
        except SlidemillError:
            continue


def dicom_slides(folder):
    for number, layout in enumerate(LAYOUTS):
        if layout.tile[0] <= 128:
            yield write_series(folder / str(number), painted(400, 300), layout).read_bytes()


def read_frames(data, folder):
    info = SlideInfo("dicom", ((400, 300),), (1.0,), None, None, None, None, "ffffff")
    (folder / "series").mkdir(exist_ok=True)
    with open_level(put(folder / "series", "s.dcm", data), info, 0) as level:
        _read_each(level)


def feature_files(folder):
    """Files of features, 16 and 32 bits, and one without rows."""
    manifest = FeatureManifest(name="own", slide="s", fingerprint="f", model="m")
    patches, _ = patches_and_pixels(noise)
    for count, dtype in ((len(patches), "float16"), (len(patches), "float32"), (0, "float32")):
        own = patches[:count]
        places = PatchPlaces.of("s", own, INFO, grid=GridSpec(SIZE, level=0))
        rows = [np.ones((count, 5), dtype)] if count else []
        write_features(folder / "s.h5", manifest, places, batches=rows)
        yield (folder / "s.h5").read_bytes()


def read_features(data, folder):
    """Read all of a file of features, and check it."""
    file = open_features(put(folder, "s.h5", data))
    for read in (lambda: file.features().sum(), lambda: file.patch_ids, lambda: file.attributes, file.check):
        try:
            read()
        except SlidemillError:
            continue


PLACES = [[0, 0], [7, 3], [64, 128], [700, 500], [128, 0]]
PLACED_ON = SlideInfo("generic-tiff", ((800, 640), (400, 320)), (1.0, 2.0), None, 0.5, 0.5, 20.0, "ffffff")


def coordinate_files(folder):
    path = folder / "c.h5"
    for square in (
        {"patch_size": 64, "patch_size_level0": 128, "name": "s", "level0_width": 800, "level0_height": 640},
        {"patch_size": 64, "level0_magnification": 20, "target_magnification": 10.0},
        {"patch_size": 32, "patch_level": 1, "level_dim": (400, 320), "downsample": (2.0, 2.0), "name": b"s"},
    ):
        for dtype, options in (
            (np.int64, {"chunks": (1, 2), "maxshape": (None, 2)}),
            (np.int32, {"chunks": (4, 2), "compression": "gzip", "shuffle": True, "fletcher32": True}),
            (np.float64, {}),
        ):
            with h5py.File(path, "w", libver="latest" if options else "earliest") as file:
                file.create_dataset("coords", data=np.array(PLACES, dtype), **options).attrs.update(square)
                file["features"] = np.zeros((5, 3), np.float32)
            yield path.read_bytes()


def read_coordinate_file(data, folder):
    """Read in the child process, which a crash or an endless loop of the library ends."""
    _hdf5.LONGEST = 1
    place(read_coordinates(put(folder, "c.h5", data)))


def coordinate_tables(_folder):
    yield b"x,y\n0,0\n7,3\n64,128\n700,500\n"
    yield "\ufeffslide,X0,score,y0\na,7.0,0.5,3\na,64.0,,64\n".encode()


def place(found):
    """Place what a file has, with and without stated squares."""
    for spec, stated in ((GridSpec(64, level=0), ()), (GridSpec(32, mpp=1.0, edges="pad"), ("patch_size", "mpp"))):
        try:
            place_patches(found, PLACED_ON, spec, stated=stated, names=("s.tif", "s"))
        except SlidemillError:
            continue


def contours(_folder):
    """TRIDENT's outlines of tissue."""
    rings = [[[0, 0], [700, 0], [700, 600], [0, 600], [0, 0]], [[10, 10], [20, 10], [20, 20], [10, 10]]]
    features = [
        {"type": "Feature", "properties": {"tissue_id": number}, "geometry": {"type": kind, "coordinates": own}}
        for number, (kind, own) in enumerate((("Polygon", rings), ("MultiPolygon", [rings])))
    ]
    crs = {"type": "name", "properties": {"name": "urn:ogc:def:crs:EPSG::3857"}}
    yield json.dumps({"type": "FeatureCollection", "name": "s", "crs": crs, "features": features}).encode()


def read_contours(data, folder):
    found = read_mask(put(folder, "s.geojson", data), PLACED_ON, (80, 64), values=None, origin=None, side=64)
    if found.fractions:
        found.fractions([{"x0": x, "y0": y, "width0": 64, "height0": 64} for x, y in PLACES])


def zarr_files(folder):
    """Each file of a store with its name, since one of them is damaged at a time."""
    for encoding in ("raw", "zstd"):
        path = written(folder / encoding, "zarr", encoding)
        for own in sorted(path.iterdir()):
            yield f"{encoding}/{own.name}|".encode() + own.read_bytes()


def read_zarr(data, folder):
    name, _, content = data.partition(b"|")
    encoding, _, file = name.decode("latin-1").partition("/")
    if encoding not in ("raw", "zstd") or not FILES.fullmatch(file):
        return
    if not (path := folder / encoding / "s.zarr").exists():
        written(folder / encoding, "zarr", encoding)
    before = (path / file).read_bytes() if (path / file).exists() else None
    try:
        whole(put(path, file, content).parent)
        check_store(path, Expected("s", "zarr"))
    finally:
        (path / file).unlink() if before is None else put(path, file, before)


def zarr_metadata(folder):
    for encoding in ("raw", "zstd"):
        yield (written(folder / encoding, "zarr", encoding) / "zarr.json").read_bytes()


def read_zarr_metadata(data, folder):
    for encoding in ("raw", "zstd"):
        with contextlib.suppress(SlidemillError):
            read_zarr(f"{encoding}/zarr.json|".encode() + data, folder)


def read_slides(data, folder):
    read_sheet(put(folder, "s.csv", data), SCHEMA, frozenset({"label"}))


TARGETS = {
    "annotation": Target("xml", annotations, read_regions),
    "geojson": Target("json", geojson, read_regions),
    "label image": Target("bytes", label_images, read_regions),
    "sheet": Target("csv", sheets, read_slides),
    "config": Target("json", configs, read_configuration),
    "outcome": Target("json", outcomes, read_facts),
    "table": Target("csv", tables, read_tables),
    "manifest": Target("json", manifests, lambda data, _folder: Manifest.from_bytes(data, "it").to_bytes()),
    "lmdb": Target("bytes", files_of("lmdb"), lambda data, folder: whole(put(folder, "s.lmdb", data)), crashes=True),
    "hdf5": Target("bytes", files_of("hdf5"), lambda data, folder: whole(put(folder, "s.h5", data)), crashes=True),
    "features": Target("bytes", feature_files, read_features, crashes=True),
    "disk": Target("json", folders, read_folder),
    "py-wsi": Target("bytes", pickles, read_pickle),
    "tar": Target("bytes", files_of("tar", ("raw", "png")), lambda data, folder: whole(put(folder, "s.tar", data))),
    "picture": Target("bytes", pictures, read_picture),
    "tiff": Target("bytes", slides, read_tiles),
    "dicom": Target("bytes", dicom_slides, read_frames),
    "coordinates": Target("bytes", coordinate_files, read_coordinate_file),
    "coordinate table": Target(
        "csv", coordinate_tables, lambda data, folder: place(read_coordinates(put(folder, "c.csv", data)))
    ),
    "contours": Target("json", contours, read_contours),
    "zarr": Target("bytes", zarr_files, read_zarr),
    "zarr metadata": Target("json", zarr_metadata, read_zarr_metadata),
}
