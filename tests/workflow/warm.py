"""Snakemake in forks of a process that has loaded it: loading is most of what a start takes."""

import atexit
import gc
import json
import os
import shutil
import subprocess
import sys
import tempfile
from functools import cache
from pathlib import Path

from tests.workflow import warm_jobs

LOADED = (
    "PIL.Image",
    "docutils.core",
    "jinja2",
    "jsonschema",
    "numpy",
    "pydantic",
    "smart_open",
    "snakemake.cli",
    "yte",
)
"""What a start loads, but for slidemill itself, which may be that of another checkout."""


def snakemake(arguments, cwd, environment):
    """Run `snakemake` with arguments, and return ``(exit code, standard output, standard error)``."""
    with tempfile.TemporaryDirectory() as folder:
        out, err = (Path(folder, name) for name in ("out", "err"))
        server = _server()
        request = {"arguments": arguments, "cwd": str(cwd), "environment": environment}
        server.stdin.write(json.dumps(request | {"out": str(out), "err": str(err)}) + "\n")
        server.stdin.flush()
        code = int(server.stdout.readline())
        return code, *(path.read_text(encoding="utf-8", errors="surrogateescape") for path in (out, err))


@cache
def _server():
    """The process that forks, one for each process of the tests."""
    root = Path(__file__).parents[2]
    command = [sys.executable, "-m", "tests.workflow.warm"]
    server = subprocess.Popen(command, cwd=root, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    atexit.register(server.communicate)
    return server


def serve():
    """Fork for each request on standard input, and print how the fork ended."""
    for name in (*LOADED, *warm_jobs.LIBRARIES):
        __import__(name)
    sys.modules["snakemake.cli"].get_argument_parser()  # finds and loads Snakemake's plugins
    gc.freeze()  # else a fork's collector would touch, and so copy, all of it
    folder = Path(tempfile.mkdtemp(prefix="slidemill-"))
    python, stop = warm_jobs.start(folder)
    while line := sys.stdin.readline():
        if not (child := os.fork()):
            warm_jobs.use(python)
            _become_snakemake(**json.loads(line))
        print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
    stop()
    shutil.rmtree(folder)  # here, and not as a fork ends


def _become_snakemake(arguments, cwd, environment, out, err):
    """Do what `python -m snakemake` does, to the end of the process."""
    for number, path in ((0, os.devnull), (1, out), (2, err)):
        file = os.open(path, os.O_RDWR | os.O_CREAT)
        os.dup2(file, number)
        os.close(file)
    os.chdir(cwd)
    os.environ.clear()
    os.environ.update(environment)
    import snakemake.cli

    sys.argv = [str(Path(snakemake.__file__).with_name("__main__.py")), *arguments]
    sys.path[0] = cwd
    warm_jobs.end_after(lambda: sys.exit(snakemake.cli.main()))


if __name__ == "__main__":
    serve()
