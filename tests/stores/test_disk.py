import csv

import numpy as np
import pytest
from PIL import Image

from slidemill import open_store
from slidemill.errors import StoreError
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

    @pytest.mark.parametrize("place", range(0, 128, 3))
    def test_a_damaged_head_of_an_array_is_said(self, tmp_path, noise, place):
        """NumPy reads it as Python code, and takes any shape."""
        path, patches, _ = self.write(tmp_path, noise, "raw")
        file = path / f"{patches[3].patch_id}.npy"
        data = bytearray(file.read_bytes())
        data[place] ^= 1 << place % 7
        file.write_bytes(data)
        with open_store(path) as store, pytest.raises(StoreError, match="another head than these patches have"):
            store.read(patches[3].patch_id)
