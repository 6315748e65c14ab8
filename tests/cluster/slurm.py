"""A throw-away Slurm of two nodes on loopback: all it has lies in one folder, and only what it started is ended."""

import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from contextlib import suppress
from pathlib import Path

DAEMONS = ("slurmctld", "slurmd", "munged")
CLIENTS = ("sbatch", "srun", "squeue", "scontrol", "scancel", "sinfo", "sacct", "sacctmgr")
SEARCHED = f"{os.environ['PATH']}:/usr/sbin"
NODES = ("node1", "node2")
SETTINGS = """\
ClusterName=test
SlurmctldHost={host}(127.0.0.1)
SlurmUser=root
SlurmdUser=root
SlurmctldPort={port}
AuthType=auth/munge
AuthInfo=socket={munge}/munge.socket
CredType=cred/munge
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool/%n
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/%n.pid
SlurmctldLogFile={folder}/log/slurmctld.log
SlurmdLogFile={folder}/log/%n.log
SlurmdParameters=config_overrides
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SwitchType=switch/none
MpiDefault=none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
SchedulerParameters=batch_sched_delay=0,sched_interval=2,bf_interval=2
ReturnToService=2
MinJobAge=3600
KillWait=5
SlurmctldTimeout=60
SlurmdTimeout=60
AccountingStorageType=accounting_storage/none
JobAcctGatherType=jobacct_gather/none
"""


def missing():
    """Return why no cluster can be started here, or None."""
    absent = [name for name in (*DAEMONS, *CLIENTS) if not shutil.which(name, path=SEARCHED)]
    if absent:
        return f"Slurm is not installed ({', '.join(absent)}): apt-get install slurm-wlm munge"
    if os.geteuid() != 0:
        return "a throw-away Slurm needs root, for munged and slurmd"
    return None


def wait_for(condition, what, seconds=60):
    """Return what `condition` gives as soon as that is true."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        found = condition()
        if found:
            return found
        time.sleep(0.2)
    raise TimeoutError(f"{what}: not within {seconds} s")


def free_ports(count):
    sockets = [socket.socket() for _ in range(count)]
    for one in sockets:
        one.bind(("127.0.0.1", 0))
    ports = [one.getsockname()[1] for one in sockets]
    for one in sockets:
        one.close()
    return ports


def daemon(name):
    return shutil.which(name, path=SEARCHED)


def called(*command):
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


class Slurm:
    """Two nodes of two CPUs and 3 GB each, whatever the machine has."""

    def __init__(self, folder):
        self.folder = Path(folder)
        for name in ("state", "log", *(f"spool/{node}" for node in NODES)):
            (self.folder / name).mkdir(parents=True)
        # munged wants a way for everyone to its socket, and pytest's folders are closed to others.
        self.munge = Path(tempfile.mkdtemp(prefix="munge-"))
        self.munge.chmod(0o711)
        host = socket.gethostname().split(".")[0]
        port, *ports = free_ports(1 + len(NODES))
        lines = [
            f"NodeName={node} NodeHostname={host} NodeAddr=127.0.0.1 Port={own} CPUs=2 RealMemory=3000 State=UNKNOWN"
            for node, own in zip(NODES, ports, strict=True)
        ]
        lines.append(f"PartitionName=main Nodes={','.join(NODES)} Default=YES MaxTime=INFINITE State=UP")
        settings = SETTINGS.format(host=host, port=port, folder=self.folder, munge=self.munge)
        self.settings = self.folder / "slurm.conf"
        self.settings.write_text(settings + "\n".join(lines) + "\n")
        # Snakemake's executor takes every SLURM_ variable away, the one that names the settings too: commands of this
        # cluster's own put it back. So /etc is left alone, and a Slurm that this machine has is not disturbed.
        self.commands = self.folder / "bin"
        self.commands.mkdir()
        for name in CLIENTS:
            command = self.commands / name
            real = shutil.which(name, path=SEARCHED)
            command.write_text(f'#!/bin/sh\nSLURM_CONF="{self.settings}" exec {real} "$@"\n')
            command.chmod(0o755)

    def start(self):
        key = self.munge / "munge.key"
        key.write_bytes(os.urandom(1024))
        key.chmod(0o600)
        called(
            daemon("munged"),
            *(f"--{name}-file={self.munge}/munged.{name}" for name in ("pid", "log", "seed")),
            f"--key-file={key}",
            f"--socket={self.munge}/munge.socket",
        )
        called(daemon("slurmctld"), "-i", "-f", str(self.settings))
        for node in NODES:
            self.start_node(node)

    def start_node(self, node):
        called(daemon("slurmd"), "-f", str(self.settings), "-N", node)
        wait_for(lambda: self.state(node) in {"idle", "mixed", "allocated"}, f"{node} is up")

    def state(self, node):
        with suppress(subprocess.CalledProcessError):
            return self.call("sinfo", "-h", "-N", "-n", node, "-o", "%T").strip()

    def kill_node(self, node):
        """Kill a node's daemon the hard way; return its process id."""
        file = self.folder / f"{node}.pid"
        pid = int(file.read_text())
        os.kill(pid, signal.SIGKILL)
        wait_for(lambda: not alive(pid), f"the daemon of {node} is gone")
        file.unlink()
        return pid

    def call(self, name, *arguments):
        """Run one of Slurm's commands on this cluster, and no other; return what it printed."""
        return called(str(self.commands / name), *arguments)

    def jobs(self):
        """All jobs that were ever submitted, as Slurm's own fields."""
        lines = self.call("scontrol", "show", "job", "-o").splitlines()
        return [
            dict(field.split("=", 1) for field in line.split() if "=" in field) for line in lines if "JobId" in line
        ]

    def running(self):
        """The running jobs' ids, by node."""
        return {job["NodeList"]: job["JobId"] for job in self.jobs() if job["JobState"] == "RUNNING"}

    def stop(self):
        with suppress(subprocess.CalledProcessError):
            self.call("scancel", "--user", "root")
            wait_for(lambda: not self.call("squeue", "-h"), "the jobs have ended", 20)
        files = [self.folder / f"{name}.pid" for name in (*NODES, "slurmctld")]
        for file in [*files, self.munge / "munged.pid"]:
            with suppress(OSError, ValueError):
                pid = int(file.read_text())
                os.kill(pid, signal.SIGTERM)
                wait_for(lambda pid=pid: not alive(pid), f"{file.stem} has ended", 20)
        shutil.rmtree(self.munge)


def alive(pid):
    """Whether a process is at work: one that has ended and waits for its parent is not."""
    with suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    return False
