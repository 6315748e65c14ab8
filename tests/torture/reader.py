"""Looks at every store of some results, over and over, until its input ends: each must be whole or not there."""

import json
import os
import select
import sys
from pathlib import Path

from slidemill import open_store
from slidemill.core.encodings import digest
from slidemill.core.results_layout import MANIFEST
from slidemill.errors import StoreError


def main(results, expected, told):
    os.nice(10)
    seen, faults = dict.fromkeys(expected, 0), []
    while not select.select([sys.stdin], [], [], 0)[0]:
        for name, wanted in expected.items():
            fault = look(results / name, wanted)
            if fault is None:
                continue
            seen[name] += not fault
            faults += [f"{name}: {fault}"] if fault else []
    told.write_text(json.dumps({"seen": seen, "faults": faults}))


def look(path, wanted):
    """What is wrong with the store at `path`: nothing (an empty text), or None where none is there."""
    before = identity(path)
    if before is None:
        return None
    try:
        with open_store(path) as store:
            found = [list(store.ids), [digest(store.read_bytes(patch_id)) for patch_id in store.ids]]
    except StoreError as error:
        # Taken away, or another put in its place, while it was read: read again, it is whole.
        return str(error) if identity(path) == before else None
    except Exception as error:  # whatever it is, a reader must not see it
        return f"{type(error).__name__}: {error}"
    return "" if found == wanted else "other patches than those of an undisturbed run"


def identity(path):
    """What tells a store from the one that takes its place."""
    try:
        files = [path, path / MANIFEST] if path.suffix == "" else [path]
        return [file.stat().st_ino for file in files]
    except OSError:
        return None


if __name__ == "__main__":
    main(Path(sys.argv[1]), json.loads(Path(sys.argv[2]).read_text()), Path(sys.argv[3]))
