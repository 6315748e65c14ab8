"""`slidemill estimate` before any store is written."""

import os
import sys
from pathlib import Path

import pytest

from slidemill.cli import _estimate
from slidemill.cli.commands import main
from slidemill.core.csv_tables import read_cohort_table

pytestmark = pytest.mark.long


@pytest.fixture
def estimate(project, monkeypatch, capfd):
    """Run the command on a project without stores; return its exit code and what it printed."""
    project.config |= {"stores": {}, "annotations": None}
    project.add("a.svs", annotated=False)
    project.add("b.svs", 2, annotated=False)
    monkeypatch.chdir(project.folder)
    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")

    def run(*arguments):
        project._arguments((), True, 2, None)  # writes the configuration
        code = main(["estimate", "--config", "config.yaml", "--cores", "2", *arguments])
        return code, capfd.readouterr().out

    return run


def test_an_estimate_is_printed_each_time_and_measured_once(project, estimate):
    code, out = estimate()
    assert code == 0
    assert "Recommended: " in out
    assert "stores: {" in out
    assert not (project.results / "stores").exists()
    assert not (project.results / ".measured").exists()
    rows = list(read_cohort_table(project.results / "estimate.csv"))
    assert {row["patches"] for row in rows} == {"144"}
    measured = (project.results / "estimate.csv").stat().st_mtime_ns
    code, out = estimate()
    assert code == 0
    assert "Recommended: " in out
    assert (project.results / "estimate.csv").stat().st_mtime_ns == measured
    damaged = project.results / "estimate.csv"
    damaged.write_text(damaged.read_text().replace("lmdb", "hdf5", 1))
    code, out = estimate("--results", str(project.results))
    assert code == 1


def test_without_a_checkout_the_command_names_what_is_missing(monkeypatch, capsys, tmp_path):
    monkeypatch.setattr(_estimate, "SNAKEFILE", tmp_path / "Snakefile")
    assert main(["estimate"]) == 1
    assert (
        "this installation has only the package, without the workflow: clone the repository" in capsys.readouterr().err
    )
    assert main(["estimate", "--cores", "0"]) == 1


def test_a_wrong_configuration_is_refused_before_snakemake_starts(capfd, tmp_path):
    assert main(["estimate", "--config", str(tmp_path / "nowhere.yaml")]) == 1
    said = capfd.readouterr().err
    assert said == f"slidemill: {tmp_path / 'nowhere.yaml'}: this configuration does not exist: correct its path\n"
