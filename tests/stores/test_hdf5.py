import h5py
import numpy as np

from tests.stores.contract import StoreContract


class TestHdf5(StoreContract):
    backend = "hdf5"

    def test_raw_is_one_contiguous_dataset_of_bytes(self, tmp_path, noise):
        """A defect of py-wsi: int32, and coordinates that were lost without labels."""
        path, patches, pixels = self.write(tmp_path, noise)
        with h5py.File(path) as file:
            assert (file["patches"].dtype, file["patches"].chunks) == (np.uint8, None)
            np.testing.assert_array_equal(file["patches"][:], pixels)
            assert [patch_id.decode() for patch_id in file["ids"][:]] == [patch.patch_id for patch in patches]
            for name in ("column", "row", "x0", "y0", "width0", "height0"):
                assert file[name][:].tolist() == [getattr(patch, name) for patch in patches]

    def test_encoded_is_a_payload_with_offsets(self, tmp_path, noise):
        path, patches, _ = self.write(tmp_path, noise, "png")
        with h5py.File(path) as file:
            start, end = file["offsets"][4:6]
            assert file["payload"][start:end].tobytes().startswith(b"\x89PNG")
            assert len(file["offsets"]) == len(patches) + 1
            assert file["offsets"][-1] == len(file["payload"])
