"""Start the rules' scripts without loading Snakemake in each job.

What Snakemake puts in front of a script imports Snakemake, which takes 0.05 to 0.1 s of processor time per job
(benchmarks/RESULTS.md), for an object of which `slidemill.stages.job.script_job` reads a few plain values.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

NAMED = ("input", "output", "params", "wildcards")
"""What a job has by name."""

PREAMBLE = """\
import atexit, gc, sys
from types import SimpleNamespace
gc.disable()
atexit.register(gc.freeze)
sys.path.append({folder!a})
snakemake = SimpleNamespace(**{job!a})
__real_file__, __file__ = __file__, {file!a}
"""
"""The head of a script. Imports leave nothing to collect, and the end of a process nothing worth collecting: without
both, a job takes a tenth less. `slidemill.stages.job.script_job` collects again."""


def start_without_snakemake(scripts: Any, folder: Path) -> None:
    """Let Snakemake start the scripts of a folder with `PREAMBLE`.

    Scripts elsewhere, as of a workflow that uses this one as a module, and jobs in another environment start as before.
    So do all if a later Snakemake keeps a job's values elsewhere.

    Parameters
    ----------
    scripts
        `snakemake.script.PythonScript`.
    folder
        The folder of this workflow's scripts.
    """
    with suppress(AttributeError):
        others = scripts.get_preamble

        def get_preamble(script: Any) -> str:
            with suppress(AttributeError, TypeError, ValueError):
                if _is_own(script, folder):
                    return _preamble(script)
            return str(others(script))

        scripts.get_preamble = get_preamble


def _is_own(script: Any, folder: Path) -> bool:
    """Return whether a script is in a folder, and runs in the environment of this process."""
    is_here = script.conda_env is script.container_img is script.env_modules is None
    return is_here and script.is_local is True and _file(script).parent == folder.resolve()


def _file(script: Any) -> Path:
    """Return a script's file; rules name it by a path with ``..``."""
    return Path(script.path.get_path_or_uri(secret_free=True)).resolve()


def _preamble(script: Any) -> str:
    file = _file(script)
    values = {name: plain(dict(getattr(script, name).items())) for name in NAMED}
    if not isinstance(script.config, Mapping):
        raise TypeError("config")
    job = {**values, "threads": plain(script.threads), "log": plain(list(script.log)), "config": plain(script.config)}
    return PREAMBLE.format(folder=str(file.parent), job=job, file=str(file))


def plain(value: Any) -> Any:
    """Return a value that Python reads from its own representation, without Snakemake's kinds of texts and lists.

    Raises
    ------
    TypeError
        When a value is of another kind, such as a number that is not finite, or a path.
    """
    if isinstance(value, str):
        return str(value)
    if isinstance(value, Mapping):
        return {plain(key): plain(own) for key, own in value.items()}
    if isinstance(value, list):
        return [plain(own) for own in value]
    if type(value) is tuple:
        return tuple(map(plain, value))
    if value is None or type(value) in (bool, int) or (type(value) is float and math.isfinite(value)):
        return value
    raise TypeError(f"{value!r} is {type(value).__name__}")
