"""The file of a configuration, looked at before Snakemake reads it."""

from itertools import pairwise

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from slidemill.config.config_file import DEEPEST, MOST_BYTES, MOST_VALUES, check_file, check_size
from slidemill.errors import ConfigError
from tests.conftest import ROOT

LETTERS = "abcdefghij"


def exploding(first, following):
    """Lines each of which refers nine times to the one before: a billion laughs."""
    pairs = pairwise(LETTERS)
    return "".join([f"a: &a {first}\n", *(f"{own}: &{own} {following(before)}\n" for before, own in pairs)])


LISTS = exploding("[x]", lambda before: f"[{', '.join([f'*{before}'] * 9)}]")
MAPPINGS = exploding("{k: x}", lambda before: "{" + ", ".join(f"k{n}: *{before}" for n in range(9)) + "}")
MERGES = exploding("{k: x}", lambda before: "{<<: [" + ", ".join([f"*{before}"] * 9) + "]}")


@pytest.fixture
def refused(tmp_path):
    """Write a configuration, and return the one line by which it is refused.

    What explodes would take hours and all memory, so that coming to an end is a part of the test.
    """

    def check(content, name="mine.yaml"):
        path = tmp_path / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        with pytest.raises(ConfigError) as raised:
            check_file(path)
        (line,) = str(raised.value).splitlines()
        assert line.startswith(f"{path}: ")
        return line.removeprefix(f"{path}: ")

    return check


@pytest.mark.parametrize("name", ["config.yaml", "demo.yaml", "mil.yaml", "pywsi.yaml"])
def test_the_configurations_that_come_along_are_accepted(name):
    check_file(ROOT / "config" / name)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("slides: [a\nresults: {", "line 2, column 8: not valid YAML (while parsing a flow sequence"),
        ("slides: s\n\tresults: r\n", "tabs may not indent"),
        ("", "holds nothing, not keys with values"),
        ("- a\n- b\n", "holds a list, not keys with values"),
        ("slides", "holds a str, not keys with values"),
        (b"\xff\xfe", "is not UTF-8 at byte 0"),
        ("slides: \0", "not valid YAML (unacceptable character #x0000"),
        ("a: !!python/object/apply:os.getcwd []", "could not determine a constructor for the tag"),
        ("a: 2024-99-99", "not valid YAML (month must be in 1..12"),
        ("? [a]\n: 1", "found unhashable key"),
        ("a: *nowhere", "found undefined alias"),
        ("slides: a\nresults: r\nslides: b\n", "line 3: the key 'slides' is given twice"),
        ("labels:\n  map: {Normal: 0, Tumor: 1, Normal: 2}\n", "line 2: the key 'Normal' is given twice"),
        ('{"slides": "a", "slides": "b"}', "the key 'slides' is given twice"),
        ("a: " + "[" * 100_000, f"more than {DEEPEST} nested levels"),
        ("a: " + "[" * 500 + "]" * 500, f"more than {DEEPEST} nested levels"),
        ('{"a": ' + "[" * 100_000 + "]" * 100_000 + "}", f"more than {DEEPEST} nested levels"),
        ("x" * (MOST_BYTES + 1), "has 1,000,001 bytes, too many for a configuration"),
    ],
)
def test_what_is_no_configuration_is_refused_in_a_sentence(refused, content, said):
    assert said in refused(content)


@pytest.mark.parametrize("content", ["a: &x {b: *x}", "a: &x [*x]", "a: &x\n  b: [1, {c: *x}]\n", "&x {a: *x}"])
def test_a_value_that_holds_itself_is_refused(refused, content):
    assert "*x refers to a value that contains it: write it out" in refused(content)


@pytest.mark.parametrize("content", [LISTS, MAPPINGS, MERGES], ids=["lists", "mappings", "merges"])
def test_exploding_references_are_refused(refused, content):
    assert f"{MOST_VALUES:,} are too many" in refused(content)


def test_a_configuration_that_is_not_there_is_named(tmp_path):
    with pytest.raises(ConfigError, match=r"nothere\.yaml: this configuration does not exist: correct its path"):
        check_file(tmp_path / "nothere.yaml")
    with pytest.raises(ConfigError, match="is not a file"):
        check_file(tmp_path)
    (tmp_path / "file").touch()
    with pytest.raises(ConfigError, match="cannot be read"):
        check_file(tmp_path / "file" / "mine.yaml")


def test_references_and_templates_may_be_used(tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text("__use_yte__: true\na: &x {b: 1}\nc: {<<: *x, d: *x}\ne: [*x, *x]\n?if True:\n  f: 1\n")
    check_file(path)
    path.write_text('{"slides": "s",\n\t"results": "r"}')
    check_file(path)


def test_loaded_values_that_explode_or_hold_themselves_are_refused():
    """What Snakemake has read, and what its command line gives."""
    check_size({"a": [1, {"b": 2}]})
    with pytest.raises(ConfigError, match="too many for a configuration"):
        check_size(yaml.safe_load(LISTS))
    ring = {}
    ring["a"] = [ring, ring]
    with pytest.raises(ConfigError, match="a value that contains itself"):
        check_size(ring)


@given(
    st.recursive(st.none() | st.text() | st.integers(), lambda kind: st.lists(kind) | st.dictionaries(st.text(), kind))
)
def test_values_written_as_yaml_are_accepted(tmp_path_factory, value):
    path = tmp_path_factory.mktemp("any") / "mine.yaml"
    path.write_text(yaml.safe_dump({"key": value}), encoding="utf-8")
    check_file(path)
