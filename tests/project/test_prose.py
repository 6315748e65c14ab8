"""The prose of README, docs and messages: short sentences, one per line, in the words of the field."""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGES = sorted(
    [
        *(
            ROOT / name
            for name in ("README.md", "ARCHITECTURE.md", "CHANGELOG.md", "CONTRIBUTING.md", "config/README.md")
        ),
        *(ROOT / "docs").rglob("*.md"),
    ]
)
MOST_WORDS = 35

FENCE = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)
CODE = re.compile(r"(`+)(?:(?!\1).)+\1")
LINK = re.compile(r"!?\[([^\]]*)\]\([^)]*\)")
IMAGE = re.compile(r"^!\[[^\]]*\]\([^)]*\)$", re.MULTILINE)
MARK = re.compile(r"^\s*(?:[-*]|\d+\.|#+|>)\s+")
LEAD = re.compile(r"^\*\*[^*]+\*\*\s+")
"""A heading within a line, such as **Fix.**"""
END = re.compile(r"(?<!\be\.g)(?<!\bi\.e)(?<!\bvs)(?<!\betc)(?<!\.\.)[.!?][)\"*]*(?:\s+|$)")

FORBIDDEN = {
    "tell: say report, print, show, distinguish": r"\b(?:tells?|told|telling)\b",
    "stand: say is, be in": r"\b(?:stands?|stood|standing)\b(?!-| for\b)",
    "lie: say is, be in": r"\b(?:lie|lies|lying|lain)\b",
    "mend: say fix, repair": r"\bmend(?:s|ed|ing)?\b",
    "part, as a verb: say split": r"\bpart(?:ed|ing)\b|\bto part\b|\bparts? (?:the|a|an|each|slides|groups|patients)\b",
    "see that: say check, make sure": r"\b(?:see|sees|saw|seen|seeing) that\b",
    "take away: say remove": r"\b(?:take|takes|took|taken|taking) (?:\w+ )?away\b",
    "alone: say only, by itself": r"\balone\b",
    "anew: say again": r"\banew\b",
    "beside: say next to": r"\bbeside\b",
    "of one's own: say custom, its own": r"\bof (?:one's|your|his|her|its|their|our|my) own\b",
    "is no: say is not a": r"(?<!there )\b(?:is|are|was|were) no\b(?! (?:longer|more|less)\b)",
}


def prose(text):
    """Return a page without code blocks, pictures and comments; code in a line becomes one word."""
    for pattern in (FENCE, IMAGE, re.compile(r"<!--.*?-->", re.DOTALL)):
        text = pattern.sub("", text)
    text = LINK.sub(r"\1", CODE.sub("code", text))
    lines, before = [], ""
    for line in text.splitlines():
        # Four spaces are code, unless they continue a list.
        if not (line.startswith("    ") and not MARK.match(before) and (not before or before.startswith("    "))):
            lines.append(line)
        before = line if line.strip() else ("" if not before.startswith("    ") else before)
    return lines


def sentences(line):
    """Return the sentences of a line, or of each cell of a table's row."""
    cells = (
        line.strip().strip("|").split(" | ") if line.lstrip().startswith("|") else [LEAD.sub("", MARK.sub("", line))]
    )
    return [one.strip() for cell in cells for one in END.split(cell) if re.search(r"\w", one)]


def words(sentence):
    return [word for word in sentence.split() if re.search(r"\w", word)]


def name(path):
    return str(path.relative_to(ROOT))


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_sentences_are_short(page):
    long = [one for line in prose(page.read_text(encoding="utf-8")) for one in sentences(line)]
    assert [f"{len(words(one))}: {one}" for one in long if len(words(one)) > MOST_WORDS] == []


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_lines_have_one_sentence(page):
    lines = [line for line in prose(page.read_text(encoding="utf-8")) if not line.lstrip().startswith("|")]
    assert [line for line in lines if len(sentences(line)) > 1] == []


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_sentences_end_with_their_line(page):
    lines = prose(page.read_text(encoding="utf-8"))
    broken = [
        line
        for line, after in zip(lines, [*lines[1:], ""], strict=True)
        if line.strip()
        and not re.match(r"\s*(?:\||#)", line)
        and not re.search(r"[.:!?][)\"*]*$", line)
        and after.strip()
        and not MARK.match(after)
        and not after.lstrip().startswith("|")
    ]
    assert broken == []


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_words_are_the_fields_own(page):
    found = [
        f"{reason}: {line.strip()}"
        for line in prose(page.read_text(encoding="utf-8"))
        for reason, pattern in FORBIDDEN.items()
        if re.search(pattern, line, re.IGNORECASE)
    ]
    assert found == []


def texts(module):
    """Return the texts of a module that may be shown: string constants of several words, without docstrings."""
    tree = ast.parse(module.read_bytes())
    docstrings = {node.value for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    return [
        node.value
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and " " in node.value
        if node not in docstrings
    ]


def test_messages_have_the_fields_own_words():
    found = [
        f"{name(module)}: {reason}: {text}"
        for module in sorted((ROOT / "scripts").rglob("*.py"))
        for text in texts(module)
        for reason, pattern in FORBIDDEN.items()
        if re.search(pattern, text, re.IGNORECASE)
    ]
    assert found == []


def test_readme_is_short():
    """Pictures, code and tables do not count as prose; headings do."""
    lines = [line for line in prose((ROOT / "README.md").read_text(encoding="utf-8")) if not line.startswith("|")]
    found = [len(words(one)) for line in lines for one in sentences(line) if not line.startswith("#")]
    headings = sum(len(words(line)) for line in lines if line.startswith("#"))
    assert sum(found) + headings < 600
    assert sum(found) / len(found) < 16
