import subprocess
import tarfile

import numpy as np
import pytest
import webdataset

from slidemill import open_store
from slidemill.errors import StoreError
from slidemill.stores.tar import header
from tests.stores.contract import StoreContract


class TestTar(StoreContract):
    backend = "tar"
    encodings = ("raw", "png", "jpeg")
    views = False

    def test_webdataset_streams_every_patch_of_every_slide_and_nothing_else(self, tmp_path, noise, encoding):
        paths = [self.write(tmp_path, noise, encoding, name=name)[0] for name in ("a.1-0f", "a.2-0f")]
        suffix = {"raw": "npy", "png": "png", "jpeg": "jpg"}[encoding]
        stream = list(webdataset.WebDataset([str(path) for path in paths], shardshuffle=False))
        stores = [open_store(path) for path in paths]
        wanted = {f"{one.manifest.slide}/{patch_id}": (one, patch_id) for one in stores for patch_id in one.ids}
        assert [sample["__key__"] for sample in stream] == list(wanted)
        for sample in stream:
            assert {name for name in sample if not name.startswith("__")} == {suffix}
            store, patch_id = wanted[sample["__key__"]]
            assert sample[suffix] == store.read_bytes(patch_id)

    @pytest.mark.parametrize("kind", ["raw", "png"])
    def test_webdataset_decodes_the_pixels(self, tmp_path, noise, kind):
        path, _, pixels = self.write(tmp_path, noise, kind)
        decoded = webdataset.WebDataset(str(path), shardshuffle=False).decode("rgb8").to_tuple("png;npy")
        for (got,), wanted in zip(decoded, pixels, strict=True):
            np.testing.assert_array_equal(got, wanted)

    def test_tar_and_tarfile_read_it(self, tmp_path, noise):
        path, patches, _ = self.write(tmp_path, noise, "png")
        names = [f"slide/{patch.patch_id}.png" for patch in patches]
        with tarfile.open(path) as file:
            assert file.getnames() == ["__offsets__", *names, "__manifest__"]
        subprocess.run(["tar", "-xf", path, "-C", tmp_path], check=True, stderr=subprocess.PIPE)
        with open_store(path) as store:
            assert (tmp_path / names[7]).read_bytes() == store.read_bytes(store.ids[7])

    def test_offsets_lead_to_the_patches_without_slidemill(self, tmp_path, noise):
        path, *_ = self.write(tmp_path, noise, "png")
        with tarfile.open(path) as file:
            pairs = np.frombuffer(file.extractfile("__offsets__").read(), "<i8").reshape(-1, 2)
        with open_store(path) as store, path.open("rb") as file:
            assert len(pairs) == len(store) + 1
            for patch_id, (start, size) in zip(store.ids, pairs[:-1].tolist(), strict=True):
                file.seek(start)
                assert file.read(size) == store.read_bytes(patch_id)

    def test_a_file_that_was_packed_anew_is_refused(self, tmp_path, noise):
        """Its offsets may lead anywhere."""
        path, *_ = self.write(tmp_path, noise, "png")
        subprocess.run(["tar", "-xf", path, "-C", tmp_path], check=True)
        subprocess.run(["tar", "-cf", path, "__offsets__", "slide", "__manifest__"], cwd=tmp_path, check=True)
        with pytest.raises(StoreError, match="run again"):
            open_store(path)

    @pytest.mark.parametrize("length", [90, 150])
    def test_a_long_id_fits(self, tmp_path, noise, length):
        path, *_ = self.write(tmp_path, noise, "png", name="s" * length)
        with tarfile.open(path) as file:
            assert file.getnames()[1] == f"{'s' * length}/r00000_c00000.png"

    def test_a_name_that_does_not_fit_is_said(self):
        with pytest.raises(StoreError, match="give the slide a shorter id"):
            header("s" * 200 + "/r00000_c00000.png", 1)
