"""A Slurm cluster of one node on loopback, of Debian's packages, without accounting; and subjects to train on.

Its jobs need no munge. A requeued job waits until its old credential has expired, 120 s by default: here 5 s, the
least that Slurm takes. A node that is gone for 10 s is down.
"""

from __future__ import annotations

import contextlib
import getpass
import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from headbench.datasets.synthetic.samples import insta

from .cells import LONG, MANY, Gate, of_local

_PROGRAMS = ("slurmctld", "slurmd", "sbatch", "squeue", "scancel", "sinfo", "scontrol", "srun")
_CONF = """
ClusterName=loopback
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={ports[0]}
SlurmdPort={ports[1]}
AuthType=auth/none
CredType=cred/none
AuthInfo=cred_expire=5
SlurmUser={user}
SlurmdUser={user}
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SwitchType=switch/none
MpiDefault=none
AccountingStorageType=accounting_storage/none
JobAcctGatherType=jobacct_gather/none
SchedulerType=sched/backfill
SchedulerParameters=batch_sched_delay=0,sched_interval=2,requeue_delay=1
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
ReturnToService=2
MinJobAge=2
KillWait=10
SlurmdTimeout=10
NodeName={host} NodeAddr=127.0.0.1 CPUs=2 RealMemory=4000 State=UNKNOWN
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
PartitionName=main Nodes={host} Default=YES MaxTime=INFINITE State=UP PriorityTier=1
PartitionName=short Nodes={host} MaxTime=00:01:00 State=UP PriorityTier=1
PartitionName=urgent Nodes={host} MaxTime=INFINITE State=UP PriorityTier=2
"""


def _free_ports(count: int) -> list[int]:
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return ports


def _of_jobs(folder: Path) -> set[int]:
    """IDs of the processes of jobs of the cluster whose files lie in `folder`, and of the daemons that started them."""
    found, parents = set(), set()
    conf = f"SLURM_CONF={folder / 'slurm.conf'}\0".encode()
    for path in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            environment = (path / "environ").read_bytes()
            if conf in environment and b"SLURM_JOB_ID=" in environment:
                found.add(int(path.name))
                parents.add(int((path / "stat").read_text().rpartition(")")[2].split()[1]))
    return found | {each for each in parents if b"slurmstepd" in Path(f"/proc/{each}/cmdline").read_bytes()}


@dataclass
class Cluster:
    """A cluster of one node: its controller can be stopped and started again."""

    folder: Path
    host: str
    controller: subprocess.Popen[bytes] | None = None
    node: subprocess.Popen[bytes] | None = None

    @property
    def environment(self) -> dict[str, str]:
        return {**os.environ, "SLURM_CONF": str(self.folder / "slurm.conf")}

    def start(self) -> None:
        """Start what does not run, and wait until the node is ready."""
        quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, "env": self.environment}
        if self.controller is None:
            self.controller = subprocess.Popen(["slurmctld", "-D"], **quiet)  # type: ignore[call-overload]
        if self.node is None:
            self.node = subprocess.Popen(["slurmd", "-D", "-N", self.host], **quiet)  # type: ignore[call-overload]
        deadline = time.monotonic() + 180
        # A star behind the state means that the node does not answer yet.
        while not set(self.ask("sinfo", "-h", "-o", "%T").split()) & {"idle", "mixed", "allocated", "completing"}:
            if time.monotonic() > deadline:
                raise TimeoutError((self.folder / "slurmctld.log").read_text()[-2000:])
            time.sleep(0.2)

    def stop_controller(self, forget: bool = False) -> None:
        """End the controller, as a reboot of its machine does; jobs on nodes go on.

        Args:
            forget: remove what it kept on its disk, so that the next one knows no job.
        """
        assert self.controller is not None
        self.controller.terminate()
        self.controller.wait(60)
        self.controller = None
        if forget:
            shutil.rmtree(self.folder / "state")
            (self.folder / "state").mkdir()

    def lose_node(self) -> None:
        """Kill the node's daemon and all that it started, at once, as a power cut does."""
        assert self.node is not None
        for process in (self.node.pid, *_of_jobs(self.folder)):
            with contextlib.suppress(ProcessLookupError):
                os.kill(process, signal.SIGKILL)
        self.node.wait(30)
        self.node = None

    def ask(self, *command: str) -> str:
        """Output of one of Slurm's commands; empty where the controller does not answer."""
        return subprocess.run(command, capture_output=True, text=True, env=self.environment, timeout=120).stdout

    def stop(self) -> None:
        self.ask("scancel", "--user", getpass.getuser())
        for each in (self.node, self.controller):
            if each is not None:
                each.terminate()
                each.wait(30)


@pytest.fixture(scope="session")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """A running cluster; skipped where Slurm's programs are not installed, and unless `make test-slurm` asks for it."""
    if not os.environ.get("HEADBENCH_SLURM"):
        pytest.skip("Slurm's daemons start for `make test-slurm` alone")
    missing = [name for name in _PROGRAMS if shutil.which(name) is None]
    if missing:
        pytest.skip(f"{', '.join(missing)} not installed (Debian: slurmctld, slurmd, slurm-client)")
    folder, host = tmp_path_factory.mktemp("slurm"), socket.gethostname().split(".")[0]
    for name in ("state", "spool"):
        (folder / name).mkdir()
    values = {"folder": folder, "host": host, "ports": _free_ports(2), "user": getpass.getuser()}
    (folder / "slurm.conf").write_text(_CONF.format(**values))
    found = Cluster(folder, host)
    try:
        found.start()
    except TimeoutError as error:
        found.stop()
        # As where it is not installed: a machine that does not let it run says nothing of this project.
        pytest.skip(f"WARNING: Slurm's daemons do not become ready on this machine: {error}")
    yield found
    found.stop()


@pytest.fixture(scope="session")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data root with four synthetic subjects of 6 frames of 48 x 48 in INSTA's layout: synth00 and three copies."""
    root = tmp_path_factory.mktemp("data")
    insta(root)
    for number in (1, 2, 3):
        shutil.copytree(root / "insta" / "synth00", root / "insta" / f"synth0{number}")
    return root


@pytest.fixture(scope="session")
def reference(data: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Hashes of the cells of MANY under `local --workers 2`; the suites that run in one process share them."""
    return of_local(data, tmp_path_factory.mktemp("local") / "run", *MANY)


@pytest.fixture(scope="session")
def calm(data: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Hashes of the cells of LONG under `local --workers 2`, where nobody disturbs them."""
    return of_local(data, tmp_path_factory.mktemp("calm") / "run", *LONG)


@pytest.fixture
def gate(tmp_path_factory: pytest.TempPathFactory) -> Gate:
    """A gate at which trainings wait that were started with its environment."""
    return Gate(tmp_path_factory.mktemp("gate"))
