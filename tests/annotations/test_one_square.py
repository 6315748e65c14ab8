"""One square in all the ways in which it may be written: each labels the same patches, or is refused in words.

A slide of 1024 x 1024 pixels, patches of 128, the square from (300, 300) to (700, 700) named Tumor: the centres of 9 of
64 patches lie in it.
"""

import io
import json
import unicodedata
from xml.etree import ElementTree

import numpy as np
import pytest
import shapely
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from slidemill.annotations.frames import Frame
from slidemill.annotations.halo import is_halo
from slidemill.annotations.read import read_annotation
from slidemill.annotations.regions import BEYOND, DROPPED, ISLANDS, LINES, NESTED
from slidemill.core.specs import LabelSpec, Naming
from slidemill.errors import AnnotationError
from tests.examples import examples
from tests.labels import label_rows

pytestmark = pytest.mark.cases

LOW, HIGH, SIDE, PATCH = 300, 700, 1024, 128
SQUARE = [(LOW, LOW), (HIGH, LOW), (HIGH, HIGH), (LOW, HIGH)]
CLOSED = [*SQUARE, SQUARE[0]]
CORNERS = [(LOW, LOW), (HIGH, HIGH)]
ROWS = [
    {"x0": x, "y0": y, "width0": PATCH, "height0": PATCH} for y in range(0, SIDE, PATCH) for x in range(0, SIDE, PATCH)
]
SPEC = LabelSpec({"Normal": 0, "Tumor": 1, "1": 1}, "centre", "Normal")
"""An image's label is called by its digits."""


def tumour(path, frame=None, **options):
    """Return the columns and rows of the patches that an annotation labels as Tumor; all others are Normal."""
    annotation = read_annotation(path, frame or Frame((SIDE, SIDE)), Naming(**options))
    found = label_rows(ROWS, annotation, SPEC, {})
    assert {(row["label_name"], row["label"]) for row in found} <= {("Normal", 0), ("Tumor", 1), ("1", 1)}
    return {(row["x0"] // PATCH, row["y0"] // PATCH) for row in found if row["label"] == 1}


MIDDLE = {(column, row) for column in (2, 3, 4) for row in (2, 3, 4)}


def imagescope(vertices=SQUARE, kind="0", name="", layer="", attributes="", layers="", **more):
    places = "".join(f'<Vertex X="{x}" Y="{y}" Z="0"/>' for x, y in vertices)
    told = "".join(f' {key}="{value}"' for key, value in {"NegativeROA": 0, "InputRegionId": 0, **more}.items())
    return (
        f'<Annotations MicronsPerPixel="0.5"><Annotation Id="1" Name="{layer}"><Attributes>{layers}</Attributes>'
        f'<Regions><RegionAttributeHeaders><AttributeHeader Id="9999" Name="Region"/></RegionAttributeHeaders>'
        f'<Region Id="1" Type="{kind}" Text="{name}"{told}><Attributes>{attributes}</Attributes>'
        f"<Vertices>{places}</Vertices></Region></Regions><Plots/></Annotation></Annotations>"
    )


def attribute(value):
    return f'<Attribute Name="Description" Id="0" Value="{value}"/>'


def halo_region(vertices=CLOSED, kind="Polygon", negative=0, caps=0):
    places = "".join(f'<V X="{x}" Y="{y}" />' for x, y in vertices)
    return (
        f'<Region Type="{kind}" HasEndcaps="{caps}" NegativeROA="{negative}"><Vertices>{places}</Vertices><Comments />'
        "</Region>"
    )


def halo(*regions, name="Tumor"):
    inside = "".join(regions or [halo_region()])
    return (
        f'<Annotations>\n  <Annotation LineColor="65535" Name="{name}" Visible="True"><Regions>{inside}</Regions>'
        "</Annotation></Annotations>"
    )


def asap(vertices=SQUARE, kind="Polygon", group="Tumor", name="Annotation 0", places=None):
    places = places or "".join(f'<Coordinate Order="{n}" X="{x}" Y="{y}" />' for n, (x, y) in enumerate(vertices))
    return (
        f'<?xml version="1.0"?>\n<ASAP_Annotations><Annotations><Annotation Name="{name}" Type="{kind}" '
        f'PartOfGroup="{group}" Color="#F4FA58"><Coordinates>{places}</Coordinates></Annotation></Annotations>'
        f'<AnnotationGroups><Group Name="{group}" PartOfGroup="None" Color="#00ff00"><Attributes/></Group>'
        "</AnnotationGroups></ASAP_Annotations>"
    )


def polygon(*rings):
    return {"type": "Polygon", "coordinates": [[list(place) for place in ring] for ring in rings or [CLOSED]]}


def feature(geometry=None, properties=None, **more):
    told = {"objectType": "annotation", "classification": {"name": "Tumor", "color": [200, 0, 0]}}
    return {
        "type": "Feature",
        "id": "1",
        "geometry": polygon() if geometry is None else geometry,
        "properties": told if properties is None else properties,
        **more,
    }


def collection(*features, **more):
    return {"type": "FeatureCollection", "features": list(features or [feature()]), **more}


def nested(geometry, deep):
    for _ in range(deep):
        geometry = {"type": "GeometryCollection", "geometries": [geometry]}
    return geometry


def image(end="png", factor=1, dtype=np.uint8):
    pixels = np.zeros((SIDE // factor, SIDE // factor), dtype)
    pixels[LOW // factor : HIGH // factor, LOW // factor : HIGH // factor] = 1
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, end)
    return file.getvalue()


def left_half():
    return [(LOW, LOW), (500, LOW), (500, HIGH), (LOW, HIGH)]


def right_half():
    return [(500, LOW), (HIGH, LOW), (HIGH, HIGH), (500, HIGH)]


def with_a_hole():
    """Return the square and a hole that no centre lies in."""
    return [SQUARE, [(330, 330), (430, 330), (430, 430), (330, 430)]]


POINT, LINE = {"type": "Point", "coordinates": [5, 5]}, {"type": "LineString", "coordinates": [[0, 0], [900, 900]]}
AS_TEXT = json.dumps({"name": "Tumor", "color": [200, 0, 0]})

SAME = {
    "ImageScope: region's text": imagescope(name="Tumor"),
    "ImageScope: region's attribute": imagescope(attributes=attribute("") + attribute("Tumor"), name="other"),
    "ImageScope: attribute's text": imagescope(
        attributes=attribute("").replace("/>", "> Tumor </Attribute>"), layer="Normal"
    ),
    "ImageScope: layer's attribute": imagescope(layers=attribute("Tumor"), layer="Layer 1"),
    "ImageScope: layer's name": imagescope(layer="Tumor"),
    "ImageScope: region's attribute before all else": imagescope(
        attributes=attribute("Tumor"), name="b", layers=attribute("c"), layer="d"
    ),
    "ImageScope: region's text before its layer": imagescope(name="Tumor", layers=attribute("c"), layer="d"),
    "ImageScope: rectangle of corners": imagescope(CORNERS, "1", "Tumor"),
    "ImageScope: rectangle": imagescope(SQUARE, "1", "Tumor"),
    "ImageScope: closed": imagescope(CLOSED, name="Tumor"),
    "ImageScope: no declaration, blanks": "\n \t" + imagescope(name=" Tumor "),
    "ImageScope: in a namespace": imagescope(name="Tumor").replace("<Annotations", '<Annotations xmlns="urn:a"', 1),
    "ImageScope: in a prefixed namespace": (
        imagescope(name="Tumor")
        .replace("<Annotations", '<a:Annotations xmlns:a="urn:a"', 1)
        .replace("</Annotations>", "</a:Annotations>")
    ),
    "ImageScope: with a ruler": imagescope(name="Tumor").replace(
        "</Regions>", '<Region Id="2" Type="4"><Vertices><Vertex X="1" Y="2"/></Vertices></Region></Regions>'
    ),
    "ImageScope: comments": imagescope(name="Tumor").replace("<Vertices>", "<Vertices><!-- here -->"),
    "HALO: polygon": halo(),
    "HALO: open polygon": halo(halo_region(SQUARE)),
    "HALO: rectangle": halo(halo_region(CORNERS, "Rectangle")),
    "HALO: rectangle from its other corners": halo(halo_region([(HIGH, LOW), (LOW, HIGH)], "Rectangle")),
    "HALO: with a ruler and a pin": halo(
        halo_region([(0, 0), (900, 900)], "Ruler"), halo_region(), halo_region([(9, 9)], "Pin")
    ),
    "HALO: a hole between centres": halo(halo_region(), halo_region([(330, 330), (430, 430)], "Rectangle", 1)),
    "HALO: halves": halo(halo_region(left_half()), halo_region(right_half())),
    "HALO: an empty layer": halo().replace(
        "<Annotations>", '<Annotations><Annotation Name="x"><Regions/></Annotation>'
    ),
    "ASAP: polygon": asap(),
    "ASAP: spline": asap(kind="Spline"),
    "ASAP: rectangle": asap(kind="Rectangle"),
    "ASAP: in no group": asap(group="None", name="Tumor"),
    "ASAP: in any order": asap(
        places="".join(f'<Coordinate Order="{n}" X="{SQUARE[n][0]}" Y="{SQUARE[n][1]}"/>' for n in (2, 0, 3, 1))
    ),
    "ASAP: attributes of other programs": asap()
    .replace("<Annotation ", '<Annotation id="1" text="Normal" ')
    .replace("<Group ", '<Group name="Normal" '),
    "ImageScope: attributes that count for nothing": imagescope(name="Tumor").replace(
        "<Plots", '<Plots type="4" name="x"'
    ),
    "GeoJSON: collection": collection(),
    "GeoJSON: list": [feature()],
    "GeoJSON: feature": feature(),
    "GeoJSON: multipolygon": collection(feature({"type": "MultiPolygon", "coordinates": [polygon()["coordinates"]]})),
    "GeoJSON: halves as a multipolygon": feature(
        {"type": "MultiPolygon", "coordinates": [polygon(half())["coordinates"] for half in (left_half, right_half)]}
    ),
    "GeoJSON: halves": collection(feature(polygon(left_half())), feature(polygon(right_half()))),
    "GeoJSON: collection of geometries": feature(nested(polygon(), 1)),
    "GeoJSON: collections in collections": feature(nested(polygon(), 5)),
    "GeoJSON: what make_valid gives": feature(
        json.loads(shapely.to_geojson(shapely.GeometryCollection([shapely.Polygon(SQUARE), shapely.Point(0, 0)])))
    ),
    "GeoJSON: with lines and points": collection(feature(POINT), feature(LINE), feature(), feature(nested(POINT, 2))),
    "GeoJSON: classification as text": feature(properties={"classification": "Tumor"}),
    "GeoJSON: classification as JSON in text": feature(properties={"classification": AS_TEXT}),
    "GeoJSON: names": feature(properties={"classification": {"names": ["Tumor"]}}),
    "GeoJSON: a name and no names": feature(properties={"classification": {"name": "Tumor", "names": []}}),
    "GeoJSON: heights": feature(polygon([(x, y, 3) for x, y in CLOSED])),
    "GeoJSON: a hole between centres": feature(polygon(*with_a_hole())),
    "GeoJSON: a hole that is filled": collection(feature(polygon(SQUARE, left_half())), feature(polygon(left_half()))),
    "GeoJSON: decimals": feature(polygon([(x + 0.25, y - 0.25) for x, y in CLOSED])),
    "GeoJSON: a box and more members": feature(bbox=[LOW, LOW, HIGH, HIGH], nucleusGeometry=polygon(left_half())),
    "PNG": image(),
    "PNG: coarser": image(factor=4),
    "TIFF": image("tiff", 2),
}


@pytest.mark.parametrize("content", SAME.values(), ids=SAME)
def test_ways_that_are_read_label_the_same(tmp_path, content):
    assert tumour(put(tmp_path, content)) == MIDDLE
    assert read_annotation(put(tmp_path, content), Frame((SIDE, SIDE))).warnings == ()


def put(folder, content, name="case1.xml"):
    """Write content, bytes, text or what is told as JSON; the name's ending tells nothing."""
    data = content if isinstance(content, bytes) else content.encode() if isinstance(content, str) else None
    path = folder / name
    path.write_bytes(json.dumps(content).encode() if data is None else data)
    return path


REFUSED = {
    "ImageScope: no name": (imagescope(), "annotation 1, region 1 has no name"),
    "ImageScope: an unknown type": (imagescope(kind="9", name="Tumor"), "type '9' may enclose an area"),
    "ImageScope: a type in words": (imagescope(kind="polygon", name="Tumor"), "type 'polygon' may enclose an area"),
    "ImageScope: negative in words": (imagescope(name="Tumor", NegativeROA="yes"), "NegativeROA is 'yes'"),
    "ImageScope: other vertices": (
        imagescope(name="Tumor").replace("<Vertex ", "<Point "),
        "4 <Point> with X and Y are where ImageScope has none",
    ),
    "ImageScope: vertices in text": (
        imagescope([], name="Tumor").replace("<Vertices>", "<Vertices>300,300 700,300 700,700"),
        "its vertices are text",
    ),
    "ImageScope: other layers": (
        imagescope(name="Tumor").replace("Annotation ", "Layer ").replace("Annotation>", "Layer>"),
        "<Layer> is in",
    ),
    "ImageScope: other regions": (
        imagescope(name="Tumor").replace("Region ", "Shape ").replace("Region>", "Shape>"),
        "4 <Vertex> with X and Y",
    ),
    "ImageScope: lower case": (imagescope(name="Tumor").lower(), "begins with <annotations>"),
    "ImageScope: small x and y": (imagescope(name="Tumor").replace(" X=", " x=").replace(" Y=", " y="), "X=None"),
    "ImageScope: decimal commas": (imagescope([(f"{x},0", f"{y},0") for x, y in SQUARE], name="Tumor"), "X='300,0'"),
    "ImageScope: underscores": (imagescope([(f"{x}_0", y) for x, y in SQUARE], name="Tumor"), "X='300_0'"),
    "ImageScope: ASAP's regions": (asap().replace("ASAP_Annotations", "Annotations"), "<Annotations> is in"),
    "ImageScope: layers in layers": (
        imagescope(name="Tumor").replace("<Plots/>", "<Annotation Name='Normal'/>"),
        "<Annotation> is in <Annotation>",
    ),
    "ImageScope: groups of regions": (
        imagescope(name="Tumor")
        .replace("<Region ", "<Group Name='Normal'><Region ")
        .replace("</Regions>", "</Group></Regions>"),
        "<Region> is in <Group>",
    ),
    "ImageScope: regions in regions": (
        imagescope(name="Tumor").replace("<Vertices>", "<Region Id='2'/><Vertices>"),
        "<Region> is in <Region>",
    ),
    "HALO: layers in layers": (
        halo().replace("<Regions>", "<Annotation Name='Normal'><Regions/></Annotation><Regions>"),
        "<Annotation> is in <Annotation>",
    ),
    "HALO: groups of layers": (
        halo()
        .replace("<Annotations>", "<Annotations><Annotation/><Group>")
        .replace("</Annotations>", "</Group></Annotations>"),
        "<Annotation> is in <Group>",
    ),
    "ASAP: annotations in annotations": (
        asap().replace("<Coordinates>", "<Annotation Name='x' Type='Dot'/><Coordinates>"),
        "<Annotation> is in <Annotation>",
    ),
    "ImageScope: an attribute in other letters": (
        imagescope(name="Tumor").replace("NegativeROA", "negativeROA"),
        "'negativeROA' is not ImageScope's spelling: write 'NegativeROA'",
    ),
    "ImageScope: an attribute in a namespace": (
        imagescope(layer="Tumor").replace('"1" Name=', '"1" xmlns:a="urn:a" a:Name='),
        "'{urn:a}Name' is not ImageScope's spelling: write 'Name'",
    ),
    "ImageScope: an element in other letters": (
        imagescope(layer="Normal", attributes=attribute("Tumor").replace("Attribute", "attribute")),
        "'attribute' is not ImageScope's spelling: write 'Attribute'",
    ),
    "HALO: an attribute in other letters": (
        halo().replace("Type=", "type="),
        "'type' is not HALO's spelling: write 'Type'",
    ),
    "ASAP: an attribute in other letters": (
        asap(name="Normal").replace("PartOfGroup", "PartofGroup"),
        "'PartofGroup' is not ASAP's spelling: write 'PartOfGroup'",
    ),
    "ImageScope: a rectangle of three corners": (
        imagescope(SQUARE[:3], "1", "Tumor"),
        "its 3 vertices are not the corners of the rectangle",
    ),
    "HALO: a rectangle of three corners": (
        halo(halo_region([*SQUARE[:3], SQUARE[0]], "Rectangle")),
        "its 3 vertices are not the corners of the rectangle",
    ),
    "ASAP: a rectangle of three corners": (
        asap(SQUARE[:3], "Rectangle"),
        "its 3 vertices are not the corners of the rectangle",
    ),
    "HALO: a turned ellipse": (
        halo(halo_region([(300, 400), (600, 300), (700, 600), (400, 700)], "Ellipse")),
        "its 4 vertices are not the corners of the ellipse",
    ),
    "ImageScope: an ellipse of many vertices": (
        imagescope([*SQUARE, (500, 800)], "2", "Tumor"),
        "its 5 vertices are not the corners of the ellipse",
    ),
    "HALO: no name": (halo(name=" "), "has no name: name its layer"),
    "HALO: an unknown type": (halo(halo_region(kind="Freehand")), "type 'Freehand' may enclose an area"),
    "HALO: no type": (halo().replace(' Type="Polygon"', ""), "type '' may enclose an area"),
    "HALO: end caps": (halo(halo_region(caps=1)), "with end caps may be an open line"),
    "HALO: vertices of both": (
        halo(halo_region(), imagescope(kind="Polygon")),
        "<Vertex> with X and Y are where HALO has none",
    ),
    "HALO: two outlines in a region": (
        halo(halo_region().replace("<Vertices>", "<Vertices/><Vertices>")),
        "it has 2 outlines",
    ),
    "ASAP: two outlines": (asap().replace("<Coordinates>", "<Coordinates/><Coordinates>"), "it has 2 outlines"),
    "ASAP: an unknown type": (asap(kind="Ellipse"), "type 'Ellipse' may enclose an area"),
    "ASAP: type None": (asap(kind="None"), "type 'None' may enclose an area"),
    "ASAP: no name": (asap(group="None", name=""), "has no name: put it into a group"),
    "ASAP: other places": (asap().replace("<Coordinate ", "<Vertex "), "4 <Vertex> with X and Y"),
    "ASAP: other annotations": (
        asap().replace("Annotation ", "Region ").replace("</Annotation>", "</Region>"),
        "<Region> is in <Annotations>",
    ),
    "GeoJSON: no name": (feature(properties={}), "feature 1 has no name: its properties are none"),
    "GeoJSON: a name elsewhere": (
        feature(properties={"name": "Tumor", "label": "Tumor"}),
        "its properties are label, name",
    ),
    "GeoJSON: an unknown geometry": (
        feature({"type": "Ellipse", "coordinates": [SQUARE]}),
        "type 'Ellipse' may enclose",
    ),
    "GeoJSON: a geometry in lower case": (feature({**polygon(), "type": "polygon"}), "type 'polygon' may enclose"),
    "GeoJSON: an unknown geometry in a collection": (
        feature(nested({"type": "Circle"}, 2)),
        "type 'Circle' may enclose",
    ),
    "GeoJSON: a geometry without a type": (feature({"coordinates": [SQUARE]}), "type None may enclose"),
    "GeoJSON: no geometry": (
        {"type": "Feature", "properties": {}, "Geometry": polygon()},
        "not a GeoJSON feature with geometry",
    ),
    "GeoJSON: a list in place of a geometry": (feature([]), "not a GeoJSON feature with geometry"),
    "GeoJSON: text in place of a collection's geometry": (feature(nested("x", 1)), "a geometry is 'x'"),
    "GeoJSON: a bare geometry": (polygon(), "holds no features of GeoJSON"),
    "GeoJSON: a bare collection of geometries": (nested(polygon(), 1), "holds no features of GeoJSON"),
    "GeoJSON: a feature without a type": ([{**feature(), "type": None}], "feature 1 is not a GeoJSON feature"),
    "GeoJSON: collections in a list": ([collection()], "feature 1 is not a GeoJSON feature"),
    "GeoJSON: text that is no JSON": (
        feature(properties={"classification": "{'name': 'Tumor'}"}),
        "text that is not JSON",
    ),
    "GeoJSON: names that are no text": (
        feature(properties={"classification": {"names": [None]}}),
        "feature 1 has no name",
    ),
    "GeoJSON: a hole before its outline": (
        feature(polygon(left_half(), SQUARE)),
        "a hole is as large as its outline: write the outline first",
    ),
    "GeoJSON: a list of classes": (feature(properties={"classification": '["Tumor"]'}), "is named ['Tumor']"),
    "GeoJSON: numbers in text": (
        feature(polygon([(str(x), str(y)) for x, y in CLOSED])),
        "a position is ['300', '300']",
    ),
    "GeoJSON: a feature a line": (b"\n".join([json.dumps(feature()).encode()] * 2), "Extra data"),
    "GIF": (b"GIF89a" + bytes(99), "is a GIF by its content"),
    "BMP": (b"BM" + bytes(99), "is a BMP by its content"),
    "WebP": (b"RIFF\0\0\0\0WEBPVP8 " + bytes(99), "is a WebP by its content"),
    "JPEG 2000": (b"\0\0\0\x0cjP  \r\n" + bytes(99), "is a JPEG 2000 by its content"),
    "AVIF": (b"\0\0\0\x20ftypavif" + bytes(99), "is an AVIF by its content"),
    "NumPy": (b"\x93NUMPY\x01\0" + bytes(99), "is a NumPy array by its content"),
    "HDF5": (b"\x89HDF\r\n\x1a\n" + bytes(99), "is an HDF5 by its content"),
    "PDF": (b"%PDF-1.7", "is a PDF by its content"),
    "text": ("x,y\n300,300\n", "line 1, column 0: syntax error: it is neither XML, GeoJSON, PNG nor TIFF"),
    "GeoJSON: a class under another key": (
        feature(properties={"classification": {"label": "Tumor"}}),
        "its classification is {'label': 'Tumor'}, which has no name",
    ),
    "GeoJSON: COCO": ({"images": [], "annotations": [{"segmentation": [[1, 2]]}]}, "holds no features"),
    "NDPA": (
        '<annotations><ndpviewstate id="1"><title>Tumor</title></ndpviewstate></annotations>',
        "begins with <annotations>",
    ),
}


@pytest.mark.parametrize(("content", "words"), REFUSED.values(), ids=REFUSED)
def test_ways_that_are_not_read_are_refused(tmp_path, content, words):
    with pytest.raises(AnnotationError) as caught:
        read_annotation(put(tmp_path, content), Frame((SIDE, SIDE)))
    assert words in str(caught.value)
    assert str(caught.value).startswith("case1.xml: ")
    assert len(str(caught.value)) < 400


@pytest.mark.parametrize("begin", [b"\x1f\x8b\x08", b"PK\x03\x04", b"BZh9", b"\xfd7zXZ\0", b"\x28\xb5\x2f\xfd"])
def test_compressed_files_are_named_as_such(tmp_path, begin):
    path = put(tmp_path, begin + bytes(99), "case1.geojson.gz")
    with pytest.raises(AnnotationError, match=r"case1\.geojson\.gz: is compressed \(\w+\): unpack it"):
        read_annotation(path)


WRITERS = {
    "ImageScope": lambda ring: imagescope(ring, name="Tumor"),
    "HALO": lambda ring: halo(halo_region(ring)),
    "ASAP": asap,
    "GeoJSON": lambda ring: json.dumps(collection(feature(polygon([(float(x), float(y)) for x, y in ring])))),
}
NUMBERS = [str, lambda value: f" {value}.0 ", lambda value: f"{value:.6e}", lambda value: f"+{value}.", float]
ENCODINGS = ["utf-8", "utf-8-sig", "utf-16", "utf-16-le"]


@given(
    st.sampled_from(list(WRITERS)),
    st.integers(0, 3),
    st.booleans(),
    st.integers(0, 2),
    st.lists(st.integers(0, 3), max_size=3),
    st.sampled_from(NUMBERS),
    st.sampled_from(ENCODINGS),
    st.booleans(),
)
@examples(200, derandomize=True)
def test_ring_spelling_and_encoding_change_nothing(
    tmp_path_factory, writer, start, turned, closings, doubled_at, number, encoding, midpoints
):
    """Any first vertex, either direction, closed or not, doubled vertices, vertices on edges, any spelling."""
    ring = SQUARE[start:] + SQUARE[:start]
    ring = ring[::-1] if turned else ring
    if midpoints:
        ring = [
            place
            for one, other in zip(ring, ring[1:] + ring[:1], strict=True)
            for place in (one, ((one[0] + other[0]) // 2, (one[1] + other[1]) // 2))
        ]
    ring = ring + [ring[0]] * closings
    for place in sorted(doubled_at, reverse=True):
        ring.insert(place, ring[place])
    text = WRITERS[writer]([(number(x), number(y)) for x, y in ring])
    if writer != "GeoJSON":
        declared = "utf-16" if encoding.startswith("utf-16") else "utf-8"
        body = text.partition("?>")[2] if "?>" in text else text
        text = f'<?xml version="1.0" encoding="{declared}"?>\n{body}'
        text = ("\ufeff" if encoding == "utf-16-le" else "") + text
    path = tmp_path_factory.getbasetemp() / "ring"
    path.write_bytes(text.encode(encoding))
    assert tumour(path) == MIDDLE


@pytest.mark.parametrize("form", ["NFC", "NFD"])
@pytest.mark.parametrize(
    "write",
    [
        lambda name: imagescope(name=name),
        lambda name: halo(name=name),
        lambda name: asap(group=name),
        lambda name: json.dumps(feature(properties={"classification": name})),
    ],
    ids=WRITERS,
)
@pytest.mark.parametrize("mapped", ["NFC", "NFD"])
def test_names_are_compared_in_nfc(tmp_path, write, form, mapped):
    name = unicodedata.normalize(form, "Tumör Ångström")
    told, outside = unicodedata.normalize(mapped, "Tumör Ångström"), unicodedata.normalize(mapped, "Äußeres")
    annotation = read_annotation(put(tmp_path, write(name)))
    spec = LabelSpec({told: 1, outside: 0}, "centre", outside, only=[told])
    assert sum(row["label"] for row in label_rows(ROWS, annotation, spec, {})) == 9
    assert -1 not in {row["label"] for row in label_rows(ROWS, annotation, spec, {})}
    assert spec.only == [annotation.names[0]] == [unicodedata.normalize("NFC", name)]


@pytest.mark.parametrize(
    "write",
    [imagescope, lambda: halo(name=""), lambda: asap(group="", name=""), lambda: json.dumps(feature(properties={}))],
    ids=WRITERS,
)
def test_regions_without_a_name_are_labelled_where_asked(tmp_path, write):
    assert tumour(put(tmp_path, write()), unnamed="Tumor") == MIDDLE


BOUNDS = (128, 256, 640, 512)
MOVED = {(column + 1, row + 2) for column, row in MIDDLE}


@pytest.mark.parametrize(
    ("content", "origin", "moved", "note"),
    [
        (collection(), None, True, "start at the slide's bounds, 128, 256, as QuPath's do"),
        (collection(), "bounds", True, "start at the slide's bounds, 128, 256 (origin: bounds)"),
        (collection(), "canvas", False, "start at the whole slide, not at its bounds, 128, 256 (origin: canvas)"),
        (halo(), None, False, ""),
        (halo(), "bounds", True, "start at the slide's bounds, 128, 256 (origin: bounds)"),
        (imagescope(name="Tumor"), "bounds", True, "start at the slide's bounds"),
        (asap(), "canvas", False, ""),
    ],
)
def test_coordinates_start_where_the_origin_says(tmp_path, content, origin, moved, note):
    frame = Frame((SIDE, SIDE), BOUNDS, origin)
    path = put(tmp_path, content)
    assert tumour(path, frame) == (MOVED if moved else MIDDLE)
    assert note in "".join(read_annotation(path, frame).notes)
    assert bool(note) == bool(read_annotation(path, frame).notes)
    assert read_annotation(path, Frame((SIDE, SIDE), (0, 0, SIDE, SIDE), origin)).notes == ()


@pytest.mark.parametrize("origin", [None, "canvas", "bounds"])
def test_label_images_lie_over_what_the_origin_says(tmp_path, origin):
    """The image has 1 in its right half; over bounds, all that lies outside of them is 0."""
    pixels = np.zeros((4, 5 if origin == "bounds" else 4), np.uint8)
    pixels[:, 3:] = 1
    Image.fromarray(pixels).save(tmp_path / "a.png")
    frame = Frame((SIDE, SIDE), BOUNDS, origin)
    annotation = read_annotation(tmp_path / "a.png", frame)
    box = (512, 256, 768, 768) if origin == "bounds" else (768, 0, 1024, 1024)
    assert annotation.bounds == (box,)
    drawn = np.zeros((SIDE, SIDE), int) - 1
    drawn[box[1] : box[3], box[0] : box[2]] = 0
    assert (annotation.image.sampled((SIDE, SIDE)) == drawn).all()
    for rule in ("centre", "top_left", "area"):
        spec = LabelSpec({"1": 1, "Normal": 0}, rule, "Normal")
        labels = [row["label"] for row in label_rows(ROWS, annotation, spec, {})]
        assert labels == [int(drawn[row["y0"], row["x0"]] + 1) for row in ROWS]
    over = "bounds, 128, 256, of 640 x 512 pixels"
    assert over in annotation.notes[0]
    assert ("origin: bounds" in annotation.notes[0]) == (origin == "bounds")


@pytest.mark.parametrize(
    "content",
    [
        collection(feature(POINT)),
        halo(halo_region([(1, 1)], "Pin")),
        asap(kind="Dot"),
        imagescope(SQUARE[:2], name="Tumor"),
    ],
)
def test_an_annotation_of_which_nothing_is_left_is_a_warning(tmp_path, content):
    annotation = read_annotation(put(tmp_path, content))
    assert annotation.regions == ()
    assert annotation.warnings == ("no region of the annotation encloses an area, so that it marks nothing",)


def test_a_region_that_holes_erase_is_a_warning(tmp_path):
    content = halo(halo_region(), halo_region([(0, 0), (900, 900)], "Rectangle", 1))
    annotation = read_annotation(put(tmp_path, content))
    assert annotation.warnings[0] == "layer 'Tumor', region 1: holes of its layer leave nothing of it"


@pytest.mark.parametrize(
    "content",
    [halo(halo_region(negative=1)), imagescope(name="Tumor", NegativeROA="1")],
    ids=["HALO", "ImageScope"],
)
def test_holes_that_cut_nothing_are_a_warning(tmp_path, content):
    assert "that meet no region of their layer cut nothing (1)" in read_annotation(put(tmp_path, content)).warnings[0]


ASTRAY = "regions are outside the slide or reach far beyond it: are they of this slide, in level-0 pixels? [1 region]"


@pytest.mark.parametrize(
    ("left", "top", "right", "bottom"),
    [(1100, 300, 1200, 400), (-500, 300, -1, 700), (600, 600, 1400, 1400), (300, -300, 700, 700)],
    ids=["beyond the right edge", "left of the slide", "drawn at twice the size", "far above"],
)
def test_regions_off_the_slide_are_a_warning(tmp_path, left, top, right, bottom):
    sides = [(left, top), (right, top), (right, bottom), (left, bottom), (left, top)]
    content = collection(feature(), feature(polygon(sides)))
    assert read_annotation(put(tmp_path, content), Frame((SIDE, SIDE))).warnings == (ASTRAY,)


def test_regions_beyond_the_slide_are_a_warning(tmp_path):
    """A region in µm of another frame, or in fractions of the slide, would label nothing in silence."""
    far = feature(polygon([(x + SIDE, y) for x, y in CLOSED]))
    warnings = read_annotation(put(tmp_path, collection(feature(), far)), Frame((SIDE, SIDE))).warnings
    assert warnings == (ASTRAY,)
    fractions = feature(polygon([(x / SIDE, y / SIDE) for x, y in CLOSED]))
    warnings = read_annotation(put(tmp_path, fractions), Frame((SIDE, SIDE))).warnings
    assert warnings == ("all regions are within one pixel: coordinates are level-0 pixels, not fractions of the slide",)
    partly = feature(polygon([(x - 350, y) for x, y in CLOSED]))
    assert read_annotation(put(tmp_path, partly), Frame((SIDE, SIDE))).warnings == ()


@pytest.mark.parametrize(
    ("told", "mpp", "count"),
    [
        ("0.25", 0.5, 1),
        ("2.5e-1", 0.5, 1),
        ("0,25", 0.5, 1),
        (" .25 ", 0.5, 1),
        ("0.500", 0.4997, 0),
        ("5e-1", 0.5, 0),
        ("0", 0.5, 0),
        ("", 0.5, 0),
        ("0.25", None, 0),
    ],
)
def test_an_annotation_of_another_scan_is_a_warning(tmp_path, told, mpp, count):
    content = imagescope(name="Tumor").replace('MicronsPerPixel="0.5"', f'MicronsPerPixel="{told}"')
    warnings = read_annotation(put(tmp_path, content), Frame((SIDE, SIDE), mpp=mpp)).warnings
    assert ["drawn at 0.25 µm per pixel, and the slide has 0.5" in warning for warning in warnings] == [True] * count


@pytest.mark.parametrize("told", ["x", "nan", "inf", "-0.25", "0.25 um", "1.000,5"])
def test_micrometres_that_cannot_be_read_are_a_warning(tmp_path, told):
    content = imagescope(name="Tumor").replace('MicronsPerPixel="0.5"', f'MicronsPerPixel="{told}"')
    (warning,) = read_annotation(put(tmp_path, content), Frame((SIDE, SIDE), mpp=0.5)).warnings
    assert f"its MicronsPerPixel is {told!r}" in warning


def test_geojson_with_a_coordinate_system_is_a_warning(tmp_path):
    crs = {"type": "name", "properties": {"name": "urn:ogc:def:crs:EPSG::3857"}}
    annotation = read_annotation(put(tmp_path, collection(crs=crs)))
    assert "names a coordinate system" in annotation.warnings[0]
    assert read_annotation(put(tmp_path, collection(crs=None))).warnings == ()
    for content in (feature(crs=crs), collection(feature(), feature({**polygon(), "crs": crs}))):
        (warning,) = read_annotation(put(tmp_path, content)).warnings
        assert "names a coordinate system" in warning


def test_halos_holes_are_cut_out_of_their_layer_alone(tmp_path):
    hole = halo_region([(400, 400), (600, 600)], "Rectangle", 1)
    assert tumour(put(tmp_path, halo(halo_region(), hole))) == MIDDLE - {(3, 3), (3, 4), (4, 3), (4, 4)}
    two = halo().replace("</Annotations>", f'<Annotation Name="x"><Regions>{hole}</Regions></Annotation></Annotations>')
    assert tumour(put(tmp_path, two)) == MIDDLE


def test_halos_ellipse_fills_its_bounding_box(tmp_path):
    annotation = read_annotation(put(tmp_path, halo(halo_region([(HIGH, LOW), (LOW, HIGH)], "Ellipse"))))
    assert annotation.regions[0].shape.area == pytest.approx(np.pi * 200**2, rel=1e-3)
    assert annotation.regions[0].shape.bounds == pytest.approx((LOW, LOW, HIGH, HIGH))


def test_types_that_enclose_nothing_are_counted(tmp_path):
    pins = [halo_region([(1, 1)], "Pin") for _ in range(250)]
    assert read_annotation(put(tmp_path, halo(halo_region(), *pins))).notes == (
        "regions of type Pin enclose nothing and were left out (250)",
    )


SHORT = {
    "ImageScope: two vertices": imagescope(name="Tumor").replace(
        "</Regions>",
        '<Region Id="2"><Vertices><Vertex X="1" Y="2"/><Vertex X="9" Y="2"/></Vertices></Region></Regions>',
    ),
    "ImageScope: no vertices": imagescope(name="Tumor").replace("</Regions>", '<Region Id="2"/></Regions>'),
    "ImageScope: a rectangle of a corner": imagescope(name="Tumor").replace(
        "</Regions>", '<Region Id="2" Type="1"><Vertices><Vertex X="1" Y="2"/></Vertices></Region></Regions>'
    ),
    "ImageScope: a hole of two vertices": imagescope(name="Tumor").replace(
        "</Regions>",
        '<Region Id="2" NegativeROA="1"><Vertices><Vertex X="400" Y="400"/></Vertices></Region></Regions>',
    ),
    "HALO: two vertices": halo(halo_region(), halo_region(SQUARE[:2])),
    "HALO: a rectangle without a side": halo(halo_region(), halo_region([(0, 0), (0, 900)], "Rectangle")),
    "ASAP: two vertices": asap()
    .replace("<AnnotationGroups>", "")
    .replace("</Annotations>", '<Annotation Name="b" Type="Polygon" PartOfGroup="Tumor"/></Annotations>')
    .replace("</AnnotationGroups>", "")
    .replace('<Group Name="Tumor" PartOfGroup="None" Color="#00ff00"><Attributes/></Group>', ""),
    "GeoJSON: no geometry": collection(feature(), feature() | {"geometry": None}),
    "GeoJSON: an empty geometry": collection(feature(), feature() | {"geometry": {}}),
    "GeoJSON: an empty polygon": collection(feature(), feature({"type": "Polygon", "coordinates": []})),
    "GeoJSON: an empty ring": collection(feature(), feature({"type": "Polygon", "coordinates": [[]]})),
    "GeoJSON: an empty multipolygon": collection(feature(), feature({"type": "MultiPolygon", "coordinates": []})),
    "GeoJSON: an empty collection": collection(feature(), feature({"type": "GeometryCollection", "geometries": []})),
    "GeoJSON: an empty polygon in a collection": collection(
        feature(), feature(nested({"type": "MultiPolygon", "coordinates": []}, 2))
    ),
    "GeoJSON: two vertices": collection(feature(), feature(polygon(SQUARE[:2]))),
    "GeoJSON: a hole of two vertices": feature(polygon(CLOSED, [(400, 400), (500, 500)])),
    "GeoJSON: no area": collection(feature(), feature(polygon([(0, 0), (5, 5), (9, 9), (0, 0)]))),
}


@pytest.mark.parametrize("content", SHORT.values(), ids=SHORT)
def test_dropped_areas_are_a_counted_warning(tmp_path, content):
    """Beside good regions, nobody would look at a note."""
    path = put(tmp_path, content)
    assert tumour(path) == MIDDLE
    assert read_annotation(path).warnings == (f"{DROPPED} [1 region]",)


CROOKED = {
    "ImageScope: ruler": imagescope(name="Tumor").replace(
        "</Regions>",
        imagescope(SQUARE, "4").partition("</RegionAttributeHeaders>")[2].partition("</Regions>")[0] + "</Regions>",
    ),
    "HALO: ruler": halo(halo_region(), halo_region(SQUARE, "Ruler")),
    "HALO: pin": halo(halo_region(), halo_region(SQUARE, "Pin")),
    "ASAP: measurement": asap().replace(
        "</Annotations>",
        asap(SQUARE, "Measurement").partition("<Annotations>")[2].partition("</Annotations>")[0] + "</Annotations>",
    ),
    "GeoJSON: line": collection(feature(), feature({"type": "LineString", "coordinates": SQUARE})),
    "GeoJSON: lines": collection(feature(), feature({"type": "MultiLineString", "coordinates": [SQUARE, SQUARE[:2]]})),
}


@pytest.mark.parametrize("content", CROOKED.values(), ids=CROOKED)
def test_lines_of_many_vertices_are_a_counted_warning(tmp_path, content):
    path = put(tmp_path, content)
    assert tumour(path) == MIDDLE
    assert read_annotation(path).warnings == (f"{LINES} [1 region]",)


@pytest.mark.parametrize(
    "content",
    [
        halo(halo_region(), halo_region(SQUARE[:2], "Ruler"), halo_region([(9, 9)], "Pin")),
        collection(feature(POINT), feature(LINE), feature()),
        collection(feature(), feature({"type": "MultiPoint", "coordinates": SQUARE})),
    ],
)
def test_plain_lines_and_points_need_no_warning(tmp_path, content):
    assert read_annotation(put(tmp_path, content)).warnings == ()


@pytest.mark.parametrize(
    ("properties", "options", "told"),
    [
        ({"class": "Tumor"}, {"property": "Class", "unnamed": "Normal"}, "class"),
        ({"classification": "Tumor"}, {"property": "type", "unnamed": "Normal"}, "classification"),
        ({}, {"property": "type", "unnamed": "Normal"}, "none"),
        ({"label": "Tumor", "objectType": "annotation"}, {"unnamed": "Normal"}, "label, objectType"),
        ({"label": "Tumor", "classification": None}, {"unnamed": "Normal"}, "classification, label"),
        ({"objectType": "annotation", "isLocked": True}, {"unnamed": "Normal"}, None),
        ({}, {"unnamed": "Normal"}, None),
    ],
)
def test_property_that_no_feature_has_is_a_warning(tmp_path, properties, options, told):
    """With a name for regions without one, each would have that."""
    annotation = read_annotation(
        put(tmp_path, collection(*[feature(properties=properties)] * 2)), naming=Naming(**options)
    )
    assert annotation.names == ("Normal", "Normal")
    assert [warning.endswith(f"their properties are {told}") for warning in annotation.warnings] == [True] * bool(told)


def test_property_that_some_features_have_needs_no_warning(tmp_path):
    two = collection(feature(properties={"class": "Tumor"}), feature(properties={"label": "x"}))
    naming = Naming("Normal", "class")
    assert read_annotation(put(tmp_path, two), naming=naming).warnings == ()
    assert read_annotation(put(tmp_path, two), naming=naming).names == ("Tumor", "Normal")


HOLE = [(430, 430), (570, 430), (570, 570), (430, 570), (430, 430)]


@pytest.mark.parametrize(
    "geometry",
    [
        {"type": "MultiPolygon", "coordinates": [polygon()["coordinates"], polygon(HOLE)["coordinates"]]},
        {"type": "MultiPolygon", "coordinates": [polygon(HOLE[::-1])["coordinates"], polygon()["coordinates"]]},
        {"type": "GeometryCollection", "geometries": [polygon(), nested(polygon(HOLE), 2)]},
    ],
)
def test_polygons_in_polygons_are_a_warning(tmp_path, geometry):
    """A hole that was written as a polygon of its own would be filled."""
    (warning,) = read_annotation(put(tmp_path, feature(geometry))).warnings
    assert warning == f"{NESTED} [1 region]"


def test_islands_in_holes_need_no_warning(tmp_path):
    island = [[(x + (500 - x) // 7, y + (500 - y) // 7) for x, y in HOLE]]
    parts = [polygon(CLOSED, HOLE)["coordinates"], polygon(*island)["coordinates"]]
    path = put(tmp_path, feature({"type": "MultiPolygon", "coordinates": parts}))
    assert read_annotation(path).warnings == ()
    assert tumour(path) == MIDDLE


@pytest.mark.parametrize("winding", [1, -1])
def test_holes_of_any_winding_are_cut_out(tmp_path, winding):
    path = put(tmp_path, feature(polygon(CLOSED, HOLE[::winding])))
    assert tumour(path) == MIDDLE - {(3, 3)}
    assert read_annotation(path).warnings == ()


def test_islands_among_holes_are_a_warning(tmp_path):
    """Rings that count by turns, as of contours, would lose what lies in a hole."""
    island = [(x + (500 - x) // 7, y + (500 - y) // 7) for x, y in HOLE]
    (warning,) = read_annotation(put(tmp_path, feature(polygon(CLOSED, HOLE, island)))).warnings
    assert warning == f"{ISLANDS} [1 region]"
    side = [(x - 120, y) for x, y in [*HOLE[:1], (440, 430), (440, 500)]]
    assert read_annotation(put(tmp_path, feature(polygon(CLOSED, HOLE, side)))).warnings == ()


@pytest.mark.parametrize(
    ("ring", "count"),
    [
        ([(690, 300), (900, 300), (900, 500), (690, 500)], 1),
        ([(600, 600), (900, 600), (900, 900)], 1),
        ([(500, 500), (701, 500), (701, 600), (500, 600)], 0),
        ([(500, 500), (700, 500), (700, 600), (500, 600)], 0),
    ],
)
def test_holes_beyond_their_outline_are_a_warning(tmp_path, ring, count):
    """A second outline that was written as a hole would cut in place of adding; a rim of a pixel is a slip."""
    warnings = read_annotation(put(tmp_path, feature(polygon(CLOSED, ring)))).warnings
    assert warnings == (f"{BEYOND} [1 region]",) * count


def test_halo_is_known_by_its_types_or_its_vertices():
    for text, is_halos in (
        ('<Annotations><Annotation><Regions><Region Type="Polygon"/></Regions></Annotation></Annotations>', True),
        (
            "<Annotations><Annotation><Regions><Region><Vertices><V/></Vertices></Region></Regions></Annotation></Annotations>",
            True,
        ),
        ('<Annotations><Annotation><Regions><Region Type="1"/></Regions></Annotation></Annotations>', False),
    ):
        assert is_halo(ElementTree.fromstring(text)) == is_halos
