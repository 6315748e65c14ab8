"""The section `labels` of the configuration: what a schema cannot tell of it, and the value that it becomes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from slidemill.core.specs import OUTSIDE, LabelSpec, composed
from slidemill.core.suggestions import did_you_mean


def label_spec(labels: Mapping[str, Any]) -> LabelSpec:
    """Return how annotations become labels, by the keys of the section that say so.

    With ``outside: null``, patches outside all regions are named `slidemill.core.specs.OUTSIDE`, which the map lacks.
    """
    return LabelSpec(**{**labels, "outside": OUTSIDE if labels["outside"] is None else labels["outside"]})


def wrong_labels(labels: Mapping[str, Any]) -> Iterator[str]:
    """Yield a line for each label that patches could get, or be chosen by, and that is none."""
    if "min_fraction" in labels and labels["rule"] != "area":
        yield (
            f"labels.min_fraction is {labels['min_fraction']} and labels.rule is {labels['rule']}: only rule area "
            "has a least fraction: leave it out, or choose area"
        )
    names, forms = [composed(name) for name in labels["map"]], dict[str, str]()
    for name in labels["map"]:
        other = forms.setdefault(composed(name), name)
        if other != name:
            yield (
                f"labels.map names {composed(name)!r} twice, in two forms of Unicode or with outer blanks: leave one "
                "out"
            )
    if "" in (*names, composed(labels["unnamed"] or "-")):
        yield "labels: a name in map or unnamed holds blanks only, and no region has such a name: give a name"
    outside = labels["outside"]
    if outside is None and OUTSIDE in names:
        yield (
            f"labels.map names {OUTSIDE!r}, and labels.outside is null, which gives that name to patches without a "
            "label: give labels.outside a name of the map, or leave this one out"
        )
    if outside is not None and composed(outside) not in names:
        yield (
            f"labels.outside is {outside!r}, which labels.map lacks{did_you_mean(outside, labels['map'])}: patches "
            "outside all regions would have no label: map it, or give null (outside: null) for label -1 on purpose"
        )
    for name in labels.get("only") or ():
        if composed(name) not in names:
            known = ", ".join(labels["map"])
            yield (
                f"labels.only names {name!r}, which labels.map lacks{did_you_mean(name, labels['map'])}: no patch that "
                f"is kept may be without a label: map it, or name one of {known}"
            )
