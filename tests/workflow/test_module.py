"""The workflow as a module of another Snakefile."""

import csv
import re

import numpy as np
import pytest
import yaml

from slidemill import open_dataset
from slidemill.cli.commands import main
from tests.conftest import ROOT
from tests.workflow.conftest import SNAKEFILE

pytestmark = pytest.mark.long

OTHER = """
configfile: "study.yaml"


rule all:
    input:
        "counts.txt",


module slidemill:
    snakefile:
        "{snakefile}"
    config:
        config["patches"]
    prefix:
        "out/large"


use rule * from slidemill as large_*


module smaller:
    snakefile:
        "{snakefile}"
    config:
        config["patches"] | {{"sampling": {{"patch_size": 32, "level": 0}}, "stores": {{"tar": {{}}}}}}
    prefix:
        "out/small"


use rule * from smaller as small_*


rule count:
    input:
        "out/large/passed/all",
        "out/large/stores/hdf5/all.h5",
        "out/small/passed/all",
        large="out/large/metadata.csv",
        small="out/small/metadata.csv",
    output:
        "counts.txt",
    shell:
        "wc -l < {{input.large}} > {{output}}; wc -l < {{input.small}} >> {{output}}"
"""


@pytest.fixture
def study(project):
    """Another workflow, which uses this one twice, and a function that runs it."""
    project.add("one.svs")
    project.add("two.svs", seed=2)
    own = {key: value for key, value in project.config.items() if key != "results"}
    # Relative to the other workflow's working directory.
    own |= {"slides": "slides", "annotations": "annotations", "splits": {"folds": 2}}
    own["stores"] = {"lmdb": {}, "hdf5": {}}
    (project.folder / "study.yaml").write_text(yaml.safe_dump({"patches": own}))
    (project.folder / "Snakefile").write_text(OTHER.format(snakefile=SNAKEFILE))
    project.config |= own

    def snakemake(*arguments):
        return project.snakemake(*arguments, snakefile=project.folder / "Snakefile", configured=False)

    return project, snakemake


def test_two_modules_run_in_one_workflow(study, capsys):
    """Both make whole results below their prefixes, and a rule of the other workflow reads them."""
    project, snakemake = study
    finished = snakemake()
    assert finished.code == 0, finished.text
    rows = {}
    for name, size in (("large", 64), ("small", 32)):
        results = project.folder / "out" / name
        with open_dataset(results) as dataset:
            rows[name] = len(dataset)
            assert dataset[0].pixels.shape == (size, size, 3)
        assert main(["verify", str(results)]) == 0
        assert (results / "report.html").exists()
        assert (results / "passed" / "all").exists()
    capsys.readouterr()
    counts = (project.folder / "counts.txt").read_text().split()
    assert [int(count) for count in counts] == [rows["large"] + 1, rows["small"] + 1]
    assert (project.folder / "out/large/splits.csv").exists()
    assert (project.folder / "out/large/stores/hdf5/all.h5").exists()
    assert list((project.folder / "out/small/stores").iterdir()) == [project.folder / "out/small/stores/tar"]
    # Nothing beside the prefixes.
    names = {path.name for path in project.folder.iterdir()}
    given = {"slides", "annotations", "Snakefile", "study.yaml", "config.yaml"}
    assert names == given | {"out", "counts.txt", ".snakemake"}
    again = snakemake("--dry-run")
    assert "Nothing to be done" in again.text
    with (project.folder / "out/large/slides.csv").open() as file:
        assert [row["status"] for row in csv.DictReader(file)] == ["ok", "ok"]
    # A run of its own makes the same.
    project.config["results"] = str(project.folder / "alone")
    finished = project.snakemake("validated")
    assert finished.code == 0, finished.text
    with open_dataset(project.folder / "out/large") as module, open_dataset(project.folder / "alone") as alone:
        assert module.table.equals(alone.table)
        np.testing.assert_array_equal(module.read(range(len(module))), alone.read(range(len(alone))))


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('prefix:\n        "out/large"', "", "the module has no prefix"),
        ('config["patches"]\n    prefix:\n        "out/large"', 'config["patches"] | {"results": "elsewhere"}\n'
         '    prefix:\n        "out/large"', "results is elsewhere, and the prefix of the module is out/large"),
        ('config["patches"]\n', 'config["patches"] | {"stoers": {}}\n', "stoers"),
    ],
    ids=["prefix", "results", "key"],
)  # fmt: skip
def test_module_refuses_wrong_use(study, old, new, message):
    project, snakemake = study
    file = project.folder / "Snakefile"
    file.write_text(file.read_text().replace(old, new, 1))
    done = snakemake("--dry-run")
    assert done.code == 1
    assert message in done.text
    assert "Traceback" not in done.text


def test_module_guide_plans(project):
    """The Snakefile and the configuration of the guide, with the command's profile, plan the whole work."""
    page = (ROOT / "docs" / "how-to" / "other-workflows.md").read_text(encoding="utf-8")
    (snakefile,) = re.findall(r"^```python\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)
    (config,) = re.findall(r"^```yaml\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)
    project.add("one.svs", annotated=False)
    (project.folder / "slidemill").symlink_to(ROOT)
    (project.folder / "Snakefile").write_text(snakefile)
    (project.folder / "study.yaml").write_text(config)
    (profile,) = re.findall(r"--workflow-profile (\S+)", page)
    assert (project.folder / profile / "config.yaml").is_file()
    planned = project.plan(
        "--workflow-profile", profile, snakefile=project.folder / "Snakefile", configured=False, fresh=True
    )
    assert planned.rules >= {"slidemill_discover_slides", "slidemill_gather_results", "slidemill_gate", "count"}
