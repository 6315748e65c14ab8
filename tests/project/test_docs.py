"""The docs against the code: the tests that they name are there, and their links lead somewhere."""

import ast
import re
from functools import cache
from pathlib import Path

import pytest

from slidemill.cli.commands import main
from slidemill.runs.run_lock import LOOK_AGAIN

ROOT = Path(__file__).parents[2]
TESTS = ROOT / "tests"
PAGE = ROOT / "docs" / "reference" / "what-happens-when.md"
MATRIX = ROOT / "docs" / "design" / "faults.md"
DOCS = sorted(
    [*ROOT.glob("*.md"), *(file for name in ("config", "docs", "benchmarks") for file in (ROOT / name).rglob("*.md"))]
)
NAMED = re.compile(r"((?:[\w-]+/)*test_\w+\.py)::(\w+(?:::\w+)?)")
LINK = re.compile(r"\]\(([^)\s]+)\)")


@cache
def names_in(path):
    """Return the names of a file's tests, those of a class after its name and two colons."""
    found = set()
    for node in ast.parse(path.read_bytes()).body:
        own = node.body if isinstance(node, ast.ClassDef) else [node]
        before = f"{node.name}::" if isinstance(node, ast.ClassDef) else ""
        found |= {
            f"{before}{one.name}" for one in own if isinstance(one, ast.FunctionDef) and one.name.startswith("test_")
        }
    return frozenset(found)


def named(document):
    """Return the tests that a document names: the file below tests/, and the test in it."""
    text = document.read_text(encoding="utf-8")
    return {(file.removeprefix("tests/"), name) for file, name in NAMED.findall(text)}


def headings(document):
    """Return the anchors of a document's headings, as GitHub makes them."""
    text = re.sub(r"^```.*?^```", "", document.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    titles = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


@pytest.mark.parametrize("document", DOCS, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_test_that_a_document_names_is_there(document):
    missing = [
        f"{file}::{name}"
        for file, name in sorted(named(document))
        if not (TESTS / file).exists() or name not in names_in(TESTS / file)
    ]
    assert missing == []


def test_matrix_names_every_test_of_a_fault():
    files = sorted((TESTS / "faults").glob("test_*.py"))
    there = {(f"faults/{file.name}", name) for file in files for name in names_in(file)}
    assert len(there) > 50
    assert sorted(there - named(MATRIX)) == []


def test_matrix_has_a_test_in_every_row():
    lines = [line for line in MATRIX.read_text(encoding="utf-8").splitlines() if line.startswith("|")]
    bare = [line for line in lines if not NAMED.search(line)]
    assert set(bare) == {"| what | test |", "|---|---|"}


def test_matrix_has_the_rows_of_the_page():
    page, matrix = (
        re.findall(r"^(## .+|\| .+?) (?:\||$)", file.read_text(encoding="utf-8"), re.MULTILINE)
        for file in (PAGE, MATRIX)
    )
    assert len(page) > 180
    assert matrix == page


def test_pages_for_users_name_no_test():
    """Test names are for developers: docs/design/, CONTRIBUTING.md and ARCHITECTURE.md."""
    pages = [document for document in DOCS if "docs" in document.parts and "design" not in document.parts]
    assert len(pages) >= 15
    users = [ROOT / "README.md", ROOT / "config" / "README.md", *pages]
    assert [page.name for page in users if NAMED.search(page.read_text(encoding="utf-8"))] == []


@pytest.mark.parametrize("document", DOCS, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_between_documents_lead_somewhere(document):
    broken = []
    for link in LINK.findall(document.read_text(encoding="utf-8")):
        if re.match(r"[a-z]+:", link):
            continue
        place, _, anchor = link.partition("#")
        target = (document.parent / place) if place else document
        if not target.exists() or (anchor and anchor not in headings(target)):
            broken.append(link)
    assert broken == []


def test_the_page_is_linked_from_the_readme_or_the_architecture():
    links = {
        (document.parent / link.partition("#")[0]).resolve()
        for document in (ROOT / "README.md", ROOT / "ARCHITECTURE.md")
        for link in LINK.findall(document.read_text(encoding="utf-8"))
    }
    assert PAGE in links


def help_of(capsys, *words):
    """Return what the command line prints of itself."""
    with pytest.raises(SystemExit) as ended:
        main([*words, "--help"])
    assert ended.value.code == 0
    return capsys.readouterr().out


def test_the_page_on_commands_has_each_with_its_arguments(capsys):
    _, *sections = (ROOT / "docs" / "reference" / "commands.md").read_text(encoding="utf-8").split("\n## slidemill ")
    told = {section.split("\n")[0]: section for section in sections}
    commands = re.findall(r"^    (\S+)", help_of(capsys), re.MULTILINE)
    assert list(told) == commands
    assert len(commands) == 7
    for command, section in told.items():
        usage = " ".join(help_of(capsys, command).partition("\n\n")[0].split())
        own = re.findall(r"--[\w-]+", usage)
        places = re.sub(r"\[.*\]|--\S+ \S+", "", usage).split()[3:]
        rows = re.findall(r"^\| `(\S+)` \|", section, re.MULTILINE)
        assert rows == [*places, *own], command


def test_the_page_on_commands_has_their_exit_codes(capsys, tmp_path):
    codes = re.findall(
        r"^\| (\d+) \|", (ROOT / "docs" / "reference" / "commands.md").read_text(encoding="utf-8"), re.MULTILINE
    )
    with pytest.raises(SystemExit) as wrong:
        main(["verify"])
    seen = {0, main(["verify", str(tmp_path / "none")]), wrong.value.code, LOOK_AGAIN, 130}
    assert {int(code) for code in codes} == seen


def test_the_docs_name_what_snakemake_does_to_a_configuration():
    running = (ROOT / "docs" / "how-to" / "running.md").read_text(encoding="utf-8")
    assert "A configuration is code to Snakemake: a file with `__use_yte__: true`" in running
    assert "python scripts/check_config.py FILE" in running
    assert f"| {LOOK_AGAIN} | another run is using the results folder" in running


def test_the_docs_say_when_a_run_needs_kill_9():
    clusters = (ROOT / "docs" / "how-to" / "clusters.md").read_text(encoding="utf-8")
    assert re.search(
        "signal arrives while Snakemake's scheduler is working.*\nThen `kill -9` the main process", clusters
    )


def test_the_docs_say_which_cells_spreadsheets_run():
    tables = (ROOT / "config" / "README.md").read_text(encoding="utf-8").partition("\n## Tables")[2]
    assert "begins with `=`, `+`, `-`, `@`, a tab or a carriage return as a formula" in tables
