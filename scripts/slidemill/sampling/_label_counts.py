"""How many patches the regions of each name label, and how many lie in a smaller region of another label too."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import numpy as np

from slidemill.annotations.coverage import Floats
from slidemill.annotations.regions import Annotation
from slidemill.core.specs import LabelSpec
from slidemill.sampling._label_rules import SMALLEST_LAST, UNMAPPED, Labeller, Names, Rows, labeller


def counting_labeller(
    annotation: Annotation,
    spec: LabelSpec,
    within: Counter[str],
    reached: set[int] | None = None,
    contested: Counter[str] | None = None,
) -> Labeller:
    """Return what `slidemill.sampling._label_rules.labeller` does, and count on the way.

    Parameters
    ----------
    annotation, spec, reached
        As of `slidemill.sampling._label_rules.labeller`.
    within
        Is added to: by name, how many patches regions of that name label.
    contested
        Is added to: by name, how many patches have another label than the smaller region of that name that they lie
        in. By area, patches count by their centres: areas would take twice the time.
    """
    # A region may be named as `spec.outside` is: only a name that no region has tells the patches outside apart.
    decide = labeller(annotation, replace(spec, outside=None), reached)
    labels = {spec.map.get(name, UNMAPPED) for name in annotation.names}
    by_point, by_size = decide, None
    if contested is not None and len(labels) > 1 and not annotation.image:
        by_size = labeller(annotation, replace(spec, outside=None, rule=_point_rule(spec), overlap=SMALLEST_LAST))
        if spec.rule == "area":
            by_point = labeller(annotation, replace(spec, outside=None, rule=_point_rule(spec)))

    def counted(rows: Rows) -> tuple[Names, Floats | None]:
        names, fractions = decide(rows)
        if contested is not None and by_size is not None:
            first = names if by_point is decide else by_point(rows)[0]
            contested.update(_contested(first, by_size(rows)[0], spec))
        inside = np.array([name is not None for name in names], bool)
        within.update(names[inside].tolist())
        names[~inside] = spec.outside
        return names, fractions

    return counted


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
