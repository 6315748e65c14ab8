"""Define the configuration's section `stores`."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import ConfigDict, Field

from slidemill.config._key import Section, key


class Store(Section):
    """How one backend encodes patches."""

    model_config = ConfigDict(json_schema_extra={"description": "a store has an encoding and, for jpeg, a quality"})

    encoding: Literal["raw", "zstd", "png", "jpeg", "source"] = key(
        "raw", "raw, zstd, png, jpeg or source (the slide's own tiles)"
    )
    """The encoding of patches, see [below](#encodings)."""

    quality: Annotated[int, Field(ge=1, le=100)] = key(90, "JPEG's quality, 1 to 100; 90 by default")
    """Quality of the encoding `jpeg`, 1 to 100; no other encoding has one."""


class LmdbStore(Store):
    """How LMDB encodes patches."""

    encoding: Literal["raw", "zstd", "png", "jpeg", "source"] = key(
        "zstd", "raw, zstd, png, jpeg or source (the slide's own tiles)"
    )


class FileStore(Store):
    """How a backend of one file per patch encodes them."""

    model_config = ConfigDict(json_schema_extra={"description": "settings of a store, such as {encoding png}"})

    encoding: Literal["raw", "png", "jpeg", "source"] = key(
        "png", "raw (.npy files), png, jpeg or source (the slide's own tiles)"
    )


class ZarrStore(Store):
    """How Zarr encodes patches: by codecs that each of its readers knows."""

    encoding: Literal["raw", "zstd"] = key("zstd", "raw or zstd (Zarr's own codecs)")


class Stores(Section):
    """The stores to write; a backend that is left out is None."""

    lmdb: LmdbStore = key(None)
    hdf5: Store = key(None)
    disk: FileStore = key(None)
    tar: FileStore = key(None)
    zarr: ZarrStore = key(None)

    def written(self) -> dict[str, Store]:
        """Return the stores to write by the names of their backends."""
        return {name: store for name, store in self if store is not None}
