import csv
import errno
import os
import shutil

import numpy as np
import pytest
from PIL import Image

from slidemill import open_store
from slidemill.errors import StoreError, full_disk_errors
from slidemill.stores.checks import Expected, check_store
from tests.stores.contract import StoreContract


class TestDisk(StoreContract):
    backend = "disk"
    encodings = ("raw", "png", "jpeg")
    views = False

    def test_files_are_ordinary_images_and_arrays(self, tmp_path, noise):
        path, patches, pixels = self.write(tmp_path, noise, "png", name="a")
        np.testing.assert_array_equal(np.asarray(Image.open(path / f"{patches[7].patch_id}.png")), pixels[7])
        path, patches, pixels = self.write(tmp_path, noise, "raw", name="b")
        np.testing.assert_array_equal(np.load(path / f"{patches[7].patch_id}.npy"), pixels[7])

    def test_the_index_names_every_file_once(self, tmp_path, noise):
        """A defect of py-wsi: names were split and matched by substring."""
        path, patches, _ = self.write(tmp_path, noise, "png")
        with (path / "index.csv").open() as file:
            rows = list(csv.DictReader(file))
        assert [row["patch_id"] for row in rows] == [patch.patch_id for patch in patches]
        assert {row["file"] for row in rows} == {file.name for file in path.glob("*.png")}

    def test_slides_of_like_names_do_not_mix(self, tmp_path, noise):
        """A defect of py-wsi: slide_1 and slide_10."""
        one, *_ = self.write(tmp_path, noise, "png", name="slide_1")
        self.write(tmp_path, lambda count, size: 255 - noise(count, size), "png", name="slide_10")
        with open_store(one) as store:
            assert store.manifest.slide == "slide_1"
            assert len(store.stored_ids()) == len(store)

    @pytest.mark.cases
    @pytest.mark.parametrize("place", range(0, 128, 3))
    def test_a_damaged_head_of_an_array_is_said(self, tmp_path, noise, place):
        """NumPy reads it as Python code, and takes any shape."""
        path, patches, _ = self.write(tmp_path, noise, "raw")
        file = path / f"{patches[3].patch_id}.npy"
        data = bytearray(file.read_bytes())
        data[place] ^= 1 << place % 7
        file.write_bytes(data)
        with open_store(path) as store, pytest.raises(StoreError, match="not the header of these patches"):
            store.read(patches[3].patch_id)

    @pytest.mark.parametrize("left", ["nothing", "patches", "a folder aside"])
    def test_a_folder_that_is_being_written_is_said(self, tmp_path, noise, left):
        """Snakemake makes a job's folders before it starts, and removes the manifest of a store that it replaces."""
        path, *_ = self.write(tmp_path, noise, "png")
        (path / "manifest.json").unlink()
        if left != "patches":
            shutil.rmtree(path)
            path.mkdir()
        if left == "a folder aside":
            (path / "stranger").touch()
            (tmp_path / ".slide.0123abcd.aside").mkdir()
        with pytest.raises(StoreError, match="is being written, or the job that wrote it was killed") as refused:
            open_store(path)
        assert str(refused.value).startswith(f"{path}: ")
        assert "remove" not in str(refused.value)

    def test_a_folder_without_a_manifest_is_no_store(self, tmp_path):
        (tmp_path / "stranger").touch()
        with pytest.raises(StoreError, match="is not a store"):
            open_store(tmp_path)

    @pytest.mark.parametrize("how", ["replaced", "removed"])
    def test_a_reader_of_a_replaced_store_is_told(self, tmp_path, noise, how):
        path, *_ = self.write(tmp_path, noise, "png")
        with open_store(path) as store:
            store.read(store.ids[0])
            if how == "replaced":
                self.write(tmp_path, noise, "png")
            else:
                shutil.rmtree(path)
            for read in (
                lambda: store.read(store.ids[1]),
                lambda: store.read_many(store.ids),
                store.stored_ids,
                store.index_digest,
            ):
                with pytest.raises(StoreError, match="was replaced while it was read: open it again"):
                    read()

    def test_a_patch_that_is_gone_is_still_missing(self, tmp_path, noise):
        path, patches, _ = self.write(tmp_path, noise, "png")
        with open_store(path) as store:
            (path / f"{patches[3].patch_id}.png").unlink()
            with pytest.raises(StoreError, match=f"{patches[3].patch_id} is missing or cut short"):
                store.read(patches[3].patch_id)

    @pytest.mark.parametrize("name", ["manifest.json", "index.csv", "r00000_c00000.png"])
    @pytest.mark.parametrize("kind", ["a pipe", "a device"])
    def test_a_pipe_or_a_device_in_a_store_is_not_waited_for(self, tmp_path, noise, name, kind):
        path, *_ = self.write(tmp_path, noise, "png")
        (path / name).unlink()
        if kind == "a pipe":
            os.mkfifo(path / name)
        else:
            (path / name).symlink_to("/dev/zero")
        found = check_store(path, Expected("slide", "disk"))
        assert [finding.message for finding in found.findings if "is not a file" in finding.message]


def test_full_disk_is_named_by_file_or_folder(tmp_path):
    for given, named in ((None, str(tmp_path)), ("/elsewhere/file", "/elsewhere/file")):
        with pytest.raises(OSError, match="No space left") as raised, full_disk_errors(tmp_path / "aside"):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), given)
        assert raised.value.filename == named
