"""Files for those who adopt the repository: citation, hosted CI, issue forms, the workflow catalog."""

import re
import shlex
import tomllib

import pytest
import yaml

from slidemill import __version__
from slidemill.cli.commands import main
from tests.conftest import ROOT

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
MAKEFILE = (ROOT / "Makefile").read_text(encoding="utf-8")
FORMS = [path for path in sorted((ROOT / ".github" / "ISSUE_TEMPLATE").glob("*.yml")) if path.name != "config.yml"]


def read(path):
    return yaml.safe_load((ROOT / path).read_text(encoding="utf-8"))


def test_citation_matches_project():
    """The keys that the format requires, with the values of pyproject.toml."""
    found = read("CITATION.cff")
    assert found.keys() >= {"cff-version", "message", "title", "authors"}
    assert (found["cff-version"], found["type"]) == ("1.2.0", "software")
    assert (found["title"], found["version"], found["license"]) == (PROJECT["name"], __version__, PROJECT["license"])
    assert all(isinstance(value, str) for key, value in found.items() if key not in ("authors", "keywords"))
    holder = re.search(r"^Copyright \(c\) \d+ (.+)$", (ROOT / "LICENSE").read_text(encoding="utf-8"), re.MULTILINE)
    assert found["authors"] == [{"name": holder[1]}]


def test_hosted_tests_run_known_commands():
    text = (ROOT / ".github" / "workflows" / "test.yml").read_text(encoding="utf-8")
    jobs = yaml.safe_load(text)["jobs"]
    steps = [step for job in jobs.values() for step in job["steps"]]
    commands = [shlex.split(step["run"]) for step in steps if "run" in step]
    assert commands
    for program, target, *variables in commands:
        assert program == "make"
        assert re.search(rf"^{target}:", MAKEFILE, re.MULTILINE), target
        for variable in variables:
            assert re.search(rf"^{variable.partition('=')[0]} \?=", MAKEFILE, re.MULTILINE), variable
    for step in steps:
        if locks := step.get("with", {}).get("cache-dependency-path"):
            assert list(ROOT.glob(locks)), locks
    assert jobs["linux"]["strategy"]["matrix"]["python"] == ["3.11", "3.12", "3.13"]
    assert PROJECT["requires-python"] == ">=3.11"
    assert ("make", "test") in {(program, target) for program, target, *_ in commands}


@pytest.mark.parametrize("path", FORMS, ids=lambda path: path.stem)
def test_issue_form_asks_for_inspect(path, capsys):
    """Each form asks for the output of commands that exist, and each of its fields has an id of its own."""
    form = read(path)
    assert form.keys() >= {"name", "description", "body"}
    ids = [field["id"] for field in form["body"]]
    assert len(ids) == len(set(ids))
    text = path.read_text(encoding="utf-8")
    assert "slidemill inspect SLIDE" in text
    assert "slidemill --version" in text
    for command in re.findall(r"`\.venv/bin/slidemill (\w+) ", text):
        with pytest.raises(SystemExit) as ended:
            main([command, "--help"])
        assert ended.value.code == 0
    capsys.readouterr()


def test_catalog_file_names_existing_files():
    found = read(".snakemake-workflow-catalog.yml")["usage"]
    assert set(found["software-stack-deployment"]) == {"conda", "apptainer", "apptainer+conda", "report"}
    for path in ("workflow/Snakefile", "config/README.md", "environment.yml"):
        assert (ROOT / path).is_file(), path
    assert "workflow/Snakefile" in found["mandatory-flags"]["desc"]
    readme = (ROOT / "README.md").read_text(encoding="utf-8").lower()
    assert "snakemake" in readme and "workflow" in readme


def test_unrun_files_say_so():
    """What cannot be run here is marked."""
    for path in (".github/workflows/test.yml", ".snakemake-workflow-catalog.yml"):
        assert "not yet run" in (ROOT / path).read_text(encoding="utf-8").partition("\n")[0].lower(), path
