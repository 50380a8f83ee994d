"""Ray itself: cells as tasks on two node processes and on a cluster of the run's own, and what happens when they go."""

from __future__ import annotations

import importlib.util
import os
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from waiting import until

from headbench.harness.execution import holder
from headbench.harness.execution.claim import RUNNER
from headbench.harness.run import State, read_cells
from headbench.harness.run.runners import living

from .cells import BENCH, LONG, MANY, PAIR, Gate, begun, command, done, hashes, stand_at

pytestmark = pytest.mark.slow
Run = Callable[..., subprocess.Popen[str]]
PATIENCE = 600
"""Seconds after which what does not come to pass is a failure; other work on the machine makes cells slow."""


class Nodes:
    """A running cluster of two node processes with one core each, with a token that its users must know."""

    def __init__(self, folder: str) -> None:
        own = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
        self.environment = own | {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": "of-the-tests"}
        self._process = subprocess.Popen(
            [sys.executable, "-P", str(Path(__file__).with_name("ray_nodes.py")), folder],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, env=self.environment,
        )  # fmt: skip
        assert self._process.stdout is not None
        self.address = self._process.stdout.readline().strip()
        assert self.address, "the cluster did not start"

    def ask(self, what: str) -> int:
        """Do `what` (kill, add or jobs); the number of drivers that there have been."""
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.write(f"{what}\n")
        self._process.stdin.flush()
        return int(self._process.stdout.readline())

    def stop(self) -> None:
        self._process.communicate(timeout=60)


@pytest.fixture(scope="module")
def nodes() -> Iterator[Nodes]:
    """A running cluster; skipped where Ray is not installed, and unless `make test-ray` asks for it."""
    if not os.environ.get("HEADBENCH_RAY"):
        pytest.skip("Ray starts for `make test-ray` alone")
    if importlib.util.find_spec("ray") is None:
        pytest.skip("ray is not installed: pip install 'headbench[ray]'")
    with tempfile.TemporaryDirectory(prefix="hb-", dir="/tmp", ignore_cleanup_errors=True) as folder:
        found = Nodes(folder)
        yield found
        found.stop()


@pytest.fixture
def run(nodes: Nodes, data: Path, tmp_path: Path) -> Iterator[Run]:
    """(out, words, more environment) -> a process of `bench run` with the executor `ray`, one thread per cell.

    Where no word names an address, the cluster is the run's own.
    """

    started: list[subprocess.Popen[str]] = []

    def start(out: str, *words: str, **environment: str) -> subprocess.Popen[str]:
        # A run with a cluster of its own must join neither the one that this names nor the one that runs here.
        process = subprocess.Popen(
            [*BENCH, *command(data, tmp_path / out, "--executor", "ray", *words)],
            env=nodes.environment | {"RAY_ADDRESS": nodes.address} | environment,
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()


@pytest.fixture
def there(nodes: Nodes) -> tuple[str, ...]:
    """Words that name the running cluster of two nodes."""
    return "--executor-set", f"address={nodes.address}"


def own_clusters() -> list[str]:
    """Command lines of processes of clusters that runs have started."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = path.read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            continue
        if "/hb-ray-" in words:
            found.append(words[:120])
    return found


def listeners(ports: range) -> set[str]:
    """Addresses that take connections on some ports of this machine, in hexadecimal digits as the kernel has them."""
    found = set()
    for name in ("tcp", "tcp6"):
        for line in Path("/proc/net", name).read_text().splitlines()[1:]:
            address, _, port = line.split()[1].partition(":")
            if line.split()[3] == "0A" and int(port, 16) in ports:
                found.add(address)
    assert found, "nothing listens in the range of the run's ports"
    return found


@pytest.mark.tried(
    "faults in runs",
    "a node of a Ray cluster killed with a cell at work on it",
    "its cell goes on at another node, and hashes equal those of `local`",
    "steps since the last checkpoint",
)
def test_cells_of_a_node_that_is_lost_go_elsewhere_and_end_with_the_hashes_of_local(
    run: Run, nodes: Nodes, there: tuple[str, ...], tmp_path: Path, gate: Gate, calm: dict[str, str]
) -> None:
    gate.close(20)
    working, out = run("two", *there, *LONG, **gate.environment), tmp_path / "two"
    until(lambda: len(stand_at(out, 20)) == 2 or working.poll() is not None, PATIENCE)
    nodes.ask("kill")
    gate.open()
    done(working)
    nodes.ask("add")
    assert hashes(out) == calm
    assert sorted(record.attempts for record in read_cells(out)) == [1, 2]


@pytest.mark.tried(
    "faults in runs",
    "`bench run` killed with a Ray cluster of its own",
    "the run: nothing of Ray stays, and the same command goes on; hashes equal those of `local`",
    "steps since the last checkpoint",
)
def test_a_cluster_of_its_own_goes_with_a_killed_run_which_comes_back(
    run: Run, nodes: Nodes, tmp_path: Path, gate: Gate, calm: dict[str, str]
) -> None:
    joined = nodes.ask("jobs")
    gate.close(20)
    killed, out = run("own", *LONG, "--executor-set", "cpus=1", **gate.environment), tmp_path / "own"
    until(lambda: stand_at(out, 20) or killed.poll() is not None, PATIENCE)
    assert own_clusters() and listeners(range(24000, 26000)) <= {"0100007F", "0000000000000000FFFF00000100007F"}
    killed.send_signal(signal.SIGKILL)
    killed.communicate()
    until(lambda: not own_clusters(), PATIENCE)
    until(lambda: not any(holder(folder) for folder in begun(out)), PATIENCE)
    status = subprocess.run([*BENCH, "status", str(out)], capture_output=True, text=True, timeout=PATIENCE).stdout
    assert "was killed; the same command goes on" in status, status
    done(run("own", *LONG, "--executor-set", "cpus=1"))
    assert hashes(out) == calm
    assert not own_clusters() and nodes.ask("jobs") == joined, "a stranger's cluster was joined"


def test_an_interrupt_and_bench_stop_end_the_tasks(
    run: Run, there: tuple[str, ...], tmp_path: Path, gate: Gate
) -> None:
    gate.close(20)
    first, out = run("interrupted", *there, *LONG, **gate.environment), tmp_path / "interrupted"
    until(lambda: len(stand_at(out, 20)) == 2 or first.poll() is not None, PATIENCE)
    first.send_signal(signal.SIGINT)
    _, error = first.communicate(timeout=PATIENCE)
    assert first.returncode == 130, error
    assert [record.state for record in read_cells(out)] == [State.INTERRUPTED] * 2, error
    assert not list(out.glob("cells/*/*/*/*/claim.json"))

    gate.close(40)
    assert "goes on" in done(run("interrupted", *there, *LONG, "--detach", **gate.environment))
    until(lambda: len(stand_at(out, 40)) == 2, PATIENCE)
    stopped = subprocess.run([*BENCH, "stop", str(out)], capture_output=True, text=True, timeout=PATIENCE)
    assert stopped.returncode == 0, stopped.stderr
    assert [record.state for record in read_cells(out)] == [State.INTERRUPTED] * 2
    assert not list(out.glob("cells/*/*/*/*/claim.json"))
    words = ("logs", str(out), "seed1", "--lines", "1000")
    logs = subprocess.run([*BENCH, *words], capture_output=True, text=True, timeout=PATIENCE)
    assert logs.stdout.count(" start\n") == 2, logs


@pytest.mark.tried(
    "faults in runs",
    "`bench run` on a running Ray cluster killed",
    "the run: its tasks end with it, the same command goes on, and hashes of 3 methods x 4 subjects x 2 seeds equal "
    "those of `local --workers 2`",
    "steps since the last checkpoint",
)
def test_tasks_on_a_running_cluster_end_with_a_killed_run_which_comes_back(
    run: Run, there: tuple[str, ...], tmp_path: Path, reference: dict[str, str]
) -> None:
    killed, out = run("killed", *there, *MANY), tmp_path / "killed"
    until(lambda: begun(out) or killed.poll() is not None, PATIENCE)
    killed.send_signal(signal.SIGKILL)
    killed.communicate()
    until(lambda: not any(holder(folder) for folder in begun(out)), PATIENCE)
    assert done(run("killed", *there, *MANY)).count(": done") == 24
    assert hashes(out) == reference


@pytest.mark.tried(
    "faults in runs",
    "two `bench run` with Ray at work on one folder, the one that has the cells killed by SIGKILL",
    "the cells, which the other takes and goes on with; hashes equal those of a run left alone",
    "steps since the last checkpoint",
)
def test_a_second_run_on_the_folder_takes_the_cells_of_the_first_when_that_is_killed(
    run: Run, there: tuple[str, ...], tmp_path: Path, gate: Gate, calm: dict[str, str]
) -> None:
    gate.close(20)
    first, out = run("shared", *there, *LONG, **gate.environment), tmp_path / "shared"
    until(lambda: len(stand_at(out, 20)) == 2 or first.poll() is not None, PATIENCE)
    second = run("shared", *there, *LONG, **gate.environment)
    until(lambda: len(living(out)) == 2 or second.poll() is not None, PATIENCE)
    assert all(holder(folder) for folder in stand_at(out, 20)), "the second run disturbs the first"
    first.send_signal(signal.SIGKILL)
    first.communicate()
    gate.open()
    shown = done(second)
    assert f"helps process {first.pid} on" in shown and shown.count(": done") == 2, shown
    assert [record.attempts for record in read_cells(out)] == [2, 2]
    assert hashes(out) == calm
    assert not list(out.glob(f"cells/*/*/*/*/{RUNNER}")) and not (out / "runners").exists()


@pytest.mark.tried(
    "wrong command lines",
    "a Ray address where nothing or something else answers, a wrong token, more cores or memory than a node has",
    "one sentence, before anything is written or submitted",
    "nothing",
)
def test_what_ray_cannot_do_is_one_sentence_before_anything_is_written(
    run: Run, nodes: Nodes, there: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cases = {
        ("--executor-set", "address=127.0.0.1:9"): "Ray at 127.0.0.1:9 does not answer.",
        ("--threads", "64"): "A cell asks for 64 cores, and no node gives that; the most on the Ray cluster",
        ("--memory", "64GB"): "A cell asks for 1 core, 64.0 GB, and no node gives that; the most on the Ray cluster",
    }
    for more, sentence in cases.items():
        tried = run("refused", *there, *PAIR, *more)
        _, error = tried.communicate(timeout=PATIENCE)
        assert sentence in " ".join(error.split()) and "Traceback" not in error and tried.returncode == 1, error
        assert not (tmp_path / "refused").exists()
    with socket.create_server(("127.0.0.1", 0)) as other:
        tried = run("refused", *PAIR, "--executor-set", f"address=127.0.0.1:{other.getsockname()[1]}")
        _, error = tried.communicate(timeout=PATIENCE)
    assert "does not answer" in " ".join(error.split()) and not (tmp_path / "refused").exists(), error
    assert run("refused", *there, *PAIR, "--dry-run").wait(PATIENCE) == 0
    monkeypatch.setitem(nodes.environment, "RAY_AUTH_TOKEN", "of-somebody-else")
    _, error = run("refused", *there, *PAIR).communicate(timeout=PATIENCE)
    assert "refuses this user's token" in " ".join(error.split()) and not (tmp_path / "refused").exists(), error
