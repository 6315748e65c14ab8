"""The jobs of a run in forks of a process that has loaded their libraries, which is most of what a small job takes.

Snakemake starts a client in place of Python for each script.
The client sends its arguments, folder, environment and streams to the server, and ends as the fork for it ends.
slidemill's stages are loaded too; a job of another checkout, or with other modules to find first, imports its own.
"""

import atexit
import gc
import marshal
import os
import pkgutil
import runpy
import select
import socket
import sys
import threading
import traceback
from contextlib import suppress
from importlib import import_module
from pathlib import Path

SCRIPTS = Path(__file__).resolve().parents[2] / "scripts"
LIBRARIES = (
    "PIL.Image",
    "cv2",
    "h5py",
    "imagecodecs",
    "jinja2",
    "lmdb",
    "matplotlib.figure",
    "matplotlib.backends.backend_svg",
    "numpy",
    "openslide",
    "pandas",
    "pyarrow.parquet",
    "shapely",
    "simplejpeg",
    "tifffile",
    "xxhash",
)

# Python without site-packages starts in a few milliseconds; these modules are built in, or small.
CLIENT = """#!{python} -IS
import array, marshal, os, signal, sys
import _socket
server = _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM)
server.connect({address!r})
request = marshal.dumps((sys.argv[1:], os.getcwd(), dict(os.environ)))
streams = array.array("i", [0, 1, 2])
server.sendmsg([len(request).to_bytes(8, "big")], [(_socket.SOL_SOCKET, _socket.SCM_RIGHTS, streams)])
server.sendall(request)
code = int(server.recv(16) or -signal.SIGKILL)
if code < 0:
    signal.signal(-code, signal.SIG_DFL)
    os.kill(os.getpid(), -code)
sys.exit(code)
"""


def start(folder):
    """Start the server in a fork; return the client's path, and a function that ends the server."""
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(folder / "socket"))
    listener.listen(64)
    client = folder / "python"
    client.write_text(CLIENT.format(python=sys.executable, address=str(folder / "socket")))
    client.chmod(0o700)
    end, ours = os.pipe()
    if not (server := os.fork()):
        os.close(ours)
        _load_stages()
        _serve(listener, end)
    os.close(end)
    listener.close()

    def stop():
        os.close(ours)
        os.waitpid(server, 0)

    return client, stop


def use(client):
    """Let Snakemake, in this process, start scripts by the client."""
    from snakemake.script import PythonScript

    execute = PythonScript._execute_cmd

    def warm(self, command, **values):
        return execute(self, command, **values | ({"py_exec": client} if "py_exec" in values else {}))

    PythonScript._execute_cmd = warm


def end_after(work):
    """Do some work, and end the process as Python does after it, but free no memory: a fork would copy it first."""
    code = 0
    try:
        work()
    except SystemExit as ended:
        code = ended.code if isinstance(ended.code, int) else int(ended.code is not None)
        if isinstance(ended.code, str):
            print(ended.code, file=sys.stderr)
    except BaseException:
        code = 1
        traceback.print_exc()
    threading._shutdown()
    atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError):
            stream.flush()
    os._exit(code)


def _load_stages():
    sys.path.insert(0, str(SCRIPTS))
    for module in pkgutil.iter_modules([str(SCRIPTS / "slidemill" / "stages")], "slidemill.stages."):
        import_module(module.name)
    sys.path.remove(str(SCRIPTS))
    gc.freeze()


def _unload_stages():
    for name in [name for name in sys.modules if name.partition(".")[0] == "slidemill"]:
        del sys.modules[name]


def _serve(listener, end):
    """Fork for each client until the pipe `end` is closed; a fork returns from here when its script has ended."""
    waiting = set()
    while end not in select.select([listener, end], [], [])[0]:
        connection, _ = listener.accept()
        if not (child := os.fork()):
            listener.close()
            os.close(end)
            _wait_for_job(connection)
        connection.close()
        waiting.add(child)
        waiting -= {child for child in waiting if os.waitpid(child, os.WNOHANG)[0]}
    for child in waiting:
        os.waitpid(child, 0)
    os._exit(0)


def _wait_for_job(connection):
    """Fork for a job, and send its client the code with which it ended."""
    size, streams, *_ = socket.recv_fds(connection, 8, 3)
    with connection.makefile("rb") as file:
        arguments, folder, environment = marshal.loads(file.read(int.from_bytes(size, "big")))
    if job := os.fork():
        connection.sendall(str(os.waitstatus_to_exitcode(os.waitpid(job, 0)[1])).encode())
        os._exit(0)
    connection.close()
    for number, stream in enumerate(streams):
        os.dup2(stream, number)
        os.close(stream)
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    sys.argv = arguments
    script = arguments[0]
    packages = [*filter(None, environment.get("PYTHONPATH", "").split(os.pathsep))]
    if packages != [str(SCRIPTS)]:
        _unload_stages()
    sys.path[:1] = [str(Path(script).parent), *packages]
    end_after(lambda: runpy.run_path(script, run_name="__main__"))
