"""Real runs of Snakemake, on slides small enough for a run to take seconds."""

import os
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml

from slidemill.testing import write_annotation, write_svs
from tests.conftest import AREAS, ROOT, painted
from tests.workflow import warm

SNAKEFILE = ROOT / "workflow" / "Snakefile"
QUICK = {"benchmark": {"patches": 6, "repeats": 1, "time_limit": 1}, "validation": {"sample": 4}}
THREE_STORES = {"lmdb": {"encoding": "raw"}, "hdf5": {"encoding": "raw"}, "disk": {"encoding": "png"}}


@dataclass(frozen=True)
class Finished:
    """What a run printed, how it ended, and what Snakemake wrote to its own log, which dry runs have not."""

    code: int
    text: str
    log: str = ""

    @property
    def jobs(self):
        """The rules that ran, or would, each with its slide where it has one."""
        found = set()
        for block in re.split(r"\n(?=\[|local|rule )", f"{self.text}\n{self.log}"):
            rule = re.search(r"^(?:local)?rule (\w+):$", block, re.MULTILINE)
            slide = re.search(r"wildcards: slide=(\S+)", block)
            if rule:
                found.add((rule[1], slide[1] if slide else None))
        return found

    @property
    def rules(self):
        return {rule for rule, _ in self.jobs}


class Project:
    """A folder of slides, its annotations, its results, and a configuration."""

    def __init__(self, folder):
        self.folder = Path(folder)
        self.slides = self.folder / "slides"
        self.annotations = self.folder / "annotations"
        self.results = self.folder / "results"
        self.slides.mkdir()
        self.annotations.mkdir()
        self.config = {
            "slides": str(self.slides),
            "annotations": str(self.annotations),
            "results": str(self.results),
            "sampling": {"patch_size": 64, "deepzoom_level": 10},
            "tissue": {"method": "none"},
            "labels": {"map": {"Normal": 0, "Benign": 1}, "unannotated": "outside"},
            "stores": THREE_STORES,
            **QUICK,
        }

    def add(self, name, seed=1, annotated=True):
        write_svs(self.slides / name, painted(620, 530, seed))
        if annotated:
            write_annotation(self.annotations / f"{Path(name).stem}.xml", AREAS)

    def start(self, *arguments, cwd=None, configured=True, cores=2, snakefile=SNAKEFILE, **process):
        """Start Snakemake; `process` is for `subprocess.Popen`."""
        return subprocess.Popen(
            [sys.executable, "-m", "snakemake", *self._arguments(arguments, configured, cores, snakefile)],
            cwd=cwd or self.folder,
            text=True,
            env=self._environment(),
            **{"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **process},
        )

    def _arguments(self, arguments, configured, cores, snakefile):
        """Write the configuration, and return Snakemake's arguments."""
        file = self.folder / "config.yaml"
        # A folder without an annotation is refused: where a test writes none, it has none.
        is_bare = self.config.get("annotations") == str(self.annotations) and not any(self.annotations.iterdir())
        bare = {"annotations": None} if is_bare else {}
        file.write_text(yaml.safe_dump(self.config | bare, sort_keys=False))
        own = ["--snakefile", str(snakefile), *(["--cores", str(cores)] if cores else []), *arguments]
        return [*own, *(["--configfile", str(file)] if configured else [])]

    def _environment(self):
        # The interpreter's own folder first, so that jobs run by the same Python.
        return {**os.environ, "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}

    def snakemake(self, *arguments, fresh=False, **options):
        """Run Snakemake, and return what it printed and how it ended.

        Parameters
        ----------
        arguments
            Arguments of Snakemake.
        fresh
            Whether a new interpreter runs it, and no fork of one that has loaded it.
        options
            As `start` takes them; those for `subprocess.Popen` need `fresh`.
        """
        logs = Path(options.get("cwd") or self.folder, ".snakemake", "log")
        before = set(logs.glob("*.log"))
        if fresh:
            run = self.start(*arguments, **options)
            out, complaints = run.communicate()
            code = run.returncode
        else:
            cwd, chosen = options.pop("cwd", None), {"configured": True, "cores": 2, "snakefile": SNAKEFILE, **options}
            code, out, complaints = warm.snakemake(
                self._arguments(arguments, **chosen), cwd or self.folder, self._environment()
            )
        written = sorted(set(logs.glob("*.log")) - before)
        log = "".join(path.read_text(encoding="utf-8", errors="backslashreplace") for path in written)
        return Finished(code, out + complaints, log)

    def plan(self, *arguments, **options):
        """The jobs of a dry run."""
        done = self.snakemake("--dry-run", *arguments, **options)
        assert done.code == 0, done.text
        return done


@pytest.fixture
def project(tmp_path):
    return Project(tmp_path)
