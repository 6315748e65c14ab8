"""Seals: row counts and digests that detect damage, not tampering."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import xxhash

from slidemill.core.files import file_digest, read_json, replacing
from slidemill.core.results_layout import (
    COHORT_SEALS,
    COHORT_TABLES,
    ESTIMATE_SEAL,
    ESTIMATE_TABLE,
    FEATURES_TABLE,
    SPLITS_SEAL,
    SPLITS_TABLE,
)
from slidemill.errors import SlidemillError

MARK = b',\n "seal": "'
END = b'"\n}\n'
DIGEST = re.compile(r"[0-9a-f]{32}")

SEALED_BY = {
    **dict.fromkeys((*COHORT_TABLES.values(), FEATURES_TABLE), COHORT_SEALS),
    SPLITS_TABLE: SPLITS_SEAL,
    ESTIMATE_TABLE: ESTIMATE_SEAL,
}
"""By name of a cohort's table, the file next to it that lists its seal."""


@dataclass(frozen=True, slots=True)
class Seal:
    """A table's number of rows, and the digest (XXH3-128) of its bytes."""

    rows: int
    digest: str

    @classmethod
    def of(cls, path: Path, rows: int) -> Seal:
        """Return the seal of the table at `path`, which has `rows` rows."""
        return cls(rows, file_digest(path))

    @classmethod
    def from_json(cls, value: object) -> Seal | None:
        """Build a seal from the JSON value of its `asdict`, or return None."""
        rows, digest = (value.get("rows"), value.get("digest")) if isinstance(value, dict) else (None, None)
        if not isinstance(rows, int) or not isinstance(digest, str) or not DIGEST.fullmatch(digest):
            return None
        return cls(rows, digest)

    def check(self, path: Path) -> None:
        """Check the bytes of the table at `path`.

        Raises
        ------
        SlidemillError
            When they differ from those that were sealed.
        """
        if file_digest(path) != self.digest:
            raise SlidemillError(
                f"{path}: is not what was written ({self.rows} rows): it is damaged or edited; remove it and run again"
            )


def write_sealed(path: Path, value: Mapping[str, Any]) -> None:
    """Publish a non-empty mapping as JSON with a digest as last key, ``seal``."""
    text = json.dumps(value, indent=1, allow_nan=False).removesuffix("\n}").encode()
    with replacing(path) as aside:
        aside.write_bytes(text + MARK + xxhash.xxh3_128_hexdigest(text).encode() + END)


def read_sealed(path: Path) -> tuple[Any, bool]:
    """Return the JSON value at `path` without its seal, and whether it had one.

    Files of earlier versions have none.

    Raises
    ------
    SlidemillError
        When the file is not JSON, or differs from what was sealed.
    """
    value = read_json(path)
    if not isinstance(value, dict) or "seal" not in value:
        return value, False
    text, mark, rest = path.read_bytes().rpartition(MARK)
    del value["seal"]
    if not mark or rest != xxhash.xxh3_128_hexdigest(text).encode() + END:
        raise SlidemillError(f"{path}: its text is not what was sealed: it is damaged; remove it and run again")
    return value, True


def seal_tables(folder: Path, rows: Mapping[str, int], name: str = COHORT_SEALS, *, settings: str = "") -> None:
    """Publish the seals of tables in a folder.

    Parameters
    ----------
    folder
        The folder of the tables.
    rows
        The number of rows of each table by file name.
    name
        The name of the file of seals.
    settings
        `slidemill.runs.job_settings.cohort_digest` of the run that wrote the tables; empty where it is not known.
    """
    seals = {table: asdict(Seal.of(folder / table, count)) for table, count in rows.items()}
    write_sealed(folder / name, {"tables": seals, **({"settings": settings} if settings else {})})


def read_seals(path: Path) -> dict[str, Seal]:
    """Return the seals at `path` by file name; none without such a file.

    Raises
    ------
    SlidemillError
        When the file is damaged.
    """
    if not path.is_file():
        return {}
    value, sealed = read_sealed(path)
    tables = value.get("tables") if isinstance(value, dict) else None
    seals = {name: Seal.from_json(own) for name, own in tables.items()} if isinstance(tables, dict) else {}
    if not sealed or not seals or None in seals.values():
        raise SlidemillError(f"{path}: holds no seals of tables: it is damaged; remove it and run again")
    return {name: seal for name, seal in seals.items() if seal}


def read_cohort_seal(path: Path) -> Seal | None:
    """Return the seal of the cohort's table at `path`; None where there is none.

    Raises
    ------
    SlidemillError
        When that file is damaged.
    """
    name = SEALED_BY.get(path.name)
    return read_seals(path.with_name(name)).get(path.name) if name else None
