"""Slides that the tests write: small pyramids with several levels, deterministic."""

import fcntl
import gc
import json
import os
import shutil
import subprocess
import sys
from collections import Counter
from functools import lru_cache
from pathlib import Path

import numpy as np
import pytest
from hypothesis import settings

from slidemill.testing import Scan, Tissue, paint, write_svs
from tests import examples  # noqa: F401, registers the profiles

ROOT = Path(__file__).parent.parent
NOTEBOOK = ROOT / "docs" / "tutorials" / "slidemill-in-ten-minutes.ipynb"
REAL_SLIDES = ROOT.parent / "shared" / "slides"
AREAS = [
    Tissue("Benign", (100, 120, 420, 400), 9.0, 6),
    Tissue("Carcinoma invasive", (500, 200, 900, 560), 22.0, 9),
]

settings.load_profile("quick")
# Without bytecode, each process that tests start compiles the package again.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
sys.dont_write_bytecode = False


def painted(width=1030, height=777, seed=1):
    """A picture whose sides are no multiple of anything, of which each test has its own copy."""
    return _painted(width, height, seed).copy()


@lru_cache(maxsize=16)
def _painted(width, height, seed):
    return paint(width, height, Tissue("Normal", (20, 20, width - 30, height - 20), 3.0, 5), areas=AREAS, seed=seed)


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items):
    """Leave all but the first and every tenth case of tests marked `cases` to `make check`."""
    seen = Counter()
    for item in items:
        if item.get_closest_marker("cases") and hasattr(item, "callspec"):
            test = item.nodeid.partition("[")[0]
            if seen[test] % 10:
                item.add_marker(pytest.mark.long)
            seen[test] += 1


def pytest_collection_finish():
    """Keep what collecting has left out of garbage collections, which each fork would copy it for."""
    gc.collect()
    gc.freeze()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item, call):
    """Names that are not UTF-8 stand in logs, and xdist's workers send captured logs as UTF-8."""
    report = yield
    report.sections = [(name, text.encode(errors="backslashreplace").decode()) for name, text in report.sections]
    return report


@pytest.fixture(scope="session")
def slide_file(tmp_path_factory):
    """An .svs of 1030 x 777 pixels, levels at 1, 4 and 16."""
    path = tmp_path_factory.mktemp("slides") / "small.svs"
    write_svs(path, painted())
    return path


@pytest.fixture(scope="session")
def flat_slide_file(tmp_path_factory):
    """An .svs of 2050 x 1537 pixels with one level, and neither mpp nor power."""
    path = tmp_path_factory.mktemp("slides") / "flat.svs"
    write_svs(path, painted(2050, 1537, seed=2), downsamples=(1,), scan=Scan(None, None), tile=240)
    return path


@pytest.fixture(scope="session")
def real_slide_file():
    path = REAL_SLIDES / "CMU-1-Small-Region.svs"
    if not path.exists():
        pytest.skip(f"the real slide is not at {path}")
    return path


@pytest.fixture(scope="session")
def noise():
    """Patches of noise, the hardest to compress: ``(count, size) -> uint8 (count, size, size, 3)``."""

    def make(count, size, seed=0):
        return np.random.default_rng(seed).integers(0, 256, (count, size, size, 3), np.uint8)

    return make


def once(tmp_path_factory, name, make):
    """Return a folder that one worker fills, whatever the number of workers; nobody may change it.

    Parameters
    ----------
    tmp_path_factory
        The session's.
    name
        The folder's name; each has one `make`.
    make
        A function that fills the folder that it is given.
    """
    base = tmp_path_factory.getbasetemp()
    common = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base
    folder, made = common / name, common / f"{name}.made"
    with (common / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not made.exists():
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir()
            make(folder)
            made.touch()
    return folder


def demo_at(folder):
    """Make the demo and its results as the notebook's first cell does where there are none."""
    cells = json.loads(NOTEBOOK.read_text(encoding="utf-8"))["cells"]
    code = "".join(next(cell["source"] for cell in cells if cell["cell_type"] == "code"))
    environment = os.environ | {"SLIDEMILL_RESULTS": os.devnull, "TMPDIR": str(folder)}
    subprocess.run([sys.executable, "-c", code], cwd=NOTEBOOK.parent, env=environment, capture_output=True, check=True)


@pytest.fixture(scope="session")
def demo_results(tmp_path_factory):
    """The results of the whole demo, which nobody changes."""
    (results,) = once(tmp_path_factory, "a demo", demo_at).glob("*/demo/results")
    return results


def site_at(folder):
    """Build the docs as a site in a folder, strictly."""
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(folder)]
    environment = os.environ | {"NO_MKDOCS_2_WARNING": "1"}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
