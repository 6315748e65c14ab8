"""The example that trains a network on the demo's labels."""

import re
import subprocess
import sys

import pytest
import yaml

from tests.conftest import ROOT

torch = pytest.importorskip("torch", reason="PyTorch is not installed: pip install torch")


@pytest.mark.long
def test_a_small_network_learns_the_demos_labels(tmp_path, capsys):
    """At least 98 % of the patches of a slide that it has not seen, with a line for each epoch."""
    import make_demo_slides
    import train_demo

    make_demo_slides.main(tmp_path)
    config = yaml.safe_load((ROOT / "config" / "demo.yaml").read_text(encoding="utf-8"))
    config |= {"slides": str(tmp_path / "slides"), "annotations": str(tmp_path / "annotations")}
    config |= {"results": str(tmp_path / "results"), "stores": {"lmdb": {}}, "benchmark": {"patches": 8, "repeats": 1}}
    (tmp_path / "demo.yaml").write_text(yaml.safe_dump(config), encoding="utf-8")
    command = [sys.executable, "-m", "snakemake", "--snakefile", str(ROOT / "workflow" / "Snakefile")]
    command += ["--cores", "2", "--configfile", str(tmp_path / "demo.yaml")]
    subprocess.run(command, cwd=tmp_path, check=True, capture_output=True)
    assert train_demo.main(tmp_path / "results") >= 0.98
    said = capsys.readouterr().out
    assert re.findall(r"^epoch +(\d+) of 25: loss \d\.\d{3}, ", said, re.MULTILINE) == [str(n + 1) for n in range(25)]
