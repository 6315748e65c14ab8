"""Runs that are killed at moments drawn by a seed, and a reader that looks at their stores all the while."""

import hashlib
import json
import os
import signal
import subprocess
import sys
from contextlib import contextmanager, suppress
from pathlib import Path

from slidemill import open_store
from slidemill.core.results_layout import JOINED, store_of_file
from tests.conftest import ROOT

MADE = ("stores", "patches", "metadata", "validation")
STAGES = ["discover_slides", "sample_patches", "write_metadata", "store_patches", "validate_stores", "draw_slide"]
STAGES += ["gather_results", "benchmark_stores", "render_report"]
TABLES = ("slides.csv", "metadata.csv", "metadata.parquet", "unreadable.csv", "validation.csv")
"""What is the same in every run, beside what lies in the folders above."""


def digests(results):
    """A digest of each file that every run makes alike, by its place in the results."""
    files = [path for folder in MADE for path in (results / folder).rglob("*") if path.is_file()]
    files += [results / table for table in TABLES if (results / table).exists()]
    return {str(path.relative_to(results)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def patches_of_stores(results):
    """The ids and the digests of each store's patches, by its place in the results."""
    found = {}
    for path in {
        store_of_file(file)
        for file in (results / "stores").rglob("*")
        if file.suffix in {".lmdb", ".h5", ".json", ".tar"} and file != results / JOINED
    }:
        with open_store(path) as store:
            found[str(path.relative_to(results))] = [list(store.ids), list(store.manifest.byte_digests)]
    return found


class Processes:
    """The processes below one, and those of them that outlived it."""

    def __init__(self, pid):
        self.pid = pid

    def running(self, script):
        """The process that runs a script, or None."""
        return next((pid for pid, (name, _) in self.jobs().items() if name == script), None)

    def below(self):
        """The processes below this one, each with the time at which it began, which tells it from a later one."""
        table = {}
        for folder in Path("/proc").iterdir():
            if folder.name.isdigit() and (found := stat(int(folder.name))):
                table[int(folder.name)] = found
        known, below = {self.pid}, {}
        # A child is younger than its parent, but may have a smaller number.
        for _ in range(len(table)):
            more = {pid: began for pid, (parent, began) in table.items() if parent in known and pid not in known}
            if not more:
                break
            known |= set(more)
            below |= more
        return below

    def jobs(self):
        """The processes that run a script of ours, by the script's name."""
        return {pid: (script, began) for pid, began in self.below().items() if (script := script_of(pid))}


def stat(pid):
    """A process's parent, and when it began; None where it is gone."""
    with suppress(OSError):
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[1]), fields[19]) if fields[0] not in "ZX" else None
    return None


def wait(pid, began):
    """Wait for the end of a process that is no child of this one."""
    while (found := stat(pid)) and found[1] == began:
        os.sched_yield()


def script_of(pid):
    with suppress(OSError):
        words = Path(f"/proc/{pid}/cmdline").read_bytes().decode(errors="replace").split("\0")
        if "python" in Path(words[0]).name and len(words) > 1 and ".snakemake/scripts/tmp" in words[1]:
            return words[1].split(".")[-2]
    return None


class Torturer:
    """Starts runs of a project and kills them; moments and victims are drawn by a seed."""

    def __init__(self, project, random):
        self.project = project
        self.random = random
        self.victims, self.moments, self.stages = [], [], []
        self.kills = []
        self.outlived = {}
        self.log = (project.folder / "runs.log").open("a")

    def torture(self, kills):
        """Kill so often, over as many runs as it takes; a run that ends is followed by one that does all again."""
        arguments = ()
        while len(self.kills) < kills:
            run = self.project.start(*arguments, stdout=self.log, stderr=self.log, start_new_session=True)
            arguments = () if self._killed(run, kills) else ("--forceall",)

    def finish(self):
        """Let a plain run finish, and what outlived the others; return how the run ended."""
        code = self.project.start(stdout=self.log, stderr=self.log).wait()
        for pid, began in self.outlived.items():
            wait(pid, began)
        self.log.close()
        return code

    def _killed(self, run, kills):
        """Kill jobs of a run, until it is killed itself (True) or ends (False)."""
        processes = Processes(run.pid)
        while len(self.kills) < kills and self._moment(run, processes):
            jobs = processes.jobs()
            victim = self._victim()
            if victim == "job":
                if jobs:
                    pid = self.random.choice(sorted(jobs))
                    self._kill(pid, *jobs[pid])
                continue
            if victim == "snakemake":
                self.outlived |= processes.below()
            (os.killpg if victim == "group" else os.kill)(run.pid, signal.SIGKILL)
            run.wait()
            self.kills.append((victim, *sorted(script for script, _ in jobs.values())))
            return True
        if len(self.kills) >= kills:
            run.wait()
        return False

    def _victim(self):
        """As drawn from a deck of cards, so that each has its turn."""
        if not self.victims:
            self.victims = ["job", "snakemake", "group"]
            self.random.shuffle(self.victims)
        return self.victims.pop()

    def _kill(self, pid, script, began):
        if (found := stat(pid)) and found[1] == began:
            os.kill(pid, signal.SIGKILL)
            self.kills.append(("job", script))

    def _moment(self, run, processes):
        """Wait for a moment that the seed draws; return whether the run is still there.

        A moment that a run did not come to is waited for in the next: a stage may have been done before.
        """
        if not self.moments:
            self.stages = self.stages or self.random.sample(STAGES, len(STAGES))
            self.moments = ["planning", "aside", "aside", self.stages.pop()]
            self.random.shuffle(self.moments)
        event = self.moments[-1]
        seen = self._seen(event, processes)
        polls = self.random.randrange(100 if event == "planning" else 6)
        come = event == "planning"
        while run.poll() is None:
            now = self._seen(event, processes)
            come = come or bool(now - seen)
            seen &= now
            polls -= come
            if polls < 0:
                self.moments.pop()
                return True
        return False

    def _seen(self, event, processes):
        """The files that are being written aside, or the processes of a stage."""
        if event == "aside":
            return {path.name for path in (self.project.results / "stores").glob("*/.*.aside")}
        return {pid for pid, (script, _) in processes.jobs().items() if script == event}


@contextmanager
def reader(results, expected, told):
    """Have another process look at every store all the while; yield what tells how often it saw a whole one.

    Parameters
    ----------
    expected
        A file of `patches_of_stores`.
    told
        The file in which it tells, in the end, what it saw.
    """
    command = [sys.executable, "-m", "tests.torture.reader", str(results), str(expected), str(told)]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "scripts")])}
    process = subprocess.Popen(command, stdin=subprocess.PIPE, env=environment)
    try:
        yield lambda: json.loads(told.read_text())
    finally:
        process.communicate()
