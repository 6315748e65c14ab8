"""Count labelled patches per region name, and those in smaller other regions."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field, replace

import numpy as np

from slidemill.annotations.coverage import Floats
from slidemill.annotations.regions import Annotation
from slidemill.core.specs import LabelSpec
from slidemill.core.stage_facts import RegionCounts
from slidemill.sampling._label_rules import SMALLEST_LAST, UNMAPPED, Labeller, Names, Rows, labeller


@dataclass(frozen=True, slots=True)
class LabelCounts:
    """Counts from `counting_labeller`, summed over all calls.

    Parameters
    ----------
    within
        By name, the number of patches that regions of that name label.
    contested
        By name, the number of patches whose label differs from that of the smaller region of that name that they are
        in; None does not count them. By area, their centres decide: areas would take twice the time.
    reached
        Places, in the annotation's names, of the regions that have labelled a patch.
    """

    within: Counter[str] = field(default_factory=Counter)
    contested: Counter[str] | None = field(default_factory=Counter)
    reached: set[int] = field(default_factory=set)

    def by_name(self) -> RegionCounts:
        """Return the counts of patches, sorted by name."""
        contested = self.contested or Counter()
        return RegionCounts(within=dict(sorted(self.within.items())), contested=dict(sorted(contested.items())))


def counting_labeller(annotation: Annotation, spec: LabelSpec, counts: LabelCounts) -> Labeller:
    """Return a function that labels patches as `labeller` does, and counts them.

    Parameters
    ----------
    annotation, spec
        As of `slidemill.sampling._label_rules.labeller`.
    counts
        The counts to add to.
    """
    contested = counts.contested
    # A region may have the name of `spec.outside`: None distinguishes the patches outside.
    decide = labeller(annotation, replace(spec, outside=None), counts.reached)
    labels = {spec.map.get(name, UNMAPPED) for name in annotation.names}
    by_point, by_size = decide, None
    if contested is not None and len(labels) > 1 and not annotation.image:
        by_size = labeller(annotation, replace(spec, outside=None, rule=_point_rule(spec), overlap=SMALLEST_LAST))
        if spec.rule == "area":
            by_point = labeller(annotation, replace(spec, outside=None, rule=_point_rule(spec)))

    def label_and_count(rows: Rows) -> tuple[Names, Floats | None]:
        names, fractions = decide(rows)
        if contested is not None and by_size is not None:
            first = names if by_point is decide else by_point(rows)[0]
            contested.update(_contested(first, by_size(rows)[0], spec))
        inside = np.array([name is not None for name in names], bool)
        counts.within.update(names[inside].tolist())
        names[~inside] = spec.outside
        return names, fractions

    return label_and_count


def _point_rule(spec: LabelSpec) -> str:
    """Return the rule that places each patch in one region."""
    return "centre" if spec.rule == "area" else spec.rule


def _contested(names: Names, others: Names, spec: LabelSpec) -> list[str]:
    """Return the other name of each patch whose label it would change."""
    label = spec.map.get
    return [
        other
        for name, other in zip(names, others, strict=True)
        if name is not None and other is not None and label(name, UNMAPPED) != label(other, UNMAPPED)
    ]
