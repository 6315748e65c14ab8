"""Reading annotations: which program's a file is, is told by its content and not by its name."""

from __future__ import annotations

import json
import stat
from dataclasses import replace
from pathlib import Path
from xml.etree.ElementTree import Element, ParseError

from defusedxml import DefusedXmlException
from defusedxml.ElementTree import parse

from slidemill.asap import read_asap
from slidemill.errors import AnnotationError
from slidemill.geojson import read_geojson
from slidemill.imagescope import read_imagescope
from slidemill.labelimages import STARTS, read_label_image
from slidemill.pyramid import Size
from slidemill.regions import Annotation, Vertex

XML_READERS = {"Annotations": read_imagescope, "ASAP_Annotations": read_asap}
"""What reads a file of XML, by its first element; a file of JSON is GeoJSON, and an image holds labels."""

LARGEST = 2**29
"""Bytes; a file of JSON takes ten times as much memory when it is read."""

MOST_NOTES = 100
"""Notes of one file that are kept: each stands in the report, and of cells there are hundreds of thousands."""

JPEG = b"\xff\xd8\xff"

MARKS = b"\xef\xbb\xbf\xff\xfe\x00 \t\r\n"
"""What may stand before a file's first character: byte-order marks, wide characters' zeros, blanks."""


def read_annotation(path: Path, corner: Vertex = (0, 0), canvas: Size | None = None) -> Annotation:
    """Return the regions of an annotation of ImageScope, ASAP, or QuPath (GeoJSON), or its label image (PNG, TIFF).

    A region that encloses nothing is left out, and one that crosses itself is repaired; a note says so.

    Parameters
    ----------
    path
        The file, of whatever name.
    corner
        The first pixel of the slide's bounds, where GeoJSON's coordinates start; those of the others start at the
        whole slide's.
    canvas
        ``(width, height)`` of the slide in level-0 pixels, which a label image is laid over.

    Raises
    ------
    AnnotationError
        When the file cannot be read, is of none of these kinds, declares entities, or a value is no number.
    """
    try:
        found = path.stat()
        # Opening a pipe would wait for somebody to write into it.
        if not stat.S_ISREG(found.st_mode):
            raise AnnotationError(
                f"{path.name}: cannot be read (it is no file): put the annotation in its place, or take it away"
            )
        with path.open("rb") as file:
            start = file.read(4096)
        if start.startswith(STARTS) and canvas:
            return Annotation((), image=read_label_image(path, canvas))
        if start.startswith(JPEG):
            raise AnnotationError(
                f"{path.name}: is a JPEG, which keeps no integers: save the label image as PNG or TIFF"
            )
        if found.st_size > LARGEST:
            raise AnnotationError(
                f"{path.name}: has {found.st_size} bytes, and {LARGEST} are read at most: export fewer objects"
            )
        if start.lstrip(MARKS)[:1] in (b"{", b"["):
            return _told(_read_json(path, corner))
        root = _root(path)
    except (OSError, ValueError, LookupError) as error:
        raise AnnotationError(f"{path.name}: cannot be read ({error}): see its permissions and encoding") from None
    tag = getattr(root, "tag", None)
    if root is None or tag not in XML_READERS:
        raise AnnotationError(
            f"{path.name}: begins with <{tag}>: an annotation of ImageScope has <Annotations>, one of ASAP "
            "<ASAP_Annotations>, one of QuPath is GeoJSON, a label image is PNG or TIFF"
        )
    return _told(XML_READERS[tag](root, path.name))


def _told(annotation: Annotation) -> Annotation:
    """Return an annotation with no more notes than somebody would read."""
    more = len(annotation.notes) - MOST_NOTES
    notes = (*annotation.notes[:MOST_NOTES], f"and {more} more notes of this kind")
    return replace(annotation, notes=notes) if more > 0 else annotation


def _root(path: Path) -> Element | None:
    """Return the first element of a file of XML."""
    try:
        return parse(path, forbid_dtd=False, forbid_entities=True, forbid_external=True).getroot()
    except ParseError as error:
        line, column = error.position
        reason = str(error).split(":", maxsplit=1)[0]
        raise AnnotationError(
            f"{path.name}: line {line}, column {column}: {reason}: mend the XML, or export it again"
        ) from None
    except DefusedXmlException as error:
        raise AnnotationError(
            f"{path.name}: declares entities or external files ({type(error).__name__}), which are not read: "
            "remove the declaration"
        ) from None


def _read_json(path: Path, corner: Vertex) -> Annotation:
    """Return the regions of a file of JSON."""
    try:
        return read_geojson(json.loads(path.read_bytes()), path.name, corner)
    except json.JSONDecodeError as error:
        raise AnnotationError(
            f"{path.name}: line {error.lineno}, column {error.colno}: {error.msg}: mend the JSON, or export it again"
        ) from None
    except RecursionError:
        raise AnnotationError(
            f"{path.name}: lists lie in lists without end: export the annotation again, as GeoJSON"
        ) from None
