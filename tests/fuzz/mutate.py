"""Damage done to valid bytes by a seeded generator: to bytes, to numbers in them, and to the structure of texts."""

import csv
import io
import json
import re
import struct

NUMBERS = [0, 1, -1, 2, 127, 255, 256, 65535, 65536, 2**31 - 1, 2**31, 2**32 - 1, 2**62, 2**63 - 1, -(2**31)]
TEXTS = [
    "",
    "0",
    "-1",
    "1e999",
    "nan",
    "inf",
    "99999999999999999999",
    "../../x",
    "\0",
    "\u2028",
    "ä" * 50,
    "<",
    "{}",
    "A" * 9000,
]
VALUES = [None, True, 0, -1, 2**63, 1e308, "", "text", [], {}, [[]], {"a": 1}, float("inf"), [None], "9" * 400]


def mutated(data, others, random, kind):
    """Return `data` with a few faults; `others` are inputs to take pieces of, `kind` tells of its structure."""
    structured = {"json": _json, "csv": _csv, "xml": _xml}.get(kind)
    for _ in range(random.choice([1, 1, 2, 4])):
        change = structured if structured and random.random() < 0.7 else random.choice(BYTES)
        data = change(data, random, others)
    return data


def _flip(data, random, _others):
    changed = bytearray(data or b"\0")
    for _ in range(random.choice([1, 1, 3, 20])):
        changed[random.randrange(len(changed))] = random.randrange(256)
    return bytes(changed)


def _number(data, random, _others):
    form = random.choice(["<b", "<h", ">h", "<i", ">i", "<q", ">q"])
    place = random.randrange(max(len(data) - 8, 1))
    mask = (1 << 8 * struct.calcsize(form)) - 1
    own = (random.choice(NUMBERS) & mask).to_bytes(struct.calcsize(form), "little" if form[0] == "<" else "big")
    return data[:place] + own + data[place + len(own) :]


def _cut(data, random, _others):
    return data[: random.randrange(len(data) + 1)]


def _leave_out(data, random, _others):
    start = random.randrange(len(data) + 1)
    return data[:start] + data[start + random.choice([1, 4, 100, 4096]) :]


def _repeat(data, random, _others):
    start = random.randrange(len(data) + 1)
    piece = data[start : start + random.choice([1, 16, 500])]
    return data[:start] + piece * random.choice([2, 3, 50]) + data[start:]


def _splice(data, random, others):
    other = random.choice(others)
    return data[: random.randrange(len(data) + 1)] + other[random.randrange(len(other) + 1) :]


BYTES = [_flip, _flip, _number, _number, _cut, _leave_out, _repeat, _splice]


def _json(data, random, _others):
    """Replace, remove or repeat one value, at whatever depth."""
    try:
        value = json.loads(data)
    except (ValueError, RecursionError):
        return data
    places = [(None, None)]

    def walk(one):
        for key in one if isinstance(one, dict) else range(len(one)):
            places.append((one, key))
            if isinstance(one[key], dict | list):
                walk(one[key])

    if isinstance(value, dict | list):
        walk(value)
    parent, key = random.choice(places)
    new = random.choice(VALUES)
    if parent is None:
        value = new
    elif random.random() < 0.2:
        del parent[key]
    elif isinstance(parent, list) and random.random() < 0.3:
        parent[:] = parent * random.choice([2, 40])
    elif isinstance(parent, dict) and random.random() < 0.2:
        parent[random.choice(TEXTS)] = new
    else:
        parent[key] = new
    return json.dumps(value).encode()


def _csv(data, random, _others):
    """Change a field, a row or a column."""
    try:
        rows = list(csv.reader(io.StringIO(data.decode("utf-8", "replace"), newline="")))
    except csv.Error:
        return data
    if not rows:
        return data
    row = random.choice(rows)
    what = random.randrange(5)
    if what == 0 and row:
        row[random.randrange(len(row))] = random.choice(TEXTS)
    elif what == 1 and row:
        del row[random.randrange(len(row))]
    elif what == 2:
        row.append(random.choice(TEXTS))
    elif what == 3:
        rows.append(list(row))
    elif what == 4:
        rows.remove(row)
    file = io.StringIO(newline="")
    csv.writer(file, lineterminator="\n").writerows(rows)
    return file.getvalue().encode("utf-8", "replace")


def _xml(data, random, _others):
    """Change the value of an attribute, or the number of times that an element stands there."""
    text = data.decode("utf-8", "replace")
    found = list(re.finditer(r'"([^"]*)"' if random.random() < 0.6 else r"<[^<>]*/?>", text))
    if not found:
        return data
    one = random.choice(found)
    if one[0].startswith("<"):
        new = one[0] * random.choice([0, 2, 300])
    else:
        new = '"' + random.choice([*TEXTS, "1e9", "-1e9", "1", "2"]).replace("<", "&lt;").replace("\0", "") + '"'
    return (text[: one.start()] + new + text[one.end() :]).encode("utf-8", "replace")
