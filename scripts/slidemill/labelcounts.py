"""How many patches the regions of each name label; patches outside all regions may have the same name."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import numpy as np

from slidemill.covering import Floats
from slidemill.labelling import Labeller, Names, Rows, labeller
from slidemill.regions import Annotation
from slidemill.specs import LabelSpec


def counting_labeller(
    annotation: Annotation, spec: LabelSpec, within: Counter[str], reached: set[int] | None = None
) -> Labeller:
    """Return what `slidemill.labelling.labeller` does, and count on the way.

    Parameters
    ----------
    annotation, spec, reached
        As of `slidemill.labelling.labeller`.
    within
        Is added to: by name, how many patches regions of that name label.
    """
    # A region may be named as `spec.outside` is: only a name that no region has tells the patches outside apart.
    decide = labeller(annotation, replace(spec, outside=None), reached)

    def counted(rows: Rows) -> tuple[Names, Floats | None]:
        names, fractions = decide(rows)
        inside = np.array([name is not None for name in names], bool)
        within.update(names[inside].tolist())
        names[~inside] = spec.outside
        return names, fractions

    return counted
