"""The page for those who come from py-wsi: its snippets run, and its configuration is one."""

import re
import warnings

import yaml

from slidemill.cli.commands import main
from slidemill.config.configuration import read_config
from slidemill.core.specs import StoreSpec
from tests.conftest import ROOT

PAGE = (ROOT / "docs" / "how-to" / "coming-from-py-wsi.md").read_text(encoding="utf-8")


def blocks(language):
    return re.findall(rf"^```{language}\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)


def test_the_snippets_run_one_after_another(results, truth, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "results").symlink_to(results)
    assert main(["export", "results", "patches.h5", "--backend", "hdf5"]) == 0
    found = {}
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*class.*")
        for snippet in blocks("python"):
            exec(snippet, found)
    assert (found["patches"] == truth[: len(found["patches"])]).all()
    assert found["corners"].shape == found["places"].shape == (len(found["classes"]), 2)
    assert {*found["train"].slides} | {*found["valid"].slides} == {*found["ds"].slides}
    assert len(found["valid"].slides) == 1
    assert (found["pixels"] == truth[:10]).all()
    assert len(found["labels"]) == 10


def test_the_configuration_is_one(tmp_path):
    (block,) = blocks("yaml")
    config = read_config(yaml.safe_load(block), tmp_path)
    assert config.stores == {"lmdb": StoreSpec("raw")}
    assert (config.labels.rule, config.tissue.method, config.sampling.deepzoom_level) == ("top_left", "none", 16)


def test_page_shows_the_configuration_that_comes_along(tmp_path):
    """But for folders and the label map."""
    (block,) = blocks("yaml")
    own = {"slides": "s", "annotations": None, "results": "r"}
    file = yaml.safe_load((ROOT / "config" / "pywsi.yaml").read_text(encoding="utf-8")) | own
    page = yaml.safe_load(block) | own
    page["labels"]["map"] = file["labels"]["map"]
    assert read_config(page, tmp_path) == read_config(file, tmp_path)
    assert "config/pywsi.yaml" in PAGE
