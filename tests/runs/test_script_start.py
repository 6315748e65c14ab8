"""How scripts start: with what Snakemake would give them, but without loading Snakemake."""

import json
import subprocess
import sys
from pathlib import Path
from types import MappingProxyType, SimpleNamespace

import pytest
from snakemake.iocontainers import InputFiles, Log, OutputFiles, Params, Wildcards

from slidemill.runs.script_start import plain, start_without_snakemake
from tests.conftest import ROOT

SHOW = """
import gc, json, os, sys
found = {
    **{name: dict(getattr(snakemake, name).items()) for name in ("input", "output", "params", "wildcards")},
    "threads": snakemake.threads, "config": snakemake.config, "log": list(snakemake.log), "name": __name__,
    "file": __file__, "types": [type(one).__name__ for one in snakemake.input.items()],
    "is_beside": list(map(os.path.realpath, sys.path)).count(%r),
    "kinds": {name: type(one).__name__ for name, one in snakemake.params.items()},
}
loaded = sorted(name for name in sys.modules if name.startswith("snakemake"))
with open(snakemake.output.get("one"), "w") as file:
    json.dump({"found": found, "loaded": loaded, "collects": gc.isenabled()}, file)
"""
SNAKEFILE = """
import sys
from pathlib import Path
from snakemake.script import PythonScript
sys.path.insert(0, {root!r})
from slidemill.runs.script_start import start_without_snakemake
start_without_snakemake(PythonScript, Path(workflow.basedir) / "own")
config = {{"roots": {{"slides": "/s"}}, "scratch": None, "force": False, "n": 1.0}}

rule all:
    input: "own_a.json", "other_a.json"
"""
RULE = """
rule {name}:
    input: first="in 'put.txt", several=["in 'put.txt"], both=["in 'put.txt", "two.txt"]
    output: one="{name}_{{slide}}.json"
    log: "{name}_{{slide}}.log"
    threads: 2
    params:
        text=lambda wildcards: "a\\n'{{x}}'\\u00b5",
        number=1.5,
        nothing=None,
        pair=(1, "two"),
        deep={{"a": [1, {{"b": ()}}]}},
    script: "{name}/../{name}/show.py"
"""


@pytest.mark.long
def test_scripts_get_the_same_and_load_no_snakemake(tmp_path):
    """The same script in another folder starts as Snakemake does it. Paths have ``..``, as those of the rules."""
    for name in ("in 'put.txt", "two.txt"):
        (tmp_path / name).touch()
    for folder in ("own", "other"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "show.py").write_text(SHOW % str(tmp_path / folder))
    rules = "".join(RULE.format(name=folder) for folder in ("own", "other"))
    (tmp_path / "Snakefile").write_text(SNAKEFILE.format(root=str(ROOT / "scripts")) + rules)
    command = [sys.executable, "-m", "snakemake", "--cores", "2"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    own, other = (json.loads((tmp_path / f"{folder}_a.json").read_text()) for folder in ("own", "other"))
    assert json.loads(json.dumps(own["found"]).replace("own", "other")) == other["found"]
    assert own["found"]["kinds"]["pair"] == "tuple"
    assert own["loaded"] == []
    assert other["loaded"]
    assert (own["collects"], other["collects"]) == (False, True)


class Script:
    """`snakemake.script.PythonScript`, as far as it is used."""

    path = SimpleNamespace(get_path_or_uri=lambda secret_free: "/x/workflow/rules/../../scripts/gate.py")
    is_local = True
    conda_env = container_img = env_modules = None
    threads = 1
    config = MappingProxyType({"force": False})
    input, output, params, wildcards = InputFiles(), OutputFiles(), Params(), Wildcards()
    log = Log(["a.log"])

    def get_preamble(self):
        return "Snakemake's"


@pytest.fixture
def script():
    kind = type("Own", (Script,), {})
    start_without_snakemake(kind, Path("/x/scripts"))
    return kind()


def test_own_scripts_start_without_snakemake(script):
    assert "SimpleNamespace" in script.get_preamble()


@pytest.mark.parametrize("name", ["conda_env", "container_img", "env_modules"])
def test_other_environments_are_left_to_snakemake(script, name):
    setattr(script, name, "some")
    assert script.get_preamble() == "Snakemake's"


@pytest.mark.parametrize("name", ["path", "is_local", "log", "params", "config"])
def test_another_snakemake_starts_scripts_itself(script, name):
    """A later version may keep a job's values elsewhere."""
    setattr(script, name, None)
    assert script.get_preamble() == "Snakemake's"


@pytest.mark.parametrize("value", [float("nan"), float("inf"), Path("a"), {1, 2}, 1j])
def test_jobs_with_values_of_other_kinds_are_left_to_snakemake(script, value):
    script.params = Params(fromdict={"deep": [{"value": value}]})
    assert script.get_preamble() == "Snakemake's"


def test_values_become_plain():
    given = Params(fromdict={"text": InputFiles(["a"])[0], "deep": {"x": [InputFiles(["b", "c"]), (1, None)]}})
    found = plain(dict(given.items()))
    assert found == {"text": "a", "deep": {"x": [["b", "c"], (1, None)]}}
    assert type(found["deep"]["x"][0]) is list
    assert type(found["text"]) is str
