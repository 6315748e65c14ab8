"""How many patches the regions of each name label, and how many lie in a smaller region of another label too."""

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
    """What `counting_labeller` counts, summed over all calls.

    Parameters
    ----------
    within
        By name, how many patches regions of that name label.
    contested
        By name, how many patches have another label than the smaller region of that name that they lie in; None where
        this is not counted. By area, patches count by their centres: areas would take twice the time.
    reached
        The places in the annotation's names of the regions that have labelled a patch.
    """

    within: Counter[str] = field(default_factory=Counter)
    contested: Counter[str] | None = field(default_factory=Counter)
    reached: set[int] = field(default_factory=set)

    def by_name(self) -> RegionCounts:
        """Return the counts of patches, sorted by name."""
        contested = self.contested or Counter()
        return RegionCounts(within=dict(sorted(self.within.items())), contested=dict(sorted(contested.items())))


def counting_labeller(annotation: Annotation, spec: LabelSpec, counts: LabelCounts) -> Labeller:
    """Return a function that labels patches as `slidemill.sampling._label_rules.labeller` does, and counts them.

    Parameters
    ----------
    annotation, spec
        As of `slidemill.sampling._label_rules.labeller`.
    counts
        What is added to.
    """
    contested = counts.contested
    # A region may be named as `spec.outside` is: only a name that no region has tells the patches outside apart.
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
    """Return the rule by which patches lie in one region or another."""
    return "centre" if spec.rule == "area" else spec.rule


def _contested(names: Names, others: Names, spec: LabelSpec) -> list[str]:
    """Return the other name of each patch that has another label by it."""
    label = spec.map.get
    return [
        other
        for name, other in zip(names, others, strict=True)
        if name is not None and other is not None and label(name, UNMAPPED) != label(other, UNMAPPED)
    ]
