"""Runs that embed patches: files, tables, report and gate; what runs again, and what does not."""

import re

import h5py
import numpy as np
import pytest

from slidemill import open_features
from slidemill.cli.commands import main
from slidemill.core.csv_tables import read_table

pytest.importorskip("timm")
pytest.importorskip("torchvision")

from tests.features import tiny

pytestmark = pytest.mark.long

COHORT = {"gather_results", "benchmark_stores", "render_report", "gate", "all"}


def rows(project, name):
    return list(read_table(project.results / f"{name}.csv"))


def features(project, name="tiny"):
    return {path.stem: open_features(path) for path in sorted((project.results / f"features/{name}").iterdir())}


def test_run_embeds_patches_and_accounts_for_them(project, tmp_path, capsys):
    """From stores, then with another batch, other weights, and a second model; verify and prune know the files."""
    project.add("one.svs")
    project.add("two.svs", seed=2)
    weights = tiny.save_timm(tmp_path / "w.pth")
    model = {"model": "timm:resnet10t", "weights": str(weights), "batch": 5, "size": 64}
    project.config |= {"stores": {"lmdb": {}}, "features": {"tiny": model}, "device": "cpu"}
    finished = project.snakemake()
    assert finished.code == 0, finished.text
    assert "embed_patches_tiny" in finished.rules
    found = features(project)
    ids = [(slide, patch) for slide, file in found.items() for patch in file.patch_ids]
    assert ids == [(row["slide"], row["patch_id"]) for row in rows(project, "metadata")]
    for file in found.values():
        file.check()
        assert file.shape[1] == 512
    table = rows(project, "features")
    assert [(row["slide"], row["name"], int(row["rows"])) for row in table] == [
        (slide, "tiny", len(file)) for slide, file in found.items()
    ]
    checks = [row for row in rows(project, "validation") if row["backend"] == "features/tiny"]
    assert {row["check"] for row in checks} == {"opens", "count", "finite", "coordinates", "embedded again"}
    assert {row["status"] for row in checks} == {"ok"}
    page = (project.results / "report.html").read_text(encoding="utf-8")
    words = re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", page.partition("</style>")[2]))
    assert re.search(r"tiny timm:resnet10t 2 \d+ 512 [\d,.]+ cpu scaled to 0 to 1; mean", words)
    assert "first principal component" in words
    assert "Nothing to be done" in project.plan().text
    assert main(["verify", str(project.results)]) == 0
    capsys.readouterr()

    before = {slide: np.array(file.features()) for slide, file in found.items()}
    project.config["features"]["tiny"]["batch"] = 7
    project.config["device"] = "auto"
    assert "embed_patches_tiny" not in project.plan().rules

    tiny.save_timm(weights, seed=1)
    again = project.snakemake()
    assert again.code == 0, again.text
    assert again.rules - COHORT == {"embed_patches_tiny"}
    assert not any(np.array_equal(new.features(), before[slide]) for slide, new in features(project).items())

    damaged = next(iter(found.values())).path
    with h5py.File(damaged, "r+") as file:
        file["features"][0, 0] += 1
    assert main(["verify", str(project.results)]) != 0
    assert str(damaged.relative_to(project.results)) in "".join(capsys.readouterr())
    damaged.unlink()
    healed = project.snakemake()
    assert healed.code == 0, healed.text
    assert ("embed_patches_tiny", damaged.stem) in healed.jobs
    assert len([job for job in healed.jobs if job[0] == "embed_patches_tiny"]) == 1
    assert main(["verify", str(project.results)]) == 0

    project.config["features"] = {}
    removed = project.snakemake()
    assert removed.code == 0, removed.text
    assert main(["prune", str(project.results), "--delete"]) == 0
    assert not [path for path in project.results.rglob("*tiny*") if path.is_file()]
    assert not list((project.results / "outcomes").rglob("embed_patches/*/*.json"))
    assert not (project.results / "features.csv").exists()


def test_run_without_stores_embeds_slides_themselves(project):
    """The same features as from a lossless store."""
    project.add("one.svs")
    project.config |= {"stores": {}, "features": {"mean": {"model": "tests.features.tiny:mean"}}, "device": "cpu"}
    finished = project.snakemake()
    assert finished.code == 0, finished.text
    (direct,) = features(project, "mean").values()
    assert direct.manifest.source == "slides"
    rows = np.array(direct.features())  # the next run replaces the file
    project.config["stores"] = {"lmdb": {}, "disk": {"encoding": "jpeg"}}
    stored = project.snakemake()
    assert stored.code == 0, stored.text
    (other,) = features(project, "mean").values()
    assert other.manifest.source == "lmdb"
    assert np.array_equal(rows, other.features())
    assert np.array_equal(direct.coords, other.coords)


def test_slide_whose_features_are_nan_fails_and_others_go_on(project):
    project.add("one.svs")
    project.add("two.svs", seed=2)
    (project.slides / "broken.svs").write_bytes(b"not a slide")
    project.config |= {
        "stores": {"lmdb": {}},
        "features": {"dark": {"model": "tests.features.tiny:nan_where_dark"}},
        "device": "cpu",
        "max_failed": 1,
    }
    finished = project.snakemake()
    assert finished.code != 0
    failed = {row["slide"]: row for row in rows(project, "slides") if row["status"] == "failed"}
    stages = {row["stage"] for row in failed.values()}
    assert stages == {"discover_slides", "embed_patches"}
    assert "returns NaN or infinity for patch r" in finished.text
    assert {len(file) for slide, file in features(project, "dark").items() if slide in failed} == {0}


def test_faults_of_models_end_job_or_start_in_one_sentence(project, tmp_path):
    project.add("one.svs")
    weights = tiny.save_timm(tmp_path / "w.pth", "resnet14t")
    project.config |= {"stores": {}, "features": {"own": {"model": "timm:resnet10t", "weights": "missing.pth"}}}
    refused = project.snakemake()
    assert "features.own.weights is 'missing.pth': the file does not exist: correct the path" in refused.text
    project.config["features"]["own"]["weights"] = str(weights)
    finished = project.snakemake("--retries", "0")
    assert finished.code != 0
    assert "it does not fit timm:resnet10t" in finished.text


def test_plan_requests_a_gpu_unless_on_the_cpu(project):
    """Slurm's plugin makes `--gpus` of the resource; no other job requests one."""
    project.add("one.svs")
    project.config |= {"stores": {}, "features": {"mean": {"model": "tests.features.tiny:mean"}}}
    for device, expected in (("auto", 1), ("cuda:1", 1), ("cpu", 0)):
        project.config["device"] = device
        assert project.plan("--verbose").text.count("gpu=1") == expected
