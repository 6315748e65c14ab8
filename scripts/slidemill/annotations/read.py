"""Read annotations of all formats, recognised by content and not by name."""

from __future__ import annotations

import json
import stat
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any
from xml.etree.ElementTree import Element, ParseError

from defusedxml import DefusedXmlException
from defusedxml.ElementTree import parse

from slidemill.annotations._xml_format import check_spelling
from slidemill.annotations._xml_layers import read_layers
from slidemill.annotations.asap import ASAP
from slidemill.annotations.frames import Frame, place
from slidemill.annotations.geojson import geojson_origin, read_geojson
from slidemill.annotations.halo import HALO, is_halo
from slidemill.annotations.imagescope import IMAGESCOPE, check_analyzed, scale_warnings
from slidemill.annotations.label_image_file import STARTS, read_label_image
from slidemill.annotations.regions import Annotation, Findings
from slidemill.core.specs import Naming
from slidemill.errors import AnnotationError

LARGEST = 2**29
"""Bytes; a file of JSON takes ten times as much memory when it is read."""

NEARLY = 1.3
"""Label images are made at the slide's own resolution, or coarser by at least this factor."""

MARKS = b"\xef\xbb\xbf\xff\xfe\x00 \t\r\n"
"""What may precede a file's first character: byte-order marks, wide characters' zeros, blanks."""

COMPRESSED = {
    b"\x1f\x8b": "gzip",
    b"PK\x03\x04": "ZIP",
    b"PK\x05\x06": "ZIP",
    b"BZh": "bzip2",
    b"\xfd7zXZ\0": "xz",
    b"\x28\xb5\x2f\xfd": "Zstandard",
    b"7z\xbc\xaf\x27\x1c": "7-Zip",
}
"""The first bytes of compressed files; `slidemill.slides.annotation_matching` finds such files by their names."""

JPEG = b"\xff\xd8\xff"

OTHERS = {
    b"GIF8": "a GIF",
    b"BM": "a BMP",
    b"8BPS": "a Photoshop document",
    b"\0\0\0\x0cjP  ": "a JPEG 2000",
    b"\xff\x4f\xff\x51": "a JPEG 2000",
    b"\0\0\0\x0cJXL ": "a JPEG XL",
    b"\xff\x0a": "a JPEG XL",
    b"\x89HDF\r\n\x1a\n": "an HDF5",
    b"\x93NUMPY": "a NumPy array",
    b"%PDF": "a PDF",
    b"SQLite format 3\0": "an SQLite database",
    b"\0\0\1\0": "an icon",
}
"""The first bytes of other files that somebody may name as an annotation."""

INNER = {b"WEBP": (8, "a WebP"), b"ftypheic": (4, "an HEIF"), b"ftypmif1": (4, "an HEIF"), b"ftypavif": (4, "an AVIF")}
"""The same, with the offset of these bytes."""


def read_annotation(path: Path, frame: Frame = Frame(), naming: Naming = Naming()) -> Annotation:  # noqa: B008
    """Return the regions of an annotation, or its label image.

    The formats are those of ImageScope, HALO and ASAP, QuPath's GeoJSON, and label images in PNG and TIFF.

    A region that encloses nothing is left out, and one that crosses itself is repaired; a note says so.

    Parameters
    ----------
    path
        The file, of any name.
    frame
        The slide's position in the annotation's coordinates.
    naming
        Where regions have their names from.

    Raises
    ------
    AnnotationError
        When the file cannot be read, is of none of these kinds, declares entities, a value is not a number, or a region
        is not understood or has no name.
    """
    findings = Findings(path.name, naming)
    try:
        found = path.stat()
        # Opening a pipe would wait for somebody to write into it.
        if not stat.S_ISREG(found.st_mode):
            raise AnnotationError(
                f"{path.name}: cannot be read (it is not a file): put the annotation in its place, or remove it"
            )
        with path.open("rb") as file:
            start = file.read(4096)
        if start.startswith(STARTS) and frame.canvas:
            return _read_image(path, frame)
        if reason := _refused_kind(start):
            raise AnnotationError(f"{path.name}: {reason}")
        if found.st_size > LARGEST:
            raise AnnotationError(
                f"{path.name}: has {found.st_size} bytes, and {LARGEST} are read at most: export fewer objects"
            )
        if start.lstrip(MARKS)[:1] in (b"{", b"["):
            regions, origin = _read_json(path, findings)
            return place(regions, frame, origin)
        root = _root(path, start)
    except (OSError, ValueError, LookupError) as error:
        raise AnnotationError(f"{path.name}: cannot be read ({error}): see its permissions and encoding") from None
    annotation = _read_xml(root, findings)
    warnings = (*annotation.warnings, *scale_warnings(root, frame.mpp))
    return place(replace(annotation, warnings=warnings), frame, "canvas")


def _refused_kind(start: bytes) -> str:
    """Return why the first bytes of a file rule it out, or an empty text."""
    for begin, kind in COMPRESSED.items():
        if start.startswith(begin):
            return f"is compressed ({kind}): unpack it"
    if start.startswith(JPEG):
        return "is a JPEG, which keeps no integers: save the label image as PNG or TIFF"
    kinds = [kind for begin, kind in OTHERS.items() if start.startswith(begin)]
    kinds += [kind for mark, (place, kind) in INNER.items() if start[place:].startswith(mark)]
    if kinds:
        return f"is {kinds[0]} by its content: save a label image as PNG or TIFF, or export regions as XML or GeoJSON"
    return ""


def _read_image(path: Path, frame: Frame) -> Annotation:
    """Return a label image, laid over the slide or over its bounds."""
    x, y, width, height = frame.bounds or (0, 0, *(frame.canvas or (0, 0)))
    note = ""
    if frame.bounds and (width, height) != frame.canvas:
        at = f"{x}, {y}, of {width} x {height} pixels"
        note = f"the image was laid over the slide's bounds, {at}, and not over the whole slide (origin: bounds)"
        if frame.origin != "bounds":
            note = f"the image was laid over the whole slide, and not over its bounds, {at}"
    if frame.origin == "bounds":
        image = replace(read_label_image(path, (width, height), (x, y), other=frame.canvas), slide=frame.canvas)
    else:
        image = read_label_image(path, frame.canvas or (0, 0), other=(width, height))
    (width, height), (across, down) = image.size, image.canvas
    warnings = []
    if width < across < NEARLY * width or height < down < NEARLY * height:
        warnings.append(
            f"the image has {width} x {height} pixels and was stretched over {across} x {down}: check whether a margin "
            "was cut off"
        )
    return Annotation((), (note,) if note else (), image=image, warnings=tuple(warnings))


def _read_xml(root: Element, findings: Findings) -> Annotation:
    """Return the regions of an XML file, in the format that its elements show."""
    if root.tag not in ("Annotations", "ASAP_Annotations"):
        raise AnnotationError(
            f"{findings.file}: begins with <{root.tag}>: an annotation of ImageScope or HALO has <Annotations>, one of "
            "ASAP <ASAP_Annotations>, one of QuPath is GeoJSON, a label image is PNG or TIFF"
        )
    form = ASAP if root.tag == "ASAP_Annotations" else HALO if is_halo(root) else IMAGESCOPE
    check_spelling(root, form.program, findings.file)
    if form is IMAGESCOPE:
        check_analyzed(root, findings)
    return read_layers(root, form, findings)


def _root(path: Path, start: bytes) -> Element:
    """Return the first element of an XML file, with namespaces removed.

    None of these formats has namespaces.
    """
    try:
        root = parse(path, forbid_dtd=False, forbid_entities=True, forbid_external=True).getroot()
    except ParseError as error:
        line, column = error.position
        reason = str(error).split(":", maxsplit=1)[0]
        remedy = "fix the XML, or export it again"
        if start.lstrip(MARKS)[:1] != b"<":
            remedy = "it is neither XML, GeoJSON, PNG nor TIFF: export the annotation as one of these"
        raise AnnotationError(f"{path.name}: line {line}, column {column}: {reason}: {remedy}") from None
    except DefusedXmlException as error:
        raise AnnotationError(
            f"{path.name}: declares entities or external files ({type(error).__name__}), which are not read: "
            "remove the declaration"
        ) from None
    if root is None:
        raise AnnotationError(f"{path.name}: holds no element: export the annotation again")
    for element in root.iter():
        element.tag = element.tag.rpartition("}")[2]
    return root


class DoubleKeyError(Exception):
    """A JSON object has a key twice."""


def _mapping(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Return a JSON object as a mapping.

    Raises
    ------
    DoubleKeyError
        When it has a key twice: Python would take the last silently.
    """
    found = dict(pairs)
    if len(found) < len(pairs):
        raise DoubleKeyError(next(key for key, count in Counter(key for key, _ in pairs).items() if count > 1))
    return found


def _read_json(path: Path, findings: Findings) -> tuple[Annotation, str]:
    """Return the regions of a JSON file, and where their coordinates start."""
    try:
        value = json.loads(path.read_bytes(), object_pairs_hook=_mapping)
        return read_geojson(value, findings), geojson_origin(value, findings)
    except DoubleKeyError as error:
        raise AnnotationError(
            f"{path.name}: the key {error.args[0]!r:.80} occurs twice in one mapping: keep the one that counts"
        ) from None
    except json.JSONDecodeError as error:
        raise AnnotationError(
            f"{path.name}: line {error.lineno}, column {error.colno}: {error.msg}: fix the JSON, or export it again"
        ) from None
    except RecursionError:
        raise AnnotationError(
            f"{path.name}: lists are in lists without end: export the annotation again, as GeoJSON"
        ) from None
