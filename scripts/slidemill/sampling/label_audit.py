"""Audit labels: where rules disagree, and which regions label no patch."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import combinations
from typing import Any

import numpy as np

from slidemill.annotations.regions import Annotation
from slidemill.core.specs import LabelSpec
from slidemill.core.stage_facts import LabelAudit
from slidemill.sampling._label_rules import labeller

RULES = ("centre", "top_left", "area")

MOST_AUDITED = 20_000
"""Patches of a slide that are labelled by all rules: areas take 40 µs per patch."""

MOST_LISTED = 20
"""Patches and regions of a slide that are listed; all are counted."""

Row = dict[str, Any]


def collect_audited(rows: Iterable[Row], count: int, seed: int, *, chosen: list[Row]) -> Iterator[Row]:
    """Yield all rows, and add a sample of at most `MOST_AUDITED` to `chosen`.

    Parameters
    ----------
    rows, count
        A slide's labelled patches, and their number.
    seed
        Seed of the sample.
    chosen
        The rows to audit, in their order.
    """
    wanted: Collection[int] = range(count)
    if count > MOST_AUDITED:
        wanted = frozenset(random.Random(seed).sample(range(count), MOST_AUDITED))  # noqa: S311
    for place, row in enumerate(rows):
        if place in wanted:
            chosen.append(row)
        yield row


def label_audit(
    chosen: Sequence[Mapping[str, Any]], annotation: Annotation, spec: LabelSpec, *, reached: Collection[int]
) -> LabelAudit:
    """Audit a slide's labels by a sample of its patches.

    The result lists where label rules disagree, and which regions label no patch.

    Parameters
    ----------
    chosen
        Labelled patches.
    annotation, spec
        The annotation and the rule that labelled them.
    reached
        Places of the regions that have labelled a patch.
    """
    names = {
        rule: np.array([row["label_name"] for row in chosen], dtype=object)
        if rule == spec.rule
        else labeller(annotation, replace(spec, rule=rule))(chosen)[0]
        for rule in RULES
    }
    pairs = {pair: names[pair[0]] != names[pair[1]] for pair in combinations(RULES, 2)}
    differing = np.flatnonzero(np.any(list(pairs.values()), axis=0))
    bounds = annotation.bounds
    unreached = [place for place in range(len(annotation.names)) if place not in reached]
    return LabelAudit(
        patches=len(chosen),
        differing=len(differing),
        pairs={" and ".join(pair): int(np.count_nonzero(unlike)) for pair, unlike in pairs.items()},
        examples=tuple(
            {"patch_id": chosen[place]["patch_id"], **{rule: names[rule][place] for rule in RULES}}
            for place in differing[:MOST_LISTED].tolist()
        ),
        unreached=len(unreached),
        names=dict(sorted(Counter(annotation.names[place] for place in unreached).items())),
        regions=tuple(
            {"name": annotation.names[place], "box": [round(side) for side in bounds[place]]}
            for place in unreached[:MOST_LISTED]
        ),
    )
