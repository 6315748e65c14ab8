"""Recognise files that are named like annotations but are of other kinds, by their first bytes."""

from __future__ import annotations

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


def refused_kind(start: bytes) -> str:
    """Return why a file that begins with `start` is refused, and what to do; nothing where it may be an annotation."""
    for begin, kind in COMPRESSED.items():
        if start.startswith(begin):
            return f"is compressed ({kind}): unpack it"
    if start.startswith(JPEG):
        return "is a JPEG, which keeps no integers: save the label image as PNG or TIFF"
    kinds = [kind for begin, kind in OTHERS.items() if start.startswith(begin)]
    kinds += [kind for mark, (place, kind) in INNER.items() if start[place:].startswith(mark)]
    if kinds:
        return (
            f"is {kinds[0]}, whatever its name: save a label image as PNG or TIFF, or export regions as XML or GeoJSON"
        )
    return ""
