"""Finished runs that many tests look at: made once for all workers of a session, and copied by each."""

import fcntl
import os
import pickle
import shutil
from copy import copy


def made_once(tmp_path_factory, name, make):
    """Return this worker's own copy of a project.

    Parameters
    ----------
    tmp_path_factory
        The session's.
    name
        The run's name; each has one `make`.
    make
        A function that makes the project in the folder that it is given, and returns it.
    """
    base = tmp_path_factory.getbasetemp()
    common = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base
    folder, made = common / name, common / f"{name}.pickle"
    with (common / f"{name}.lock").open("w") as lock:
        # Whoever waits here loses nothing: the run takes all cores.
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not made.exists():
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir()
            made.write_bytes(pickle.dumps(make(folder)))
    return copy_of(pickle.loads(made.read_bytes()), tmp_path_factory.mktemp(name) / "copy")


def copy_of(project, folder):
    """Return a copy of a project with its finished run, at another place, times and all."""
    shutil.copytree(project.folder, folder, symlinks=True)
    other, places = copy(project), {key: folder / key for key in ("slides", "annotations", "results")}
    other.__dict__ |= {"folder": folder, **places}
    other.config = project.config | {key: str(path) for key, path in places.items()}
    return other
