"""The reference of files of coordinates says what the code does."""

import re

import pytest

from slidemill.coordinates import _hdf5, matching
from tests.conftest import ROOT

PAGE = (ROOT / "docs/reference/coordinates.md").read_text(encoding="utf-8")
SOURCES = ROOT / "scripts/slidemill/coordinates"


def section(title):
    return re.split(r"^##+ ", PAGE.split(f"# {title}\n")[1], maxsplit=1, flags=re.MULTILINE)[0]


@pytest.mark.parametrize("message", re.findall(r"\| `([^`]+)` \|$", section("Messages"), re.MULTILINE))
def test_messages_are_those_of_the_code(message):
    code = "".join(path.read_text(encoding="utf-8") for path in sorted(SOURCES.glob("*.py")))
    assert message in code


def test_attributes_are_those_that_are_read():
    rows = re.findall(r"^\| (`\w+`(?:, `\w+`)*) \| .* \| (?:both|TRIDENT|CLAM) \|$", PAGE, re.MULTILINE)
    assert sorted(re.findall(r"\w+", " ".join(rows))) == sorted(_hdf5.ATTRIBUTES)


def test_endings_are_those_that_are_read():
    assert re.findall(r"^\| `<name>(\S+)` \|", section("Names"), re.MULTILINE) == list(matching.ENDINGS)
