"""slidemill: from a folder of whole slides to validated, benchmarked patch stores.

Training code needs `open_dataset`; `read_splits` and `check_leakage` support it, and `open_store` and `read_metadata`
are the layer below it. `open_features` opens the features of a slide. The workflow uses the rest.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from slidemill._version import __version__

if TYPE_CHECKING:
    from slidemill.datasets.folds import read_splits
    from slidemill.datasets.leakage import check_leakage
    from slidemill.datasets.results import open_dataset, read_metadata
    from slidemill.features.feature_file import open_features
    from slidemill.stores.registry import open_store

__all__ = [
    "__version__",
    "check_leakage",
    "open_dataset",
    "open_features",
    "open_store",
    "read_metadata",
    "read_splits",
]

_HOMES = {
    "check_leakage": "slidemill.datasets.leakage",
    "open_dataset": "slidemill.datasets.results",
    "open_features": "slidemill.features.feature_file",
    "open_store": "slidemill.stores.registry",
    "read_metadata": "slidemill.datasets.results",
    "read_splits": "slidemill.datasets.folds",
}


def __getattr__(name: str) -> Any:
    # Imported when first used: the Snakefile imports this package in every job, and needs no h5py for it.
    if name in _HOMES:
        return getattr(importlib.import_module(_HOMES[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
