"""A throw-away Slurm cluster of two nodes on this machine, for the tests of this folder alone."""

import contextlib
import os
import secrets
import shutil
import signal
import socket
import subprocess
import threading
import time
from pathlib import Path

import pytest

CONFIGURATION = Path("/etc/slurm/slurm.conf")
"""Jobs lose every SLURM variable, so that Slurm's commands in them look here alone."""
PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "squeue", "scancel", "sinfo")
NODES = ("node1", "node2")
CPUS = 4
MEMORY = 4000
SETTINGS = """\
ClusterName=test
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={ports[0]}
SlurmUser={user}
SlurmdUser={user}
AuthType=auth/munge
AuthInfo=socket={root}/munge/socket
CredType=cred/munge
StateSaveLocation={root}/state
SlurmdSpoolDir={root}/spool-%n
SlurmctldPidFile={root}/slurmctld.pid
SlurmdPidFile={root}/slurmd-%n.pid
SlurmctldLogFile={root}/slurmctld.log
SlurmdLogFile={root}/slurmd-%n.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SwitchType=switch/none
MpiDefault=none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
SchedulerParameters=batch_sched_delay=0,sched_interval=1,bf_interval=1
ReturnToService=2
SlurmdParameters=config_overrides
MinJobAge=3600
KillWait=2
SlurmdTimeout=5
AccountingStorageType=accounting_storage/none
JobAcctGatherType=jobacct_gather/none
NodeName=node1 NodeHostname={host} NodeAddr=127.0.0.1 Port={ports[1]} CPUs={cpus} RealMemory={memory}
NodeName=node2 NodeHostname={host} NodeAddr=127.0.0.1 Port={ports[2]} CPUs={cpus} RealMemory={memory}
PartitionName=main Nodes=node[1-2] Default=YES MaxTime=INFINITE State=UP
"""


def free_ports(count):
    """Ports that nobody listens on."""
    sockets = [socket.socket() for _ in range(count)]
    try:
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]
    finally:
        for one in sockets:
            one.close()


class Cluster:
    """Daemons that are started and ended by their process files."""

    def __init__(self, root):
        self.root = root

    def start(self):
        munge = self.root / "munge"
        munge.mkdir(mode=0o711)
        for folder in ("state", *(f"spool-{node}" for node in NODES)):
            (self.root / folder).mkdir()
        key = munge / "key"
        key.touch(0o600)
        key.write_bytes(secrets.token_bytes(1024))
        settings = SETTINGS.format(
            root=self.root,
            host=socket.gethostname().split(".")[0],
            user="root",
            ports=free_ports(3),
            cpus=CPUS,
            memory=MEMORY,
        )
        (self.root / "slurm.conf").write_text(settings)
        CONFIGURATION.parent.mkdir(exist_ok=True)
        CONFIGURATION.symlink_to(self.root / "slurm.conf")
        run(
            "munged",
            f"--key-file={key}",
            f"--socket={munge / 'socket'}",
            f"--pid-file={munge / 'pid'}",
            f"--log-file={munge / 'log'}",
            f"--seed-file={munge / 'seed'}",
        )
        run("slurmctld", "-i")
        for node in NODES:
            self.start_node(node)
        self.wait_until(lambda: self.states() == dict.fromkeys(NODES, "idle"), "the nodes are idle")

    def start_node(self, node):
        run("slurmd", "-N", node)

    def kill_node(self, node):
        """Kill a node's daemon; what it has started lives on, and nobody hears of it."""
        kill(int((self.root / f"slurmd-{node}.pid").read_text()), signal.SIGKILL)

    def states(self):
        lines = run("sinfo", "--noheader", "--Node", "--format=%N %t").split("\n")
        return dict(line.split() for line in lines if line)

    def jobs(self):
        """Number, state and node of every job that Slurm remembers."""
        lines = run("squeue", "--noheader", "--states=all", "--format=%A %T %N").split("\n")
        return [tuple((line + " ").split(" ")[:3]) for line in lines if line]

    def wait_until(self, done, what, seconds=120):
        end = time.monotonic() + seconds
        # Asked without a pause, the controller has no time for anything else.
        pause = threading.Event()
        while not done():
            if pause.wait(0.5) or time.monotonic() > end:
                logs = "\n".join(log.read_text(errors="replace")[-2000:] for log in self.root.glob("*.log"))
                raise TimeoutError(f"waited {seconds} s until {what}\n{logs}")
            os.sched_yield()

    def stop(self):
        pids = [*self.root.glob("slurmd-*.pid"), self.root / "slurmctld.pid", self.root / "munge" / "pid"]
        for file in pids:
            if file.exists() and file.read_text().strip():
                kill(int(file.read_text()), signal.SIGTERM)
        if CONFIGURATION.is_symlink() and CONFIGURATION.readlink() == self.root / "slurm.conf":
            CONFIGURATION.unlink()


def run(*command):
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{' '.join(map(str, command))}: {done.stderr or done.stdout}")
    return done.stdout


def kill(process, number):
    with contextlib.suppress(ProcessLookupError):
        os.kill(process, number)


@pytest.fixture(scope="session")
def cluster(tmp_path_factory):
    missing = [name for name in PROGRAMS if shutil.which(name) is None]
    if missing:
        pytest.skip(f"Slurm is missing ({', '.join(missing)}): apt-get install slurm-wlm munge")
    if os.geteuid():
        pytest.skip("Slurm's daemons are started as root: run this test as root")
    if CONFIGURATION.exists():
        pytest.skip(f"{CONFIGURATION} exists: this machine has a Slurm of its own, which is left alone")
    root = tmp_path_factory.mktemp("slurm")
    for folder in (root, *root.parents[:3]):
        folder.chmod(0o755)
    running = Cluster(root)
    try:
        running.start()
        yield running
    finally:
        running.stop()
