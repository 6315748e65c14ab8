"""The race runs, on a slide that takes a second: its own entrants and its limits; rivals need environments."""

import json
import subprocess
import sys

import pytest
from benchmarks import scores
from benchmarks.entrants import ENTRANTS, LEFT_OUT

from slidemill.testing import write_svs
from tests.conftest import ROOT, painted

pytestmark = pytest.mark.long

NAMES = ["read", "read-openslide", "lmdb-raw", "lmdb-source-job", "openslide", "limit-decode", "limit-copy"]


@pytest.mark.skipif(sys.platform != "linux", reason="memory is read from /proc")
def test_the_race_measures_and_compares_pixels(tmp_path):
    slide = tmp_path / "small.svs"
    write_svs(slide, painted(1030, 777), tile=128)
    command = [sys.executable, "-m", "benchmarks.race", "--slide", slide, "--out", tmp_path / "out", "--repeats", "1"]
    command += ["--patch-size", "100", "--only", ",".join(NAMES)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    page = (tmp_path / "out" / "race.md").read_text(encoding="utf-8")
    assert "not raced" not in page.split("## Bars")[0]
    found = json.loads((tmp_path / "out" / "race.json").read_text(encoding="utf-8"))
    text = json.dumps(found)
    assert all(name in text for name in NAMES)
    for title in ("slidemill: into LMDB, raw", "OpenSlide: loop of read_region", "limit: decoding each tile"):
        row = next(line for line in page.splitlines() if line.startswith(f"| {title}"))
        assert row.rstrip(" |").endswith("yes"), row


def test_the_table_names_tools_that_are_not_raced():
    lines = scores.table(scores.Scores(2), list(ENTRANTS)).splitlines()
    assert [name for name in LEFT_OUT if not any(line.startswith(f"| {name} | not raced: ") for line in lines)] == []
    assert not any("not raced" in line for line in scores.table(scores.Scores(2), ["read"]).splitlines())
