"""slidemill: from a folder of whole slides to validated, benchmarked patch stores.

`open_dataset` is what training code needs, `open_store` and `read_metadata` lie below it; the rest serves the workflow.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from slidemill.dataset import open_dataset
    from slidemill.metadata import read_metadata
    from slidemill.stores.registry import open_store

__version__ = "0.1.0"
__all__ = ["__version__", "open_dataset", "open_store", "read_metadata"]

_HOMES = {
    "open_dataset": "slidemill.dataset",
    "open_store": "slidemill.stores.registry",
    "read_metadata": "slidemill.metadata",
}


def __getattr__(name: str) -> Any:
    # Imported when first used: the Snakefile imports this package in every job, and needs no h5py for it.
    if name in _HOMES:
        return getattr(importlib.import_module(_HOMES[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
