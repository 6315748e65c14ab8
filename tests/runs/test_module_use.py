"""Use of the workflow as a module, without Snakemake's runs."""

from types import SimpleNamespace

import pytest
from snakemake.path_modifier import PathModifier

from slidemill.runs.module_use import module_config, module_prefix, record_plan

NO_STORAGE = SimpleNamespace(storage_settings=SimpleNamespace(default_storage_provider=None))


def modifier(*prefixes):
    """The modifier of modules in modules, the outermost first."""
    found = None
    for prefix in prefixes:
        found = PathModifier(None, prefix, NO_STORAGE, found)
    return SimpleNamespace(is_main_snakefile=lambda: not prefixes, path_modifier=found)


@pytest.mark.parametrize(
    ("prefixes", "expected"),
    [((), None), ((None,), ""), (("out",), "out"), (("a/b/", "c"), "a/b/c"), (("/data/out",), "/data/out")],
)
def test_prefix_is_that_of_snakemake(prefixes, expected):
    assert module_prefix(modifier(*prefixes)) == expected


def test_results_are_the_prefix(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    given = {"slides": "s"}
    assert module_config(given, "out") == {"slides": "s", "results": "out"}
    assert given == {"slides": "s"}
    assert module_config(given | {"results": str(tmp_path / "out")}, "out")["results"] == "out"


@pytest.mark.parametrize(("values", "prefix"), [({}, ""), ({"results": "other"}, "out")])
def test_module_without_its_own_folder_is_refused(values, prefix):
    with pytest.raises(SystemExit, match="prefix"):
        module_config(values, prefix)


@pytest.mark.parametrize("dry", [True, False])
def test_plan_is_recorded_unless_dry(tmp_path, monkeypatch, dry):
    written = []
    monkeypatch.setattr("slidemill.runs.module_use.write_plan", lambda *given: written.append(given))
    run = SimpleNamespace(plan=lambda: "plan", config=SimpleNamespace(results=tmp_path))
    plugin = SimpleNamespace(common_settings=SimpleNamespace(dryrun_exec=dry))
    execute = record_plan(lambda *given, **settings: (given, settings), run)
    assert execute(1, executor_plugin=plugin) == ((1,), {"executor_plugin": plugin})
    assert written == ([] if dry else [("plan", tmp_path)])
