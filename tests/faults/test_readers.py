"""Faults of the machine while stores are read: never called damage, and no good store is named for removal."""

import ast
import errno
import pickle
import re
from pathlib import Path

import numpy as np
import pytest

import slidemill
from slidemill.core.child_process import ChildCrashedError, ChildProcess
from slidemill.core.pyramid import Pyramid
from slidemill.core.results_layout import SUFFIXES, store_path
from slidemill.core.specs import GridSpec, StoreSpec
from slidemill.datasets.folds import SlideFold, Splits
from slidemill.errors import MachineError, SlidemillError, StoreError, machine_error
from slidemill.slides.grid import Grid
from slidemill.stages.store import new_manifest
from slidemill.stores.checks import Expected, check_in_child
from slidemill.stores.registry import STORES, open_store
from slidemill.stores.writer import write_store
from tests.faults.conftest import apart
from tests.results import FINGERPRINT, PATCHES, SIZE, write_a_store, write_slide, write_tables
from tests.stores.contract import as_stored

pytestmark = pytest.mark.cases

BLAME = re.compile(r"remove|damaged|truncated|missing|store (the slide|it) again|is not a store")
"""What may not be said of a good store."""

READ = """
import os, resource
from pathlib import Path
from slidemill.errors import MachineError
from slidemill.stores.registry import open_store

path, paths = Path({path!r}), {paths!r}
def read():
    with open_store(path) as store:
        store.read_bytes(store.ids[0])
        return store.read_many(store.ids).sum(), store.stored_ids(), store.index_digest()

whole = read()
for room in {rooms!r}:
    {limit}
    try:
        got = read()
        assert got == whole
        said = "whole"
    except MachineError as error:
        said = str(error)
    {free}
    print(room, said)
"""

FILES = {
    "limit": """resource.setrlimit(resource.RLIMIT_NOFILE, (128, 1024))
    held = []
    try:
        while True:
            held.append(os.open("/dev/null", os.O_RDONLY))
    except OSError:
        for _ in range(room):
            os.close(held.pop())""",
    "free": "[os.close(one) for one in held]",
}
MEMORY = {
    "limit": """used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + room, -1))""",
    "free": "resource.setrlimit(resource.RLIMIT_AS, (-1, -1))",
}


def large_store(folder, backend):
    """A store of one patch of 50 MB, for which there is no room in little memory."""
    grid = GridSpec(4096, level=0)
    patches = list(Grid(Pyramid(((4096, 4096),), (1.0,)), grid).patches())
    manifest = new_manifest(STORES[backend], StoreSpec("raw"), "large", fingerprint=FINGERPRINT, grid=grid)
    path = folder / f"large{SUFFIXES[backend]}"
    pixels = [np.full((4096, 4096, 3), 7, np.uint8)]
    write_store(
        STORES[backend], path, manifest, patches=patches, stored=as_stored(manifest, zip(patches, pixels, strict=True))
    )
    return path


@pytest.mark.parametrize("backend", STORES)
def test_reader_without_free_files_blames_no_store(tmp_path, noise, backend):
    path = tmp_path / f"s{SUFFIXES[backend]}"
    write_a_store(backend, path, "raw", noise(len(PATCHES), SIZE))
    done = apart(READ.format(path=str(path), paths=[], rooms=range(8), **FILES))
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert lines[0].startswith(f"0 {path}: Too many open files: raise `ulimit -n`")
    assert lines[-1] == "7 whole"
    assert not BLAME.search(done.stdout)


@pytest.mark.parametrize("backend", STORES)
def test_reader_without_memory_blames_no_store(tmp_path, backend):
    path = large_store(tmp_path, backend)
    rooms = [megabytes << 20 for megabytes in (1, 4, 16, 40, 60, 90, 400)]
    done = apart(READ.format(path=str(path), paths=[], rooms=rooms, **MEMORY))
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert "memory" in lines[0]
    assert lines[-1] == f"{rooms[-1]} whole"
    assert not BLAME.search(done.stdout)


READ_TABLES = """
import resource
from pathlib import Path
from slidemill import open_dataset, read_metadata, read_splits
from slidemill.errors import MachineError

results = Path({results!r})
kinds = (
    lambda: open_dataset(results, "disk").read([0, 1]),
    lambda: read_metadata(results),
    lambda: read_splits(results / "splits.csv"),
    lambda: open_dataset(results, "lmdb").read([0] * 200_000),
)
{first}
for room in {rooms!r}:
    for number, read in enumerate(kinds[: {kinds}]):
        {limit}
        try:
            read()
            said = "whole"
        except MachineError as error:
            said = str(error)
        {free}
        print(number, room >> 20, said, flush=True)
"""


@pytest.mark.parametrize("is_first", [True, False])
@pytest.mark.long
def test_dataset_without_memory_blames_no_file(results, is_first):
    """Libraries are loaded by the first reader, or have been before."""
    rows = [SlideFold(slide, FINGERPRINT, slide, fold, len(PATCHES)) for fold, slide in enumerate(("one", "two"))]
    Splits("slide", None, 0, rows).save(results / "splits.csv")
    rooms = [megabytes << 20 for megabytes in (0, 1, 4, 16, 64)]
    limits = {name: text.replace("\n", "\n    ") for name, text in MEMORY.items()}
    first = "" if is_first else "[read() for read in kinds[:3]]"
    asked = {"results": str(results), "rooms": rooms, "first": first, "kinds": 3 if is_first else 4}
    done = apart(READ_TABLES.format(**asked, **limits))
    assert done.returncode == 0, done.stderr
    assert "Cannot allocate memory: free memory" in done.stdout
    assert not BLAME.search(done.stdout)


FORBIDDEN = """
from pathlib import Path
from slidemill.stores.checks import Expected, check_store
from slidemill.errors import MachineError
from slidemill.stores.registry import open_store
for work in (open_store, lambda path: check_store(path, Expected("slide", {backend!r}))):
    try:
        print("read", work(Path({path!r})))
    except MachineError as error:
        print(error)
"""


@pytest.mark.parametrize("what", ["itself", "the folder above"])
@pytest.mark.parametrize("backend", STORES)
def test_reader_without_permission_blames_no_store(tmp_path, noise, bound, backend, what):
    path = tmp_path / "above" / f"s{SUFFIXES[backend]}"
    write_a_store(backend, path, "raw", noise(len(PATCHES), SIZE))
    locked = path if what == "itself" else path.parent
    locked.chmod(0)
    try:
        done = bound(FORBIDDEN.format(path=str(path), backend=backend))
    finally:
        locked.chmod(0o755)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert len(lines) == 2
    for line in lines:
        assert line.startswith(f"{path}: Permission denied to user ")
        assert line.endswith("change its permissions or owner, or those of the folders above it")


def test_patch_without_permission_blames_no_store(tmp_path, noise, bound):
    path = tmp_path / "s"
    write_a_store("disk", path, "png", noise(len(PATCHES), SIZE))
    (path / f"{PATCHES[2].patch_id}.png").chmod(0)
    code = FORBIDDEN.replace("(open_store,", "(lambda path: open_store(path).read_many(open_store(path).ids),")
    done = bound(code.format(path=str(path), backend="disk"))
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("Permission denied to user") == 2
    assert not BLAME.search(done.stdout)


@pytest.fixture
def results(tmp_path, noise):
    """Results of two slides, as a run leaves them."""
    folder = tmp_path / "results"
    for seed, slide in enumerate(("one", "two")):
        write_slide(folder, slide, noise(len(PATCHES), SIZE, seed))
    write_tables(folder, {"one": "ok", "two": "ok"})
    return folder


VERIFY = """
import os, resource
from pathlib import Path
from slidemill.cli.commands import main
for room in {rooms!r}:
    {limit}
    ended = main(["verify", {results!r}, "--jobs", "1"])
    {free}
    print("ended", ended, flush=True)
"""


@pytest.mark.long
def test_verify_without_free_files_blames_no_store(results):
    done = apart(VERIFY.format(results=str(results), rooms=range(0, 24), **FILES))
    assert done.returncode == 0, done.stderr
    said = done.stdout + done.stderr
    assert "cannot be checked: one: " in said
    assert "Too many open files: raise `ulimit -n`" in said
    assert not BLAME.search(said)
    ended = [line for line in done.stdout.splitlines() if line.startswith("ended")]
    assert set(ended[:-1]) <= {"ended 1", "ended 75", "ended 0"}
    assert "ended 75" in ended
    assert ended[-1] == "ended 0"


@pytest.mark.long
@pytest.mark.parametrize("backend", SUFFIXES)
def test_verify_without_permission_looks_at_the_others(results, bound, backend):
    path = results / store_path(backend, "one")
    victim = results / store_path("disk", "two") / f"{PATCHES[1].patch_id}.png"
    whole = victim.read_bytes()
    victim.write_bytes(whole[:-20] + b"?" + whole[-19:])
    path.chmod(0)
    code = f"from slidemill.cli.commands import main\nprint('ended', main(['verify', {str(results)!r}]))"
    try:
        done = bound(code)
    finally:
        path.chmod(0o755)
    assert done.stdout.splitlines()[-1] == "ended 1", "the other slide's store is damaged"
    assert str(victim.parent) in done.stdout
    assert str(path) not in done.stdout
    assert f"cannot be checked: one: {path}: Permission denied to user" in done.stderr
    victim.write_bytes(whole)
    path.chmod(0)
    try:
        done = bound(code)
    finally:
        path.chmod(0o755)
    assert done.stdout.splitlines()[-2:] == [
        "not everything could be checked, for the reasons above; what was checked is intact",
        "ended 75",
    ]


@pytest.mark.long
def test_verify_without_memory_blames_no_store(tmp_path):
    folder = tmp_path / "results"
    for backend in SUFFIXES:
        (folder / store_path(backend, "large")).parent.mkdir(parents=True)
        large_store(tmp_path, backend).rename(folder / store_path(backend, "large"))
    write_tables(folder, {"large": "failed"})
    rooms = [megabytes << 20 for megabytes in (24, 40, 60, 90)]
    done = apart(VERIFY.format(results=str(folder), rooms=rooms, **MEMORY))
    assert done.returncode == 0, done.stderr
    said = done.stdout + done.stderr
    assert "cannot be checked: large: " in said
    assert "Cannot allocate memory: free memory" in said
    assert not BLAME.search(said)


@pytest.mark.parametrize("backend", SUFFIXES)
def test_dataset_and_export_without_permission_blame_no_store(results, bound, backend):
    path = results / store_path(backend, "one")
    path.chmod(0)
    code = (
        "from slidemill import open_dataset\nfrom slidemill.cli.commands import main\n"
        "from slidemill.errors import MachineError\n"
        f"ds = open_dataset({str(results)!r}, {backend!r})\n"
        "try:\n    ds.read(range(len(ds)))\nexcept MachineError as error:\n    print(error)\n"
        f"print('ended', main(['export', {str(results)!r}, {str(results / 'out.tar')!r}, '--backend', {backend!r}]))"
    )
    try:
        done = bound(code)
    finally:
        path.chmod(0o755)
    assert done.stdout.splitlines()[0].startswith(f"{path}: Permission denied to user")
    assert done.stdout.splitlines()[-1] == "ended 1"
    assert f"slidemill: {path}: Permission denied to user" in done.stderr
    assert not BLAME.search(done.stdout + done.stderr)


@pytest.mark.parametrize("name", ["metadata.parquet", "stores.csv", "slides.csv", "metadata.csv"])
def test_table_without_permission_is_not_called_damaged(results, bound, name):
    (results / name).chmod(0)
    code = (
        "from slidemill import open_dataset, read_metadata\nfrom slidemill.cli.commands import main\n"
        "from slidemill.errors import MachineError\n"
        f"for read in (open_dataset, read_metadata, lambda results: main(['verify', results])):\n"
        f"    try:\n        read({str(results)!r})\n    except MachineError as error:\n        print(error)\n"
    )
    done = bound(code)
    assert done.returncode == 0, done.stderr
    said = done.stdout + done.stderr
    assert f"{results / name}: Permission denied to user" in said
    assert not BLAME.search(said)


class HiddenError(Exception):
    """An error of a library that keeps the number to itself."""


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (OSError(errno.EIO, "Input/output error"), errno.EIO),
        (OSError(errno.ESTALE, "Stale file handle"), errno.ESTALE),
        (OSError(errno.ENOTCONN, "Transport endpoint is not connected"), errno.ENOTCONN),
        (PermissionError(errno.EPERM, "Operation not permitted"), errno.EPERM),
        (OSError("Can't read data (file read failed: errno = 5, error message = 'Input/output error')"), errno.EIO),
        (OSError("[Errno 24] Failed to open local file. Detail: [errno 24] Too many open files"), errno.EMFILE),
        (RuntimeError("can't start new thread"), errno.EAGAIN),
        (HiddenError("a.svs: Too many open files"), errno.EMFILE),
        (MemoryError(), errno.ENOMEM),
        (ImportError("could not import name 'png_decode' from 'imagecodecs'"), errno.ENOEXEC),
        (ModuleNotFoundError("No module named 'pandas'"), None),
        (FileNotFoundError(errno.ENOENT, "No such file or directory"), None),
        (OSError("Unable to open file (truncated file: eof = 96, stored_eof = 2048)"), None),
        (ValueError("out of memory"), None),
        (StoreError("s.h5: HDF5 cannot open it (errno = 24)"), None),
    ],
    ids=lambda value: repr(value)[:50],
)
def test_machine_error_knows_what_libraries_hide(tmp_path, error, code):
    found = machine_error(error, tmp_path)
    assert (found and found.errno) == code
    if found:
        assert str(found).startswith(f"{tmp_path}: ")
        assert isinstance(found, SlidemillError)


def test_a_damaged_claim_to_memory_is_no_fault_of_the_machine(tmp_path, noise):
    """LMDB is refused the memory for as many pages as a damaged file says it has."""
    path = tmp_path / "s.lmdb"
    write_a_store("lmdb", path, "raw", noise(len(PATCHES), SIZE))
    data = bytearray(path.read_bytes())
    for page in (0, 4096):
        # The last page, in both of LMDB's heads: after a page's header, magic, version, address, size and two trees.
        place = page + 16 + 4 + 4 + 8 + 8 + 2 * 48
        data[place : place + 8] = (2**46).to_bytes(8, "little")
    path.write_bytes(data)
    with pytest.raises(StoreError, match=r"truncated or not an LMDB file|bytes of"):
        open_store(path)


def fail_with(error):
    raise error


@pytest.mark.parametrize(
    "error", [OSError(errno.EMFILE, "Too many open files"), MemoryError(), HiddenError("x")], ids=repr
)
def test_machine_errors_come_back_from_another_process(error):
    with ChildProcess() as process, pytest.raises((MachineError, OSError, RuntimeError)) as raised:
        process.call(fail_with, error)
    assert (machine_error(raised.value, "s") is None) == isinstance(error, HiddenError)


def test_no_store_is_called_damaged_for_what_a_library_raised():
    """Whoever turns a library's error into one of slidemill's asks first whether the machine is at fault."""
    broad = re.compile(r"\b(OSError|Exception|RuntimeError|lmdb\.Error|_BROKEN)\b")
    package = Path(slidemill.__file__).parent
    others = (
        "core/csv_tables",
        "core/parquet",
        "datasets/folds",
        "datasets/results",
        "stages/verify",
        "stages/_joined_checks",
    )
    unasked = []
    for module in [*(package / "stores").glob("*.py"), *(package / f"{name}.py" for name in others)]:
        for node in ast.walk(ast.parse(module.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ExceptHandler) and node.type and broad.search(ast.unparse(node.type)):
                body = "\n".join(map(ast.unparse, node.body))
                if re.search(r"(Slidemill|Split|Store)Error\(", body) and not re.search(
                    r"machine_error|_fault\(|explain\(", body
                ):
                    unasked.append(f"{module.name}:{node.lineno}")
    assert unasked == []


def test_a_disk_that_fails_under_a_mapped_store_is_told(tmp_path, noise, monkeypatch):
    """Memory that is mapped from a file ends the process (SIGBUS) where the disk does not give the page."""
    path = tmp_path / "s.tar"
    write_a_store("tar", path, "png", noise(len(PATCHES), SIZE))

    def fails(*_):
        raise OSError(errno.EIO, "Input/output error")

    with ChildProcess() as process:
        monkeypatch.setattr(process, "call", lambda *_: fail_with(ChildCrashedError("signal 7")))
        assert (
            "died (signal 7): it is damaged"
            in check_in_child(process, path, Expected("slide", "tar")).findings[0].message
        )
        monkeypatch.setattr("slidemill.core.files.file_digest", fails)
        with pytest.raises(MachineError, match=f"{path}: Input/output error: check that disk or network drive"):
            check_in_child(process, path, Expected("slide", "tar"))


def test_machine_error_survives_pickling():
    error = pickle.loads(pickle.dumps(MachineError(errno.EMFILE, "s: too many")))
    assert (error.errno, str(error)) == (errno.EMFILE, "s: too many")
