"""Write the metadata table: each patch with its place and label."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

from slidemill.annotations.regions import Annotation
from slidemill.core.columns import METADATA_COLUMNS
from slidemill.core.csv_tables import write_table
from slidemill.core.specs import LabelSpec
from slidemill.core.stage_facts import LabelFacts, RegionCounts
from slidemill.sampling._label_counts import LabelCounts, counting_labeller
from slidemill.sampling._label_rules import UNMAPPED, Labeller
from slidemill.sampling.label_audit import collect_audited, label_audit

BLOCK = 20_000
"""Rows labelled at once."""


@dataclass(frozen=True, slots=True)
class Labelling:
    """Settings for labelling a slide's patches.

    Parameters
    ----------
    annotation, spec
        The regions or the label image, and how they become labels.
    columns
        The slide's values of the sheet's other columns.
    """

    annotation: Annotation
    spec: LabelSpec
    columns: Mapping[str, str] = field(default_factory=dict)


def _labelled(rows: Sequence[Mapping[str, Any]], decide: Labeller, by: Labelling) -> list[dict[str, Any]]:
    names, fractions = decide(rows)
    rounded = [""] * len(rows) if fractions is None else [f"{fraction:.4f}" for fraction in fractions]
    return [
        {**row, "label": by.spec.map.get(name, UNMAPPED), "label_name": name, "label_fraction": fraction, **by.columns}
        for row, name, fraction in zip(rows, names, rounded, strict=True)
    ]


def label_blocks(
    rows: Iterable[Mapping[str, Any]], by: Labelling, counts: LabelCounts | None = None
) -> Iterator[dict[str, Any]]:
    """Yield the rows with their labels and the sheet's columns of their slide.

    A name that the map lacks gives label -1. One block of rows is in memory at a time.

    Parameters
    ----------
    rows
        A slide's patches.
    by
        What they are labelled by.
    counts
        What is added to, as `slidemill.sampling._label_counts.counting_labeller` does.
    """
    waiting = iter(rows)
    decide = counting_labeller(by.annotation, by.spec, counts or LabelCounts(contested=None))
    while block := list(islice(waiting, BLOCK)):
        yield from _labelled(block, decide, by)


def count_names(rows: Iterable[dict[str, Any]], counts: Counter[str]) -> Iterator[dict[str, Any]]:
    """Yield the rows, and add their number per label name to `counts`."""
    for row in rows:
        counts[row["label_name"]] += 1
        yield row


def write_labelled(
    table: Path, rows: Iterable[Mapping[str, Any]], by: Labelling, *, count: int, seed: int
) -> tuple[LabelFacts, RegionCounts]:
    """Write a slide's metadata table, and return facts on its labels and regions.

    Parameters
    ----------
    table
        Its file.
    rows, count
        The slide's patches, and their number.
    by
        How they are labelled.
    seed
        Seed of the audited sample.
    """
    annotation, spec = by.annotation, by.spec
    names: Counter[str] = Counter()
    chosen: list[dict[str, Any]] = []
    counts = LabelCounts()
    labelled = count_names(label_blocks(rows, by, counts), names)
    write_table(table, (*METADATA_COLUMNS, *by.columns), collect_audited(labelled, count, seed, chosen=chosen))
    bounds = annotation.bounds
    facts = LabelFacts(
        counts=dict(sorted(names.items())),
        unmapped=tuple(sorted({*annotation.names, *counts.within} - set(spec.map))),
        regions=len(annotation.names),
        reach=tuple(max(sides[end] for sides in bounds) for end in (2, 3)) if annotation.regions else None,
        notes=tuple(annotation.notes),
        audit=label_audit(chosen, annotation, spec, reached=counts.reached) if annotation.names else None,
    )
    return facts, counts.by_name()
