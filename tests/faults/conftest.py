"""Cheap runs over bad input: the stages called one after another in this process, and none of Snakemake."""

import ctypes
import os
import shutil
import subprocess
import sys
import tempfile
import traceback
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path

import pytest
import yaml

from slidemill.config.configuration import read_config
from slidemill.core.csv_tables import read_table
from slidemill.core.results_layout import CohortTables, store_path
from slidemill.core.specs import WorkSpec
from slidemill.datasets.slide_records import ReadingChoice
from slidemill.errors import SlidemillError
from slidemill.runs.planning import list_slides
from slidemill.sampling.label_filter import LabelChoice
from slidemill.sampling.patch_selection import Choice, GivenPlaces
from slidemill.slides.discovery import decode_path
from slidemill.slides.fingerprint import fingerprint
from slidemill.stages.discover import DiscoverJob, discover_slide
from slidemill.stages.draw import DrawJob, draw_slide
from slidemill.stages.gate import GateJob, require_success
from slidemill.stages.gather import GatherJob, gather_results
from slidemill.stages.label import LabelJob, label_patches
from slidemill.stages.sample import SampleJob, sample_patches
from slidemill.stages.store import StoreJob, store_patches
from slidemill.stages.validate import ValidateJob, validate_stores
from slidemill.stores.registry import open_store
from slidemill.testing import write_annotation, write_svs
from tests.conftest import AREAS, ROOT, painted
from tests.tiffs import STRUCTURES, write

STRUCTURE = next(one for one in STRUCTURES if one.compression == "jpeg" and one.tile == (128, 128))


@cache
def schema(name):
    return yaml.safe_load((ROOT / "workflow/schemas" / f"{name}.schema.yaml").read_text(encoding="utf-8"))


@cache
def picture():
    return painted(512, 384)


@cache
def good_bytes():
    """A whole slide, small: 512 x 384 pixels, in 12 tiles of 128 pixels."""
    path = Path(os.environ.get("TMPDIR", "/tmp")) / f"slidemill-good-{os.getpid()}.svs"
    try:
        write_svs(path, picture(), downsamples=(1,), tile=128)
        return path.read_bytes()
    finally:
        path.unlink(missing_ok=True)


def damaged(path, damage):
    """Write a slide whose tiles `damage`, ``(number, bytes) -> bytes``, has changed."""
    write(path, picture(), STRUCTURE, damage)


def placed(folder, name, content=None):
    """Write a file of any name, in bytes or not, and return its path; a good slide unless told what it holds."""
    path = Path(os.fsdecode(os.fsencode(folder) + b"/" + os.fsencode(name)))
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(good_bytes() if content is None else content)
    return path


class Cohort:
    """A folder of slides, its annotations and results, and the stages that take it from one to the other."""

    def __init__(self, folder):
        self.folder = Path(folder)
        self.slides, self.annotations, self.results = (
            self.folder / name for name in ("slides", "annotations", "results")
        )
        for made in (self.slides, self.annotations, self.results):
            made.mkdir(exist_ok=True)
        self.config = {
            "slides": str(self.slides),
            "annotations": str(self.annotations),
            "results": str(self.results),
            "sampling": {"patch_size": 128, "level": 0},
            "tissue": {"method": "none"},
            "labels": {"map": {"Normal": 0, "Benign": 1}, "unannotated": "outside"},
            "stores": {"lmdb": {"encoding": "zstd"}},
            "validation": {"sample": 2},
        }

    def add(self, name, content=None):
        return placed(self.slides, name, content)

    def annotate(self, stem, text=None):
        file = self.annotations / f"{stem}.xml"
        if text is None:
            write_annotation(file, AREAS)
        else:
            file.write_bytes(text if isinstance(text, bytes) else text.encode())
        return file

    def plan(self):
        """Look at the configuration and the slides as the Snakefile does, fingerprints too."""
        # A folder without an annotation is refused: where a test writes none, it has none.
        bare = {} if any(self.annotations.iterdir()) else {"annotations": None}
        self.checked = read_config(self.config | bare, base=self.folder)
        self.listed, self.remarks = list_slides(self.checked, schema("slides"))
        self.prints = {one.slide: fingerprint(self.checked.root / decode_path(one.path)) for one in self.listed}
        self.marks = {
            one.slide: fingerprint(self.checked.annotations_root / decode_path(one.annotation))
            if one.annotation
            else None
            for one in self.listed
        }
        return self.listed

    def place(self, kind, slide, end="json"):
        return self.results / kind / f"{slide}.{end}"

    def discover(self, one):
        discover_slide(
            DiscoverJob(
                root=self.checked.root,
                slide=one.slide,
                path=one.path,
                fingerprint=self.prints[one.slide],
                limit_bounds=self.checked.sampling.limit_bounds,
                facts=self.place("slides", one.slide),
            )
        )

    def sample(self, one):
        labels = LabelChoice(self.checked.annotations_root, one.annotation, self.marks[one.slide], self.checked.labels)
        policy, folder, given = self.checked.unannotated, self.checked.coordinates, None
        if folder:
            path = folder / decode_path(one.coordinates) if one.coordinates else None
            given = GivenPlaces(path, path and fingerprint(path), self.checked.stated, folder)
        choice = Choice(
            self.checked.sampling,
            self.checked.tissue,
            labels=labels if labels.spec.only else None,
            unannotated=None if one.annotation or policy == "outside" else policy,
            given=given,
        )
        sample_patches(
            SampleJob(
                root=self.checked.root,
                facts=self.place("slides", one.slide),
                choice=choice,
                table=self.place("patches", one.slide, "csv"),
                dropped=self.place("dropped", one.slide, "csv"),
                outcome=self.place("outcomes/sample_patches", one.slide),
                mask=self.mask(one),
            )
        )

    def mask(self, one):
        return self.place("tissue", one.slide, "png") if self.checked.tissue.method != "none" else None

    def label(self, one):
        label_patches(
            LabelJob(
                root=self.checked.annotations_root,
                annotation=one.annotation,
                fingerprint=self.marks[one.slide],
                labels=self.checked.labels,
                columns=one.columns,
                patches=self.place("patches", one.slide, "csv"),
                sampled=self.place("outcomes/sample_patches", one.slide),
                table=self.place("metadata", one.slide, "csv"),
                outcome=self.place("outcomes/write_metadata", one.slide),
                seed=0,
            )
        )

    def store(self, one, backend):
        store_patches(
            StoreJob(
                root=self.checked.root,
                patches=self.place("patches", one.slide, "csv"),
                sampled=self.place("outcomes/sample_patches", one.slide),
                backend=backend,
                settings=self.checked.stores[backend],
                grid=self.checked.sampling,
                work=WorkSpec(self.checked.reader, 2, 0, True),
                store=self.results / store_path(backend, one.slide),
                outcome=self.place(f"outcomes/store_patches/{backend}", one.slide),
                icc=self.checked.icc,
            )
        )

    def validate(self, one):
        backends = list(self.checked.stores)
        validate_stores(
            ValidateJob(
                root=self.checked.root,
                patches=self.place("patches", one.slide, "csv"),
                stored=[self.place(f"outcomes/store_patches/{backend}", one.slide) for backend in backends],
                stores={backend: self.results / store_path(backend, one.slide) for backend in backends},
                grid=self.checked.sampling,
                spec=self.checked.validation,
                seed=0,
                threads=2,
                table=self.place("validation", one.slide, "csv"),
                outcome=self.place("outcomes/validate_stores", one.slide),
                icc=self.checked.icc,
            )
        )

    def draw(self, one):
        draw_slide(
            DrawJob(
                slides=self.checked.root,
                annotations=self.checked.annotations_root,
                annotation=one.annotation,
                seed=0,
                labelled=self.place("outcomes/write_metadata", one.slide),
                metadata=self.place("metadata", one.slide, "csv"),
                dropped=self.place("dropped", one.slide, "csv"),
                store=next((self.results / store_path(name, one.slide) for name in self.checked.stores), None),
                overlay=self.place("figures/overlay", one.slide, "jpg"),
                montage=self.place("figures/montage", one.slide, "jpg"),
                mask=self.mask(one),
                labels=self.checked.labels,
                grid=self.checked.sampling,
            )
        )

    def stages(self):
        """Yield each stage of each slide, to be called."""
        for one in self.listed:
            yield lambda one=one: self.discover(one)
            yield lambda one=one: self.sample(one)
            yield lambda one=one: self.label(one)
            for backend in self.checked.stores:
                yield lambda one=one, backend=backend: self.store(one, backend)
            if self.checked.stores:
                yield lambda one=one: self.validate(one)

    def gather(self):
        ids = [one.slide for one in self.listed]
        stored = [f"outcomes/store_patches/{backend}" for backend in self.checked.stores]
        gather_results(
            GatherJob(
                labelled=[self.place("outcomes/write_metadata", slide) for slide in ids],
                stored=[self.place(kind, slide) for kind in stored for slide in ids],
                metadata=[self.place("metadata", slide, "csv") for slide in ids],
                validation=[self.place("validation", slide, "csv") for slide in ids if self.checked.stores],
                skip_unreadable=self.checked.unreadable_patches == "skip",
                tables=CohortTables.below(self.results),
                reading=ReadingChoice(self.checked.root, self.checked.reader, self.checked.icc),
            )
        )

    def table(self, name):
        return list(read_table(self.results / f"{name}.csv"))

    def run(self):
        """Run all stages, and return the rows of slides.csv by path; `verdict` holds what the gate says."""
        self.plan()
        for stage in self.stages():
            stage()
        self.gather()
        try:
            require_success(
                GateJob(
                    slides=self.results / "slides.csv",
                    validation=self.results / "validation.csv",
                    max_failed=self.checked.max_failed,
                    unmapped=self.checked.unmapped,
                )
            )
            self.verdict = ""
        except SlidemillError as error:
            self.verdict = str(error)
        return {row["path"]: row for row in self.table("slides")}

    def stored(self, slide):
        """The ids of the patches that each store of a slide holds."""
        found = {}
        for backend in self.checked.stores:
            with open_store(self.results / store_path(backend, slide)) as store:
                found[backend] = list(store.ids)
        return found


@pytest.fixture
def cohort(tmp_path):
    """A cohort that has a good slide, which no bad one may harm."""
    made = Cohort(tmp_path)
    made.add("good.svs")
    return made


@dataclass(frozen=True)
class Ended:
    """How a process ended, and what it printed."""

    returncode: int
    stdout: str
    stderr: str


def apart(code, powers=True):
    """Run Python code in a child of this process; without root's powers, should it have them, permissions count."""
    with tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as complaints:
        child = os.fork()
        if not child:
            status = 70
            try:
                os.dup2(out.fileno(), 1)
                os.dup2(complaints.fileno(), 2)
                sys.stdout, sys.stderr = (open(number, "w", 1, closefd=False) for number in (1, 2))  # noqa: SIM115
                if not powers:
                    drop_powers()
                status = _status(code)
                sys.stdout.flush()
                sys.stderr.flush()
            finally:
                os._exit(status)
        ended = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        out.seek(0)
        complaints.seek(0)
        return Ended(ended, out.read(), complaints.read())


def _status(code):
    """Run code, and return the status that Python would end with."""
    try:
        exec(code, {})
    except SystemExit as error:
        print(error.code, file=sys.stderr)
        return 1
    except BaseException:
        traceback.print_exc()
        return 1
    return 0


def drop_powers():
    """Give up all of Linux's capabilities, which let root pass over permissions; see capset(2)."""
    header = (ctypes.c_uint32 * 2)(0x2008_0522, 0)
    nothing = (ctypes.c_uint32 * 6)()
    if ctypes.CDLL(None, use_errno=True).capset(header, nothing):
        raise OSError(ctypes.get_errno(), "capset")


@pytest.fixture
def bound():
    """Runs code as one whom permissions bind, which root is not."""
    if os.geteuid() == 0 and not hasattr(ctypes.CDLL(None), "capset"):
        pytest.skip("runs as root, whom permissions do not bind, and this system has no capset to give that up")
    return partial(apart, powers=os.geteuid() != 0)


@contextmanager
def mounted(folder, megabytes):
    """Mount a small disk at `folder`, or skip the test where that is not allowed."""
    folder.mkdir()
    mount = shutil.which("mount") and subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={megabytes}m", "none", str(folder)], capture_output=True
    )
    if not mount or mount.returncode:
        pytest.skip(f"a disk of {megabytes} MB cannot be mounted here: that takes root, and mount allowed")
    try:
        yield folder
    finally:
        subprocess.run(["umount", str(folder)], check=True)


@pytest.fixture
def small_disk(tmp_path):
    """A disk of 2 MB."""
    with mounted(tmp_path / "disk", 2) as folder:
        yield folder
