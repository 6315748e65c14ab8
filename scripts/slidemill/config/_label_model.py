"""Define the configuration's section `labels`, and check and convert its keys."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Annotated, Literal

from pydantic import Field

from slidemill.config._key import AS_GIVEN, NonEmpty, Section, Text, key, spec_of
from slidemill.core.specs import OUTSIDE, LabelSpec, normalize_name
from slidemill.core.text import did_you_mean

QUOTES = "in quotes where YAML would take them for numbers or for yes and no"
Name = Annotated[Text, Field(description=f"names of text, {QUOTES}")]
NameOfLabel = Annotated[Text, Field(description=f"names of labels, {QUOTES}")]
Label = Annotated[int, Field(ge=0, description="a label is a whole number, 0 or more")]


class Labels(Section):
    """How annotations become labels."""

    map: dict[Name, Label] = key(
        {"Normal": 0},
        "a name for each label in the annotations, with its integer, 0 or more",
        comment="Names in the annotations to integers, such as `Tumor: 1`; several names may share one. A name that "
        "is missing here gives -1.",
    )
    """Names in the annotations to integers, 0 or more; several names may share one. Names that are missing give -1,
    with a warning. Names are compared in Unicode's form NFC and without outer blanks.
    """

    rule: Literal["centre", "top_left", "area"] = key(
        "centre",
        "what of a patch decides, a point, centre or top_left, or what regions cover of it, area",
        comment="What labels a patch: one of its points, centre or top_left, or area, the label that covers most of "
        "it; with area, `min_fraction` (default 0.5) is the least share that a label must cover.",
    )
    """What labels a patch. `centre` or `top_left`: the first region that contains this point of the patch. Regions own
    their left and top edges, so that exactly one of two touching regions contains each point. `area`: the label whose
    regions together cover most of the patch, if they cover at least `min_fraction` of it; of labels that cover the same
    area, the first in `labels.map`, then by name.
    """

    min_fraction: Annotated[float, Field(gt=0, le=1), AS_GIVEN] = key(
        0.5, "how much of a patch a label must cover with rule area, more than 0 and at most 1; 0.5 by default"
    )
    """Only with `rule: area`: the least share of a patch that its label must cover, more than 0 and at most 1."""

    overlap: Literal["file", "smallest"] = key(
        "file",
        "which of overlapping regions comes first, the first in the file, or the smallest",
        comment="Which of overlapping regions counts: the first in the file, or the smallest.",
    )
    """Which of overlapping regions has priority and owns their common area: `file`, the first in the file, or
    `smallest`, the one with the smallest area, for regions drawn within others. Patches that are in a smaller region of
    another label give a warning, even if `file` is set explicitly.
    """

    only: Annotated[list[NameOfLabel], Field(min_length=1)] | None = key(
        None,
        "the names of the labels whose patches are sampled, one at least; all labels where it is left out",
        comment="A list of names, such as [Tumor], restricts sampling to patches of these labels; null samples all.",
    )
    """Names of labels, each in `labels.map`: patches of other labels are not sampled, and `dropped/` lists them with
    the reason `label`. The labels are those of `metadata.csv`, by the same rule. With this key, other annotations and
    other labels sample and store again; without it, they rewrite only the tables.
    """

    outside: Text | None = key(
        "Normal",
        "the name, one of the map, that patches outside all regions get; null gives them label -1",
        comment="The name, one of the map, of patches outside all regions; null gives them label -1.",
    )
    """The name, one of `labels.map`, of patches outside all regions or, by area, of patches of which no label covers
    enough. `null` gives them label -1 and the name `(outside)`.
    """

    unnamed: NonEmpty | None = key(
        None,
        "the name of regions that have none; null refuses annotations with such regions",
        comment="The name of regions without one; null refuses annotations with such regions.",
    )
    """The name of regions without one. `null` refuses annotations with such regions."""

    property: NonEmpty = key(
        "classification",
        "the property of GeoJSON's features that holds their class",
        comment="The property of GeoJSON features that holds their class; QuPath writes classification.",
    )
    """The property of GeoJSON features that holds their class: text, QuPath's mapping with `name`, or text that
    contains such a mapping. No other property is used.
    """

    origin: Literal["canvas", "bounds", None] = key(
        None,
        "where annotations start on slides that name their bounds, canvas or bounds; null where the format says",
        comment="The origin of annotations on slides that name their bounds: canvas, bounds, or null for the default "
        "of the format.",
    )
    """The origin of annotations and label images on slides that name their bounds: `canvas`, the whole slide, or
    `bounds`. `null` means `bounds` for GeoJSON, as QuPath writes it, and `canvas` for all other formats. A value
    applies to files of every format. The notes and the log of each such slide name the origin.
    """

    unannotated: Literal["outside", "skip", "fail"] = key(
        None,
        "what slides without an annotation are where others have one, outside, skip or fail; no default",
        comment="`unannotated`, the meaning of a missing annotation where other slides have one, has no default: "
        "outside (all patches get the name above), skip or fail.",
    )
    """The meaning of a missing annotation. `outside`: all patches of the slide get the label of `labels.outside`.
    `skip`: the slide ends as `empty`, and `dropped/` lists its patches with the reason `unannotated`. `fail`: the slide
    fails. If only some slides have an annotation, the run is refused before any job until this key is set. The reason:
    normal slides of CAMELYON have no file, and a tumour slide whose file is missing looks the same. An empty cell of a
    sheet means no annotation. If no slide has one and `labels.map` has several labels, a warning says so until this key
    is `outside`.
    """

    unmapped: Literal["fail_if_most", "fail", "ignore"] = key(
        "fail_if_most",
        "whether the run fails for names that the map lacks, fail_if_most, fail (for any) or ignore",
        comment="Whether the run fails because of names that the map lacks: fail_if_most (most patches in regions get "
        "-1), fail, ignore.",
    )
    """What happens if annotations have names that `labels.map` lacks. Each such name gives a warning with its number of
    patches and suggestions. `fail_if_most`: the run fails at its end if the map has none of the names, or if more than
    half of the patches in regions get -1. `fail`: it fails for any such name. `ignore`: it does not fail. With
    `labels.only`, patches that it drops count too.
    """


def label_spec(labels: Labels) -> LabelSpec:
    """Return the section `labels` as the settings that make labels of annotations.

    With ``outside: null``, patches outside all regions are named `slidemill.core.specs.OUTSIDE`, which the map lacks.
    """
    spec = spec_of(LabelSpec, labels)
    return spec if spec.outside is not None else replace(spec, outside=OUTSIDE)


def wrong_labels(labels: Labels) -> Iterator[str]:
    """Yield a line for each contradiction among the keys of `labels`.

    It also yields one for each label that patches could get, or be selected by, and that does not exist.
    """
    if "min_fraction" in labels.model_fields_set and labels.rule != "area":
        yield (
            f"labels.min_fraction is {labels.min_fraction} and labels.rule is {labels.rule}: only rule area "
            "has a least fraction: leave it out, or choose area"
        )
    names, forms = [normalize_name(name) for name in labels.map], dict[str, str]()
    for name in labels.map:
        other = forms.setdefault(normalize_name(name), name)
        if other != name:
            yield (
                f"labels.map names {normalize_name(name)!r} twice, in two forms of Unicode or with outer blanks: leave "
                "one out"
            )
    if "" in (*names, normalize_name(labels.unnamed or "-")):
        yield "labels: a name in map or unnamed holds blanks only, and no region has such a name: give a name"
    outside = labels.outside
    if outside is None and OUTSIDE in names:
        yield (
            f"labels.map names {OUTSIDE!r}, and labels.outside is null, which gives that name to patches without a "
            "label: give labels.outside a name of the map, or leave this one out"
        )
    if outside is not None and normalize_name(outside) not in names:
        yield (
            f"labels.outside is {outside!r}, which labels.map lacks{did_you_mean(outside, labels.map)}: patches "
            "outside all regions would have no label: map it, or give null (outside: null) for label -1 on purpose"
        )
    for name in labels.only or ():
        if normalize_name(name) not in names:
            known = ", ".join(labels.map)
            yield (
                f"labels.only names {name!r}, which labels.map lacks{did_you_mean(name, labels.map)}: no patch that "
                f"is kept may be without a label: map it, or name one of {known}"
            )
