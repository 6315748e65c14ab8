"""Annotations that are broken, hostile or strange: what they do to their slide, and that they do nothing to others."""

import gzip
import io
import json
import os
import struct
import zlib

import numpy as np
import pytest
import tifffile
from PIL import Image

from slidemill.annotations.read import read_annotation
from slidemill.errors import AnnotationError, ConfigError, SlidemillError
from slidemill.testing import write_annotation
from tests.conftest import AREAS

pytestmark = pytest.mark.cases

SQUARE = [(0, 0), (256, 0), (256, 256), (0, 256)]


def xml(vertices, name="Benign", head=""):
    places = "".join(f'<Vertex X="{x}" Y="{y}"/>' for x, y in vertices)
    return (
        f'{head}<Annotations><Annotation Id="1"><Regions><Region Id="1" Type="0" Text="{name}">'
        f"<Vertices>{places}</Vertices></Region></Regions></Annotation></Annotations>"
    )


@pytest.fixture
def annotated(cohort):
    """Runs with an annotation of `bad.svs`; the row of that slide comes back, and the good one must be ok."""
    cohort.add("bad.svs")
    cohort.annotate("good")

    def run(text):
        if text is not None:
            cohort.annotate("bad", text)
        rows = cohort.run()
        assert (rows["good.svs"]["status"], rows["good.svs"]["regions"]) == ("ok", "2")
        return rows["bad.svs"]

    run.cohort = cohort
    return run


def geojson(vertices, kind="Polygon", **properties):
    coordinates = [[list(place) for place in vertices]]
    properties = properties or {"classification": {"name": "Benign"}}
    feature = {"type": "Feature", "geometry": {"type": kind, "coordinates": coordinates}, "properties": properties}
    return json.dumps({"type": "FeatureCollection", "features": [feature]})


def asap(vertices, kind="Polygon"):
    places = "".join(f'<Coordinate Order="{n}" X="{x}" Y="{y}"/>' for n, (x, y) in enumerate(vertices))
    return (
        f'<ASAP_Annotations><Annotations><Annotation Name="1" Type="{kind}" PartOfGroup="Benign"><Coordinates>{places}'
        '</Coordinates></Annotation></Annotations><AnnotationGroups><Group Name="Benign"/></AnnotationGroups>'
        "</ASAP_Annotations>"
    )


def halo(vertices, kind="Polygon"):
    places = "".join(f'<V X="{x}" Y="{y}"/>' for x, y in vertices)
    return (
        f'<Annotations><Annotation Name="Benign"><Regions><Region Type="{kind}" HasEndcaps="0" NegativeROA="0">'
        f"<Vertices>{places}</Vertices></Region></Regions></Annotation></Annotations>"
    )


def image(values, size=(512, 384), end="png", **options):
    """The bytes of a label image: a slide of 512 x 384 pixels has them of its own size."""
    file = io.BytesIO()
    pixels = np.resize(np.asarray(values), (*size[::-1], *np.shape(values)[1:]))
    if end == "png":
        Image.fromarray(pixels).save(file, "png")
    else:
        with tifffile.TiffWriter(file) as writer:
            writer.write(pixels, **{"photometric": "minisblack", **options})
    return file.getvalue()


def claiming(width, height):
    """A PNG that says that it is as large, and holds next to nothing."""
    small = bytearray(image(ONE))
    small[16:24] = struct.pack(">II", width, height)
    small[29:33] = struct.pack(">I", zlib.crc32(small[12:29]))
    return bytes(small)


ONE = np.ones(1, np.uint8)
NOISE = np.random.default_rng(0).integers(0, 9, 512 * 384, np.uint8)
TILES = {"end": "tiff", "tile": (64, 64), "compression": "deflate"}
TANGLE = [(x % 1000, y % 1000) for x, y in np.random.default_rng(0).integers(0, 1000, (3000, 2)).tolist()]
BOMB = '<?xml version="1.0"?><!DOCTYPE a [<!ENTITY a "ha"><!ENTITY b "&a;&a;"><!ENTITY c "&b;&b;">]>'
BAD = {
    "malformed": ("<Annotations>\n<Annotation>\n</Annotations>", "bad.xml: line 3"),
    "empty": ("", "bad.xml: line 1"),
    "an encoding that nobody knows": (xml(SQUARE, head='<?xml version="1.0" encoding="klingon"?>'), "bad.xml"),
    "other bytes than its encoding's": (xml(SQUARE, "Präparat").encode("latin-1"), "bad.xml: line 1"),
    "an entity bomb": (xml(SQUARE, "&c;", BOMB), "declares entities or external files"),
    "an external entity": (
        xml(SQUARE, "&x;", '<!DOCTYPE a [<!ENTITY x SYSTEM "file:///etc/passwd">]>'),
        "declares entities or external files",
    ),
    "a huge coordinate": (xml([*SQUARE, ("1e300", "5")]), "a vertex is at X='1e300'"),
    "a coordinate that is no number": (xml([*SQUARE, ("nan", "5")]), "a vertex is at X='nan'"),
    "an outline that crosses itself without end": (
        xml(TANGLE),
        "crosses itself more than 10000 times",
    ),
    "of another program": ("<GeoJSON/>", "begins with <GeoJSON>"),
    "ASAP: a huge coordinate": (asap([*SQUARE, ("1e300", "5")]), "a vertex is at X='1e300'"),
    "ASAP: an outline that crosses itself without end": (asap(TANGLE), "crosses itself more than 10000 times"),
    "ASAP: cut off": (asap(SQUARE)[:-40], "bad.xml: line 1"),
    "GeoJSON: malformed": (geojson(SQUARE)[:-1], "bad.xml: line 1"),
    "GeoJSON: other bytes than UTF-8": (geojson(SQUARE).encode().replace(b"Benign", b"Pr\xe4"), "bad.xml"),
    "GeoJSON: a huge coordinate": (geojson([*SQUARE, (1e300, 5)]), "a vertex is at X=1e+300"),
    "GeoJSON: a number of 5000 digits": (geojson(SQUARE).replace("256", "9" * 5000), "bad.xml: cannot be read"),
    "GeoJSON: a coordinate that is no number": (geojson([*SQUARE, (float("nan"), 5)]), "a vertex is at X=nan"),
    "GeoJSON: a coordinate that is text": (geojson([*SQUARE, ("7", 5)]), "a position is ['7', 5]"),
    "GeoJSON: lists in lists without end": ("[" * 100_000, "lists are in lists without end"),
    "GeoJSON: an outline that crosses itself without end": (geojson(TANGLE), "crosses itself more than 10000 times"),
    "GeoJSON: no features": ('{"type": "Topology"}', "holds no features of GeoJSON"),
    "PNG: cut off": (image(NOISE)[:-9000], "bad.xml: the image cannot be read"),
    "PNG: bytes flipped": (image(NOISE).replace(b"IDAT", b"IDOT"), "bad.xml: the image cannot be read"),
    "PNG: a first line and no more": (image(NOISE)[:12], "bad.xml: the image cannot be read"),
    "PNG: a dictionary that nobody has": (
        image(ONE).replace(b"IDAT\x78\x9c", b"IDAT\x78\xbb").replace(b"IDAT\x78\xda", b"IDAT\x78\xf9"),
        "bad.xml: the image cannot be read",
    ),
    "PNG: of colours": (image(np.zeros((1, 3), np.uint8)), "are RGB, which are colours: give one integer a pixel"),
    "PNG: a bomb": (claiming(50_000, 37_500), "134217728 are decoded at once at most: save it as a TIFF"),
    "PNG: of another aspect": (image(ONE, (512, 100)), "of another aspect: a label image covers the whole slide"),
    "TIFF: cut off": (image(NOISE, **TILES)[:-9000], "bad.xml: the image cannot be read"),
    "TIFF: cut off, not compressed": (image(NOISE, end="tiff")[:-9000], "the image cannot be read (it is cut off)"),
    "TIFF: bytes changed": (
        image(NOISE, **TILES)[:-9000] + bytes(9000),
        "bad.xml: the image cannot be read",
    ),
    "TIFF: no image": (b"II*\0\x08\0\0\0" + bytes(100), "bad.xml: it holds no image"),
    "TIFF: finer than the slide": (
        image(ONE, (1024, 768), **TILES),
        "may not be finer than its slide",
    ),
    "TIFF: fractions": (image(ONE.astype(np.float32), end="tiff"), "its pixels are float32"),
    "JPEG": (b"\xff\xd8\xff\xe0" + bytes(100), "is a JPEG, which keeps no integers"),
    "a region of a type that nobody knows": (
        xml(SQUARE).replace('Type="0"', 'Type="7"'),
        "type '7' may enclose an area",
    ),
    "HALO: a region of a type that nobody knows": (halo(SQUARE, "Spline"), "type 'Spline' may enclose an area"),
    "HALO: an open line": (halo(SQUARE).replace('Endcaps="0"', 'Endcaps="1"'), "may be an open line"),
    "ASAP: a region of a type that nobody knows": (asap(SQUARE, "Ellipse"), "type 'Ellipse' may enclose an area"),
    "GeoJSON: a geometry that nobody knows": (geojson(SQUARE, "Circle"), "type 'Circle' may enclose an area"),
    "places that no region has": (xml(SQUARE).replace("<Vertex ", "<Point "), "<Point> with X and Y are where"),
    "no name": (xml(SQUARE, ""), "annotation 1, region 1 has no name"),
    "GeoJSON: a name elsewhere": (geojson(SQUARE, label="Benign", name="b"), "its properties are label, name; give it"),
    "compressed": (gzip.compress(xml(SQUARE).encode()), "bad.xml: is compressed (gzip): unpack it"),
    "GeoJSON: a name that is no text": (geojson(SQUARE, classification={"name": 5}), "is named 5"),
}


@pytest.mark.parametrize(("text", "words"), BAD.values(), ids=BAD)
def test_a_bad_annotation_fails_its_slide(annotated, text, words):
    row = annotated(text)
    assert (row["status"], row["stage"]) == ("failed", "write_metadata")
    assert words in row["message"]
    assert row["slide"] in annotated.cohort.verdict
    assert {patch["slide"] for patch in annotated.cohort.table("metadata")} != {row["slide"]}
    assert "root:" not in (annotated.cohort.results / "slides.csv").read_text(encoding="utf-8")


@pytest.mark.parametrize("encoding", ["utf-16", "latin-1", "utf-8-sig"])
def test_an_annotation_in_another_encoding_that_it_declares_is_read(annotated, encoding):
    declared = {"latin-1": "ISO-8859-1", "utf-16": "UTF-16", "utf-8-sig": "UTF-8"}[encoding]
    row = annotated(xml(SQUARE, "Präparat", f'<?xml version="1.0" encoding="{declared}"?>').encode(encoding))
    assert (row["status"], row["regions"]) == ("ok", "1")
    names = {patch["label_name"] for patch in annotated.cohort.table("metadata") if patch["slide"] == row["slide"]}
    assert names == {"Präparat", "Normal"}


@pytest.mark.long
def test_an_annotation_of_100000_vertices_is_read(annotated):
    angles = np.linspace(0, 2 * np.pi, 100_000, endpoint=False)
    circle = np.column_stack([128 + 120 * np.cos(angles), 128 + 120 * np.sin(angles)])
    row = annotated(xml(circle.round(6).tolist()))
    assert (row["status"], row["regions"]) == ("ok", "1")


STRANGE = {
    "an outline that crosses itself": (
        xml([(0, 0), (256, 256), (256, 0), (0, 256)]),
        "1",
        "crosses itself and was repaired",
    ),
    "two vertices": (xml(SQUARE[:2]), "0", "2 vertices enclose nothing"),
    "an outline without area": (xml([(0, 0), (9, 9), (18, 18)]), "0", "no area"),
    "GeoJSON: an outline that crosses itself": (
        geojson([(0, 0), (256, 256), (256, 0), (0, 256)]),
        "1",
        "crosses itself and was repaired",
    ),
    "GeoJSON: a line": (geojson(SQUARE, "LineString"), "0", "type LineString enclose nothing"),
    "GeoJSON: two vertices": (geojson(SQUARE[:2]), "0", "2 vertices enclose nothing"),
    "ASAP: an outline that crosses itself": (
        asap([(0, 0), (256, 256), (256, 0), (0, 256)]),
        "1",
        "crosses itself and was repaired",
    ),
    "ASAP: a measurement": (
        asap(SQUARE, "Measurement"),
        "0",
        "of type Measurement enclose nothing and were left out (1)",
    ),
}


@pytest.mark.parametrize(("text", "regions", "note"), STRANGE.values(), ids=STRANGE)
def test_a_strange_region_is_noted_and_fails_nothing(annotated, text, regions, note):
    row = annotated(text)
    assert (row["status"], row["regions"]) == ("ok", regions)
    assert note in "\n".join(read_annotation(annotated.cohort.annotations / "bad.xml").notes)


@pytest.mark.parametrize(
    "text",
    [geojson(SQUARE, "LineString"), asap(SQUARE, "Dot"), halo(SQUARE, "Pin"), xml(SQUARE[:2])],
    ids=["GeoJSON", "ASAP", "HALO", "ImageScope"],
)
def test_an_annotation_without_an_area_is_a_warning(annotated, text):
    row = annotated(text)
    assert (row["status"], row["regions"]) == ("ok", "0")
    assert "no region of the annotation encloses an area" in row["warnings"]


def test_halos_files_are_found_by_their_ending(annotated):
    (annotated.cohort.annotations / "bad.annotations").write_text(halo(SQUARE))
    row = annotated(None)
    assert (row["status"], row["regions"], row["warnings"]) == ("ok", "1", "")
    labels = [patch["label"] for patch in annotated.cohort.table("metadata") if patch["slide"] == row["slide"]]
    assert labels.count("1") == 4


@pytest.mark.long
@pytest.mark.parametrize("ending", ["xml.gz", "geojson.zip", "annotations.GZ"])
def test_a_compressed_annotation_fails_its_slide_until_unpacked(annotated, ending):
    (annotated.cohort.annotations / f"bad.{ending}").write_bytes(gzip.compress(xml(SQUARE).encode()))
    row = annotated(None)
    assert (row["status"], row["stage"]) == ("failed", "write_metadata")
    assert f"bad.{ending}: is compressed (gzip): unpack it" in row["message"]
    (annotated.cohort.annotations / f"bad.{ending.partition('.')[0]}").write_text(xml(SQUARE))
    assert annotated(None)["status"] == "ok"


@pytest.mark.long
def test_regions_without_a_name_are_labelled_by_the_key(annotated):
    annotated.cohort.config["labels"] |= {"unnamed": "Benign"}
    row = annotated(xml(SQUARE, ""))
    assert (row["status"], row["regions"]) == ("ok", "1")
    for one in annotated.cohort.listed:
        annotated.cohort.draw(one)
    labels = [patch["label"] for patch in annotated.cohort.table("metadata") if patch["slide"] == row["slide"]]
    assert labels.count("1") == 4


def test_an_annotation_without_regions_labels_all_as_outside(annotated):
    row = annotated("<Annotations/>")
    assert (row["status"], row["regions"]) == ("ok", "0")
    names = {patch["label_name"] for patch in annotated.cohort.table("metadata") if patch["slide"] == row["slide"]}
    assert names == {"Normal"}


def test_an_annotation_that_is_a_pipe_fails_its_slide_and_nobody_waits_for_it(annotated):
    os.mkfifo(annotated.cohort.annotations / "bad.xml")
    row = annotated(None)
    assert (row["status"], row["stage"]) == ("failed", "write_metadata")
    assert "it is not a file" in row["message"]


@pytest.mark.parametrize("kind", ["device", "folder"])
def test_what_is_no_file_is_no_annotation(tmp_path, kind):
    path = tmp_path / "a.xml"
    path.mkdir() if kind == "folder" else path.symlink_to("/dev/zero")
    with pytest.raises(AnnotationError, match=r"a\.xml: cannot be read \(it is not a file\)"):
        read_annotation(path)


def test_an_annotation_that_leads_nowhere_fails_its_slide(annotated):
    (annotated.cohort.annotations / "bad.xml").symlink_to("nowhere")
    row = annotated(None)
    assert (row["status"], row["stage"]) == ("failed", "write_metadata")
    assert "bad.xml: does not exist in" in row["message"]


def test_an_annotation_that_may_not_be_read_fails_its_slide(tmp_path, bound):
    code = (
        "from tests.faults.conftest import Cohort\n"
        f"cohort = Cohort({str(tmp_path)!r})\n"
        "cohort.add('good.svs'); cohort.add('bad.svs'); cohort.annotate('bad').chmod(0)\n"
        "for row in cohort.run().values(): print(row['status'], row['message'])"
    )
    done = bound(code)
    assert done.returncode == 0, done.stderr
    bad, good = done.stdout.splitlines()
    assert bad.startswith("failed bad.xml: cannot be read ([Errno 13] Permission denied")
    assert good.strip() == "ok"


def test_a_folder_of_annotations_that_may_not_be_searched_is_named_before_any_job(tmp_path, bound):
    code = (
        "from tests.faults.conftest import Cohort\n"
        f"cohort = Cohort({str(tmp_path)!r})\n"
        "cohort.add('good.svs'); (cohort.annotations / 'locked').mkdir(mode=0)\n"
        "cohort.plan()"
    )
    done = bound(code)
    assert done.returncode != 0
    assert f"ConfigError: annotations: the folder {tmp_path}/annotations/locked cannot be searched" in done.stderr


@pytest.mark.parametrize("how", ["replaced", "gone", "broken"])
def test_an_annotation_that_changes_after_the_plan_fails_the_job_and_blames_no_slide(cohort, how):
    file = cohort.annotate("good")
    (one,) = cohort.plan()
    cohort.discover(one)
    cohort.sample(one)
    if how == "replaced":
        write_annotation(file, AREAS[:1])
    elif how == "broken":
        file.write_text("<Annotations>")
    else:
        file.unlink()
    with pytest.raises(SlidemillError, match=r"good\.xml: the annotation is not what it was .* run again") as caught:
        cohort.label(one)
    assert not isinstance(caught.value, AnnotationError)
    assert not list(cohort.results.glob("outcomes/write_metadata/*"))


@pytest.mark.parametrize("write", [geojson, asap, halo], ids=["GeoJSON", "ASAP", "HALO"])
def test_an_annotation_of_another_program_is_read_whatever_its_name(annotated, write):
    row = annotated(write(SQUARE))
    assert (row["status"], row["regions"]) == ("ok", "1")
    names = {patch["label_name"] for patch in annotated.cohort.table("metadata") if patch["slide"] == row["slide"]}
    assert names == {"Benign", "Normal"}


@pytest.mark.long
@pytest.mark.parametrize("end", ["png", "tiff"])
def test_a_label_image_labels_as_regions_do_and_the_slide_is_drawn_with_it(annotated, end):
    pixels = np.zeros((96, 128), np.uint8)
    pixels[:64, :64] = 7
    annotated.cohort.config["labels"] = {"map": {"Normal": 0, "Benign": 1, "7": 2}}
    row = annotated(image(pixels.reshape(-1), (128, 96), end))
    assert (row["status"], row["regions"]) == ("ok", "1")
    labels = {
        (patch["column"], patch["row"]): (patch["label"], patch["label_name"])
        for patch in annotated.cohort.table("metadata")
        if patch["slide"] == row["slide"]
    }
    assert {place for place, label in labels.items() if label == ("2", "7")} == {
        (column, line) for column in "01" for line in "01"
    }
    assert set(labels.values()) == {("2", "7"), ("0", "Normal")}
    for one in annotated.cohort.listed:
        annotated.cohort.draw(one)
    with Image.open(annotated.cohort.place("figures/overlay", row["slide"], "jpg")) as picture:
        assert picture.width == 512


def test_a_bad_annotation_fails_its_slide_once_where_labels_choose(annotated):
    annotated.cohort.config["labels"] |= {"only": ["Benign"]}
    row = annotated("<Annotations>")
    assert (row["status"], row["stage"], row["patches"]) == ("failed", "sample_patches", "0")
    assert row["message"].startswith("bad.xml: line 1")
    assert annotated.cohort.verdict.count("bad.xml: line 1") == 1
    names = {patch["label_name"] for patch in annotated.cohort.table("metadata")}
    assert names == {"Benign"}


@pytest.mark.parametrize("how", ["replaced", "gone"])
def test_an_annotation_that_changes_before_labels_choose_blames_no_slide(cohort, how):
    file = cohort.annotate("good")
    cohort.config["labels"] |= {"only": ["Benign"]}
    (one,) = cohort.plan()
    cohort.discover(one)
    file.write_text("<Annotations>") if how == "replaced" else file.unlink()
    with pytest.raises(SlidemillError, match=r"good\.xml: the annotation is not what it was .* run again") as caught:
        cohort.sample(one)
    assert not isinstance(caught.value, AnnotationError)


def test_a_file_that_may_be_a_slide_or_a_label_image_is_refused_before_any_job(cohort):
    cohort.annotations = cohort.slides / "labels"
    cohort.config["annotations"] = str(cohort.annotations)
    cohort.add("labels/good.tif", image(ONE, end="tiff"))
    with pytest.raises(ConfigError, match=r"good\.tif may be a slide, or the label image of good\.svs"):
        cohort.plan()


def test_two_annotations_of_one_slide_are_refused_before_any_job(cohort):
    cohort.annotate("good")
    (cohort.annotations / "good.geojson").write_text(geojson(SQUARE))
    with pytest.raises(ConfigError, match=r"good\.svs has two, good\.geojson and good\.xml"):
        cohort.plan()


def test_an_annotation_that_fits_two_slides_is_refused_before_any_job(cohort):
    cohort.add("a/twin.svs")
    cohort.add("b/twin.svs")
    cohort.annotate("twin")
    with pytest.raises(ConfigError, match=r"twin\.xml fits 2 slides"):
        cohort.plan()


@pytest.mark.long
def test_an_annotation_is_mended_and_its_slide_done_by_the_next_run(annotated):
    assert annotated("<Annotations>")["status"] == "failed"
    assert annotated(xml(SQUARE))["status"] == "ok"
    assert annotated.cohort.verdict == ""


@pytest.mark.long
def test_a_label_image_coarser_than_patches_is_a_warning(annotated):
    annotated.cohort.config["labels"] = {"map": {"Normal": 0, "Benign": 1, "1": 1}}
    row = annotated(image(ONE, (2, 1)))
    assert (row["status"], row["regions"]) == ("ok", "1")
    assert "one pixel of the image covers 256 x 384 level-0 pixels, and a patch 128 x 128" in row["warnings"]


@pytest.mark.long
def test_a_copied_annotation_is_a_warning(annotated):
    """Each of the two slides has the warning: which is the copy, nobody can tell."""
    row = annotated((annotated.cohort.annotations / "good.xml").read_text(encoding="utf-8"))
    assert "its annotation is the same as that of " in row["warnings"]
    table = {one["slide"]: one for one in annotated.cohort.table("slides")}
    assert all("is one of them a copy?" in one["warnings"] for one in table.values())


def test_regions_in_the_first_corner_are_a_warning(annotated):
    annotated.cohort.annotate("good", xml([(0, 0), (99, 0), (99, 90)]).replace("Benign", "Normal"))
    corner = xml([(0, 0), (100, 0), (100, 90)])
    annotated.cohort.annotate("bad", corner)
    warnings = {one["slide"]: one["warnings"] for one in annotated.cohort.run().values()}
    assert all("all regions are in the first quarter of width and height" in one for one in warnings.values())
