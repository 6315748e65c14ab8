"""Finished runs that many tests look at: made once for all workers of a session, and copied by each."""

import pickle
import shutil
from contextlib import contextmanager
from copy import copy

from tests.conftest import once
from tests.faults.conftest import mounted


def made_once(tmp_path_factory, name, make):
    """Return this worker's own copy of the project that `make` makes in the folder that it is given."""

    def pickled(folder):
        (folder / "project").mkdir()
        (folder / "pickle").write_bytes(pickle.dumps(make(folder / "project")))

    # Whoever waits here loses nothing: the run takes all cores.
    made = once(tmp_path_factory, name, pickled) / "pickle"
    return copy_of(pickle.loads(made.read_bytes()), tmp_path_factory.mktemp(name) / "copy")


def copy_of(project, folder):
    """Return a copy of a project with its finished run, at another place, times and all."""
    shutil.copytree(project.folder, folder, symlinks=True)
    other, places = copy(project), {key: folder / key for key in ("slides", "annotations", "results")}
    other.__dict__ |= {"folder": folder, **places}
    other.config = project.config | {key: str(path) for key, path in places.items()}
    return other


@contextmanager
def on_disk(project, folder, megabytes, config):
    """Give a project two slides, and results on a small disk."""
    with mounted(folder / "disk", megabytes) as disk:
        project.results = disk / "results"
        project.config |= {"results": str(project.results), "annotations": None, **config}
        for seed, name in enumerate(("a.svs", "b.svs")):
            project.add(name, seed, annotated=False)
        yield
