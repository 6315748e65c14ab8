"""Reads damaged inputs of one target for some seconds, in a process of its own with bounds on memory and time.

The input that is being read lies in the file `current`: where a library ends the process, it is found there. Other
faults are written to `faults.json`, each kind once.
"""

import json
import resource
import signal
import sys
import time
import traceback
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory

from slidemill.errors import SlidemillError
from tests.fuzz.mutate import mutated
from tests.fuzz.targets import TARGETS

MEMORY = 10**9
"""Bytes that reading may take, beyond what the libraries take by being loaded."""

LONGEST = 20
"""Seconds of work that one input may take."""


def bound():
    """Bound this process's memory; a signal that nobody handles ends it when an input takes too long."""
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    most = pages * resource.getpagesize() + MEMORY
    resource.setrlimit(resource.RLIMIT_AS, (most, most))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    signal.signal(signal.SIGPROF, signal.SIG_DFL)


def read(target, data, folder):
    """Read one input; return what came out that should not: nothing where all is well."""
    # Time of the processor: another's work on this machine counts for nothing.
    signal.setitimer(signal.ITIMER_PROF, LONGEST)
    try:
        target.read(data, folder)
    except SlidemillError:
        pass
    except Exception as error:
        frames = [frame for frame in traceback.extract_tb(error.__traceback__) if "/slidemill/" in frame.filename]
        place = f"{Path(frames[-1].filename).name}:{frames[-1].lineno}" if frames else "?"
        return f"{type(error).__name__} at {place}: {str(error)[:200]}"
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
    return ""


def main(name, out, seed, seconds):
    target, random = TARGETS[name], Random(seed)
    faults, count, end = {}, 0, time.monotonic() + seconds
    with TemporaryDirectory(dir=out) as folder:
        seeds = list(target.seeds(Path(folder)))
        for data in seeds:
            assert not read(target, data, Path(folder)), "a valid input is refused"
        bound()
        while time.monotonic() < end:
            data = mutated(random.choice(seeds), seeds, random, target.kind)
            (out / "current").write_bytes(data)
            fault = read(target, data, Path(folder))
            count += 1
            kind = fault.partition(": ")[0]
            if fault and kind not in faults:
                faults[kind] = fault
                (out / f"fault-{len(faults)}").write_bytes(data)
    (out / "faults.json").write_text(json.dumps({"inputs": count, "faults": list(faults.values())}))


def again(name, out, file):
    """Read one input once more."""
    with TemporaryDirectory(dir=out) as folder:
        bound()
        sys.exit(1 if read(TARGETS[name], Path(file).read_bytes(), Path(folder)) else 0)


if __name__ == "__main__":
    if len(sys.argv) == 4:
        again(sys.argv[1], Path(sys.argv[2]), sys.argv[3])
    main(sys.argv[1], Path(sys.argv[2]), sys.argv[3], float(sys.argv[4]))
