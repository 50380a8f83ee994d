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
from headbench.harness.run import State, read_cells

from .conftest import begun, hashes

pytestmark = pytest.mark.slow
HEARS = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler); "
BENCH = [sys.executable, "-P", "-c", HEARS + "from headbench.harness.cli.main import main; main()"]
PAIR = ("--methods", "GaussianAvatars,FlashAvatar", "--datasets", "insta[synth00]")
MANY = ("--methods", "GaussianAvatars,FlashAvatar,nearest-frame", "--datasets", "insta", "--seeds", "0,1")
Run = Callable[..., subprocess.Popen[str]]


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
    """(out, executor, words) -> a process of `bench run` whose cells have one thread each.

    The executor `nodes` is Ray's with the running cluster, and `ray` the same with a cluster of the run's own.
    """

    started: list[subprocess.Popen[str]] = []

    def start(out: str, executor: str, *words: str) -> subprocess.Popen[str]:
        # A run with a cluster of its own must join neither the one that this names nor the one that runs here.
        process = subprocess.Popen(
            [*BENCH, *command(nodes, data, tmp_path / out, executor, *words)],
            env=nodes.environment | {"RAY_ADDRESS": nodes.address},
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()


def command(nodes: Nodes, data: Path, out: Path, executor: str, *words: str) -> list[str]:
    sets = {"local": ["--workers", "2"], "nodes": ["--executor-set", f"address={nodes.address}"]}.get(executor, [])
    name = "local" if executor == "local" else "ray"
    how = ["--preset", "tiny", "--device", "cpu", "--threads", "1", "--deterministic", "--no-report"]
    return ["run", "--data-root", str(data), *how, "--executor", name, *sets, *words, "--out", str(out)]


@pytest.fixture(scope="module")
def expected(nodes: Nodes, data: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Hashes of the cells of PAIR under the executor `local`."""
    out = tmp_path_factory.mktemp("local") / "run"
    subprocess.run([*BENCH, *command(nodes, data, out, "local", *PAIR)], check=True, capture_output=True, timeout=200)
    return hashes(out)


def done(process: subprocess.Popen[str]) -> str:
    """What a process printed, that must end well."""
    out, error = process.communicate(timeout=500)
    assert process.returncode == 0, out + error
    return out


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
    run: Run, nodes: Nodes, tmp_path: Path, expected: dict[str, str]
) -> None:
    working, out = run("two", "nodes", *PAIR), tmp_path / "two"
    until(lambda: len(begun(out)) == 2 or working.poll() is not None, 120)
    nodes.ask("kill")
    done(working)
    nodes.ask("add")
    assert hashes(out) == expected
    assert sorted(record.attempts for record in read_cells(out)) == [1, 2]


@pytest.mark.tried(
    "faults in runs",
    "`bench run` killed with a Ray cluster of its own",
    "the run: nothing of Ray stays, and the same command goes on; hashes equal those of `local`",
    "steps since the last checkpoint",
)
def test_a_cluster_of_its_own_goes_with_a_killed_run_which_comes_back(
    run: Run, nodes: Nodes, tmp_path: Path, expected: dict[str, str]
) -> None:
    joined = nodes.ask("jobs")
    killed, out = run("own", "ray", *PAIR, "--executor-set", "cpus=1"), tmp_path / "own"
    until(lambda: begun(out) or killed.poll() is not None, 120)
    assert own_clusters() and listeners(range(24000, 26000)) <= {"0100007F", "0000000000000000FFFF00000100007F"}
    killed.send_signal(signal.SIGKILL)
    killed.communicate()
    until(lambda: not own_clusters(), 20)
    until(lambda: not any(holder(folder) for folder in begun(out)), 20)
    status = subprocess.run([*BENCH, "status", str(out)], capture_output=True, text=True, timeout=60).stdout
    assert "was killed; the same command goes on" in status, status
    done(run("own", "ray", *PAIR, "--executor-set", "cpus=1"))
    assert hashes(out) == expected
    assert not own_clusters() and nodes.ask("jobs") == joined, "a stranger's cluster was joined"


def test_an_interrupt_and_bench_stop_end_the_tasks(run: Run, nodes: Nodes, tmp_path: Path) -> None:
    first, out = run("interrupted", "nodes", *PAIR), tmp_path / "interrupted"
    until(lambda: len(begun(out)) == 2 or first.poll() is not None, 120)
    first.send_signal(signal.SIGINT)
    _, error = first.communicate(timeout=100)
    assert first.returncode == 130, error
    ends = [(record.cell.method, record.state) for record in read_cells(out)]
    assert {state for _, state in ends} <= {State.INTERRUPTED, State.DONE}, (ends, error)
    assert not list(out.glob("cells/*/*/*/*/claim.json"))

    assert "goes on" in done(run("interrupted", "nodes", *PAIR, "--detach"))
    until(lambda: any((path / "claim.json").exists() for path in begun(out)), 60)
    stopped = subprocess.run([*BENCH, "stop", str(out)], capture_output=True, text=True, timeout=100)
    assert stopped.returncode == 0, stopped.stderr
    assert not list(out.glob("cells/*/*/*/*/claim.json"))
    logs = subprocess.run([*BENCH, "logs", str(out), "flash"], capture_output=True, text=True, timeout=60)
    assert " start\n" in logs.stdout


@pytest.mark.tried(
    "faults in runs",
    "`bench run` on a running Ray cluster killed",
    "the run: its tasks end with it, the same command goes on, and hashes of 3 methods x 4 subjects x 2 seeds equal "
    "those of `local --workers 2`",
    "steps since the last checkpoint",
)
def test_tasks_on_a_running_cluster_end_with_a_killed_run_which_comes_back(run: Run, tmp_path: Path) -> None:
    killed, out = run("killed", "nodes", *MANY), tmp_path / "killed"
    until(lambda: begun(out) or killed.poll() is not None, 120)
    killed.send_signal(signal.SIGKILL)
    killed.communicate()
    until(lambda: not any(holder(folder) for folder in begun(out)), 20)
    assert done(run("killed", "nodes", *MANY)).count(": done") == 24
    done(run("here", "local", *MANY))
    assert hashes(out) == hashes(tmp_path / "here")


@pytest.mark.tried(
    "wrong command lines",
    "a Ray address where nothing or something else answers, a wrong token, more cores or memory than a node has",
    "one sentence, before anything is written or submitted",
    "nothing",
)
def test_what_ray_cannot_do_is_one_sentence_before_anything_is_written(
    run: Run, nodes: Nodes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cases = {
        ("--executor-set", "address=127.0.0.1:9"): "Ray at 127.0.0.1:9 does not answer.",
        ("--threads", "64"): "A cell asks for 64 cores, and no node gives that; the most on the Ray cluster",
        ("--memory", "64GB"): "A cell asks for 1 core, 64.0 GB, and no node gives that; the most on the Ray cluster",
    }
    for more, sentence in cases.items():
        tried = run("refused", "nodes", *PAIR, *more)
        _, error = tried.communicate(timeout=120)
        assert sentence in " ".join(error.split()) and "Traceback" not in error and tried.returncode == 1, error
        assert not (tmp_path / "refused").exists()
    with socket.create_server(("127.0.0.1", 0)) as other:
        tried = run("refused", "nodes", *PAIR, "--executor-set", f"address=127.0.0.1:{other.getsockname()[1]}")
        _, error = tried.communicate(timeout=120)
    assert "does not answer" in " ".join(error.split()) and not (tmp_path / "refused").exists(), error
    assert run("refused", "nodes", *PAIR, "--dry-run").wait(120) == 0
    monkeypatch.setitem(nodes.environment, "RAY_AUTH_TOKEN", "of-somebody-else")
    _, error = run("refused", "nodes", *PAIR).communicate(timeout=120)
    assert "refuses this user's token" in " ".join(error.split()) and not (tmp_path / "refused").exists(), error
