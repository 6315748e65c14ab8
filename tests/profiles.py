"""ICC profiles, written by hand (ICC.1:2010), and what a matrix profile must make of pixels."""

import struct

import numpy as np

ADOBE_LIKE = ((0.60974, 0.31111, 0.01947), (0.20528, 0.62567, 0.06087), (0.14919, 0.06322, 0.74457))
"""XYZ of red, green and blue, adapted to D50: a gamut that is wider than sRGB's."""

SRGB = ((0.43607, 0.22249, 0.01392), (0.38515, 0.71687, 0.09708), (0.14307, 0.06061, 0.71410))
"""The same of sRGB (IEC 61966-2-1)."""

D50 = (0.9642, 1.0, 0.8249)


def matrix_profile(name="a test's scanner", primaries=ADOBE_LIKE, gamma=2.2, space=b"RGB "):
    """A profile of three primaries and one gamma, as display profiles of version 2 are."""
    text = name.encode() + b"\0"
    described = b"desc" + bytes(4) + struct.pack(">I", len(text)) + text + bytes(8) + bytes(70)
    curve = b"curv" + bytes(4) + struct.pack(">IH", 1, round(gamma * 256))
    tags = {b"desc": described, b"cprt": b"text" + bytes(4) + b"none\0", b"wtpt": _xyz(D50)}
    tags |= {key: _xyz(place) for key, place in zip((b"rXYZ", b"gXYZ", b"bXYZ"), primaries, strict=True)}
    tags |= dict.fromkeys((b"rTRC", b"gTRC", b"bTRC"), curve)
    start = 128 + 4 + 12 * len(tags)
    table, body = struct.pack(">I", len(tags)), b""
    for key, data in tags.items():
        table += key + struct.pack(">II", start + len(body), len(data))
        body += data + bytes(-len(data) % 4)
    head = struct.pack(">I4sI4s4s4s", start + len(body), b"none", 0x02100000, b"mntr", space, b"XYZ ")
    head += struct.pack(">6H4s", 2026, 1, 1, 0, 0, 0, b"acsp") + bytes(28) + _xyz(D50)[8:]
    return head.ljust(128, b"\0") + table + body


def _xyz(value):
    return b"XYZ " + bytes(4) + b"".join(struct.pack(">i", round(part * 65536)) for part in value)


def to_srgb(pixels, primaries=ADOBE_LIKE, gamma=2.2):
    """What the profile makes of pixels: linear light, XYZ, linear sRGB, what lies outside cut off, sRGB's curve."""
    linear = (pixels / 255.0) ** (round(gamma * 256) / 256)
    light = np.clip(linear @ np.array(primaries) @ np.linalg.inv(np.array(SRGB)), 0, 1)
    curved = np.where(light <= 0.0031308, 12.92 * light, 1.055 * light ** (1 / 2.4) - 0.055)
    return np.round(curved * 255)
