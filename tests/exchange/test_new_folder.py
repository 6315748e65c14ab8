"""Folders that exports publish as a whole."""

import errno
import os

import pytest

from slidemill.errors import SlidemillError
from slidemill.exchange import _new_folder
from slidemill.exchange._new_folder import list_files, new_folder


def test_existing_folder_is_refused_at_once(tmp_path):
    """Before anything else of an export is checked, so that the message is the same for every other fault."""
    (tmp_path / "out").mkdir()
    with pytest.raises(SlidemillError, match="already exists: remove it, or name another folder"):
        new_folder(tmp_path / "out")
    assert list((tmp_path / "out").iterdir()) == []


def test_nothing_is_made_before_the_block(tmp_path):
    new_folder(tmp_path / "deep/out")
    assert list(tmp_path.iterdir()) == []


def test_all_files_are_synced_then_renamed(tmp_path, monkeypatch):
    out, synced = tmp_path / "deep/out", []

    def sync(path):
        assert not out.exists()
        synced.append(path)

    monkeypatch.setattr(_new_folder, "sync", sync)
    with new_folder(out) as aside:
        (aside / "b/c").mkdir(parents=True)
        for name in ("b/c/one", "b/two", "a"):
            (aside / name).write_text(name)
    assert sorted(str(path.relative_to(aside)) for path in synced) == ["a", "b/c/one", "b/two"]
    assert [str(path) for path in list_files(out)] == ["a", "b/c/one", "b/two"]
    assert (out / "b/two").read_text() == "b/two"


def test_failed_block_leaves_nothing(tmp_path):
    with pytest.raises(ValueError, match="broken"), new_folder(tmp_path / "out") as aside:
        (aside / "one").write_text("1")
        raise ValueError("broken")
    assert list(tmp_path.iterdir()) == []


def test_full_disk_is_named(tmp_path):
    """HDF5 says it in other errors than OSError."""
    with pytest.raises(OSError, match=str(tmp_path)) as raised, new_folder(tmp_path / "out"):
        raise RuntimeError(f"write failed: {os.strerror(errno.ENOSPC)}")
    assert raised.value.errno == errno.ENOSPC
    assert list(tmp_path.iterdir()) == []


def test_broken_link_and_file_in_place_of_a_folder_are_refused_at_once(tmp_path):
    (tmp_path / "out").symlink_to("nowhere")
    (tmp_path / "file").touch()
    with pytest.raises(SlidemillError, match="out: already exists: remove it, or name another folder"):
        new_folder(tmp_path / "out")
    for path in ("file/out", "file/deep/out", "out/deep"):
        with pytest.raises(SlidemillError, match=rf"{path}: .*/{path.split('/')[0]} is not a folder: name another fol"):
            new_folder(tmp_path / path)
