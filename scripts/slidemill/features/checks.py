"""Checks of features while they are computed, and of the file that was published."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np

from slidemill.core.csv_tables import read_cohort_table
from slidemill.core.results_layout import FEATURES_TABLE
from slidemill.core.specs import FeatureSpec
from slidemill.errors import ModelError, SlideError, SlidemillError, StoreError
from slidemill.features.feature_file import Array, FeatureFile, PatchPlaces, open_features

TOLERANCE = {"float32": 1e-3, "float16": 2e-2, "bfloat16": 5e-2}
"""By dtype, the largest distance of two embeddings of a patch in batches of other sizes, as a share of their length."""


def finite_rows(name: str, spec: FeatureSpec, batches: Iterable[Array], *, ids: Sequence[str]) -> Iterator[Array]:
    """Yield batches of features of the patches `ids`, and check that they are numbers, equally many of each patch.

    Raises
    ------
    SlideError
        When one is NaN or infinite.
    ModelError
        When batches differ in length or type of their rows.
    """
    done, first = 0, None
    for rows in batches:
        kind = f"{rows.shape[1]} values of {rows.dtype}"
        first = first or kind
        if kind != first:
            raise ModelError(
                f"features.{name}.model is {spec.model}: it returns {kind} per patch for {len(rows)} patches after "
                f"{first} for others: correct it so that all rows are alike"
            )
        if not (is_finite := np.isfinite(rows).all(axis=1)).all():
            patch = ids[done + int(np.argmin(is_finite))]
            raise SlideError(
                f"features.{name}: {spec.model} returns NaN or infinity for patch {patch}: set dtype to float32, or "
                "correct its weights or transform"
            )
        done += len(rows)
        yield rows


def file_faults(path: Path, places: PatchPlaces) -> dict[str, list[str]]:
    """Return, by check, the faults of a file of features against the patches that it must have."""
    faults: dict[str, list[str]] = {"opens": [], "count": [], "finite": [], "coordinates": []}
    try:
        file = open_features(path)
        file.check()
    except SlidemillError as error:
        return {"opens": [str(error)]}
    if file.patch_ids != list(places.ids):
        faults["count"].append(f"its {len(file)} rows are not those of the {len(places.ids)} patches")
    if not np.isfinite(file.features()).all():
        faults["finite"].append("a value is NaN or infinity")
    if not np.array_equal(file.coords, places.coords):
        faults["coordinates"].append("they are not those of the table of patches")
    return faults


def read_contents(results: Path, name: str) -> dict[str, str]:
    """Return, by slide, the digest of its features' rows that the cohort's table lists; empty without the table.

    Raises
    ------
    SlidemillError
        When the table is damaged.
    """
    table = results / FEATURES_TABLE
    rows = read_cohort_table(table, ("slide", "name")) if table.exists() else ()
    return {row["slide"]: row.get("content", "") for row in rows if row["name"] == name}


def require_content(file: FeatureFile, content: str) -> None:
    """Check that a file of features is the one that the cohort's table lists; StoreError if not.

    An empty `content` is not known.
    """
    if content not in ("", file.manifest.content):
        raise StoreError(
            f"{file.path}: does not match {FEATURES_TABLE}: run the workflow to its end, and open the dataset again"
        )


def require_encoder(file: FeatureFile, encoder: Mapping[str, str]) -> None:
    """Check that a model returned the features of a file.

    `encoder` is as of `slidemill.features.feature_file.FeatureManifest`; StoreError names the first difference.
    """
    for key, found in file.manifest.encoder.items():
        if found != encoder[key]:
            raise StoreError(
                f"{file.path}: features of another model than those of other slides ({key} {found!r}, and others "
                f"{encoder[key]!r}): run the workflow to its end"
            )


def distant_rows(ids: Sequence[str], expected: Array, found: Array, *, tolerance: float) -> list[str]:
    """Return a message for each row whose distance from the expected one is too large a share of its length."""
    wanted = np.asarray(expected, np.float64)
    apart, length = np.linalg.norm(found - wanted, axis=1), np.maximum(np.linalg.norm(wanted, axis=1), 1e-6)
    return [
        f"{patch_id}: embedded again, its features are {share:.2g} of their length apart, and {tolerance:g} may be"
        for patch_id, share in zip(ids, apart / length, strict=True)
        if not share <= tolerance
    ]
