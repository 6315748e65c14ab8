"""What is derived from the configuration's model: files, and the specs that stages take."""

import re
import types
import typing
from collections.abc import Mapping, Sequence
from dataclasses import MISSING, fields

import pytest
import yaml

import generate_reference
from slidemill.config._column_reference import TABLES, column_table
from slidemill.config._key import Section
from slidemill.config._label_model import Labels
from slidemill.config._model import Benchmark, Configuration, Splits, Validation
from slidemill.config._sampling_model import Quality, Sampling, Tissue
from slidemill.config.reference import key_table, with_tables
from slidemill.core.quality_measures import MEASURES
from slidemill.core.specs import BenchmarkSpec, GridSpec, LabelSpec, SplitSpec, TissueSpec, ValidationSpec
from tests.conftest import ROOT

SPECS = {
    GridSpec: Sampling,
    TissueSpec: Tissue,
    LabelSpec: Labels,
    SplitSpec: Splits,
    ValidationSpec: Validation,
    BenchmarkSpec: Benchmark,
}
OTHER_DEFAULTS = {"GridSpec.level", "GridSpec.filter"}
"""A native level of 0 is the configuration's, where it asks for no other resolution; grids without a filter are those
of earlier versions."""


NO_KEYS = {"GridSpec.downsample", "GridSpec.is_free"}
"""Fields that only files of coordinates decide."""


def kinds(annotation):
    """Return what an annotation allows for, None too, as the names of JSON."""
    origin = typing.get_origin(annotation)
    if origin is typing.Annotated:
        return kinds(typing.get_args(annotation)[0])
    if origin in (typing.Union, types.UnionType):
        return set().union(*map(kinds, typing.get_args(annotation)))
    if origin is typing.Literal:
        return {kind for value in typing.get_args(annotation) for kind in kinds(type(value))}
    plain = origin or annotation
    names = {str: "text", bool: "truth", int: "integer", float: "number", types.NoneType: "null"}
    return {names.get(plain) or ("mapping" if issubclass(plain, Mapping) else "list")}


def test_kinds_distinguish_spec_types():
    assert kinds(Sequence[int] | None) == kinds(list[int] | None) == {"list", "null"}
    assert kinds(typing.Literal["a", None]) == {"text", "null"}
    assert kinds(typing.Annotated[float, 1]) == {"number"} != kinds(int)


@pytest.mark.parametrize(
    ("spec", "name"),
    [(spec, field.name) for spec in SPECS for field in fields(spec) if f"{spec.__name__}.{field.name}" not in NO_KEYS],
    ids=lambda part: str(part)[-30:],
)
def test_specs_match_types_and_defaults_of_keys(spec, name):
    section = SPECS[spec]
    (field,) = (field for field in fields(spec) if field.name == name)
    key = section.model_fields[name]
    own = typing.get_type_hints(section, include_extras=True)[name]
    other = f"{spec.__name__}.{name}" in OTHER_DEFAULTS
    left_out = {"null"} if key.default is None or (other and field.default is None) else set()
    assert kinds(typing.get_type_hints(spec)[name]) == kinds(own) | left_out
    if field.default is not MISSING and not other:
        assert (field.default, type(field.default)) == (key.default, type(key.default))


def test_quality_has_a_limit_for_each_measure():
    """Limits are optional numbers, so that a spec has only those that are set."""
    assert list(Quality.model_fields) == [measure.limit for measure in MEASURES]
    for key in Quality.model_fields.values():
        assert key.default is None
        assert kinds(key.annotation) == {"number", "null"}


@pytest.mark.parametrize(
    ("path", "text"), generate_reference.generated(ROOT).items(), ids=lambda part: getattr(part, "name", "")
)
def test_generated_files_are_current(path, text):
    assert path.read_text(encoding="utf-8") == text, "stale: run make generate"


def test_page_without_markers_is_refused():
    with pytest.raises(ValueError, match="no markers"):
        with_tables("| key | default | what it does |\n")


def test_undocumented_column_is_refused(monkeypatch):
    columns, rows = TABLES["stores.csv"]
    monkeypatch.setitem(TABLES, "stores.csv", ((*columns, "colour"), rows))
    with pytest.raises(ValueError, match=r"stores\.csv: columns .*colour"):
        column_table("stores.csv")


def leaves(section=Configuration, prefix=""):
    for name, field in section.model_fields.items():
        own = [
            kind
            for kind in (field.annotation, *typing.get_args(field.annotation))
            if isinstance(kind, type) and issubclass(kind, Section)
        ]
        yield from leaves(own[0], f"{prefix}{name}.") if own else [f"{prefix}{name}"]


def test_every_key_has_a_row():
    """A string below the key in the model is its documentation."""
    named = {name for line in key_table().splitlines() for name in re.findall(r"`([\w.<>]+)`", line.split(" | ")[0])}
    named = {name.replace("<name>.", "") for name in named}
    assert sorted(set(leaves()) - named) == []


def test_defaults_in_the_table_are_yaml():
    rows = [line.split(" | ") for line in key_table().splitlines()[2:]]
    given = {row[0].strip("| `"): row[1] for row in rows}
    assert yaml.safe_load(given["labels.map"].strip("`")) == {"Normal": 0}
    assert (given["slides"], given["sampling.mpp"], given["validation.min_psnr"]) == ("required", "none", "`30`")
