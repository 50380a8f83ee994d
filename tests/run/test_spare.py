"""A worker that is started before its cell is known: gets the first cell, and leaves nothing where there is none."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from toy_cells import planned

from headbench.harness import splat
from headbench.harness.cli.early import make_ready
from headbench.harness.execution import local, spare, worker_command
from headbench.harness.execution.local import Local, LocalOptions
from headbench.harness.execution.neighbours import other_cells
from headbench.harness.execution.system import commands
from headbench.harness.options import Resources
from headbench.harness.run import State, cell_folder, read_cell
from headbench.harness.run.child import Ended, log_path

# What `harness/cli/worker.py` does with --early, but for what it makes ready.
WAITS = """
import os, sys, time
from pathlib import Path
from headbench.harness.execution.attend import attend, hear_endings, into_log
from headbench.harness.execution.spare import EARLY, await_cell, said_before

def ready(device, rasterizer):
    print("ready for", device, rasterizer, "on", os.environ.get("CUDA_VISIBLE_DEVICES"), flush=True)
    if device == "gone":
        os._exit(3)
    raise RuntimeError("told again by the cell")

def work(report):
    print("works on", folder.name)
    while not (folder / "enough").exists():
        time.sleep(0.01)

given = Path(sys.argv[1])
folder, begun = (await_cell(given, ready), time.monotonic()) if EARLY in sys.argv else (given, None)
if folder is None:
    os._exit(0)
if begun is not None:
    into_log(folder, said_before())
hear_endings()
os._exit(attend(folder, work, os.getppid(), begun))
"""


@pytest.fixture
def script(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The worker of these tests, which executors start from now on."""
    path = tmp_path / "harness" / "cli" / "worker.py"
    path.parent.mkdir(parents=True)
    path.write_text(WAITS)
    for module in (local, spare):
        monkeypatch.setattr(module, "worker_command", lambda folder: [sys.executable, "-P", str(path), str(folder)])
    return path


@pytest.fixture
def make(script: Path) -> Iterator[Callable[..., Local]]:
    """Makes local executors, which are ended with the test."""
    made: list[Local] = []

    def new(**options: object) -> Local:
        made.append(Local(LocalOptions.model_validate(options)))
        return made[-1]

    yield new
    for executor in made:
        executor.abandon([])
        executor.close()


@pytest.fixture
def cell(tmp_path: Path) -> Path:
    """Folder of a cell that is queued."""
    each = planned("good")
    folder = cell_folder(tmp_path / "run", each.cell)
    assert each.job is not None
    each.job.write(folder)
    each.record.write(folder)
    return folder


def waiting(script: Path) -> list[int]:
    """Processes of the worker of these tests that wait for a cell, or had to."""
    return [process for process, words in commands() if str(script) in words and spare.EARLY in words]


def begun_early(executor: Local) -> int:
    """Process of an executor's worker that waits for a cell."""
    assert executor._spare is not None
    return executor._spare[1].process.pid


def until(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def finish(executor: Local, cell: Path, handle: dict[str, object]) -> Ended:
    """Let a cell's work end, and return how its process ended."""
    (cell / "enough").touch()
    ended: list[Ended | None] = [None]

    def is_over() -> bool:
        ended[0] = executor.poll([handle])[0]
        return ended[0] is not None

    until(is_over)
    assert ended[0] is not None
    return ended[0]


def test_the_first_cell_goes_to_the_worker_that_waits_for_it(
    make: Callable[..., Local], script: Path, cell: Path, tmp_path: Path
) -> None:
    executor = make(gpus=[1])
    executor.expect("cuda", "gsplat")
    early = begun_early(executor)
    (handle,) = executor.submit([(cell, Resources())])
    assert handle == {"pid": early, "gpu": 1}
    # Others find the cell by the worker's command line, although that was there first.
    until(lambda: other_cells(tmp_path / "own").get(cell) == early)
    assert finish(executor, cell, handle) == Ended(State.DONE)
    record = read_cell(cell)
    assert record is not None and record.state is State.DONE and record.attempts == 1
    log = log_path(cell).read_text()
    assert log.startswith("ready for cuda gsplat on 1\n") and "works on seed0\n" in log, log
    assert not waiting(script)


def test_only_the_time_with_the_cell_counts_as_the_cells(make: Callable[..., Local], script: Path, cell: Path) -> None:
    executor = make()
    executor.expect("cpu", "auto")
    early = begun_early(executor)
    begun = time.monotonic()
    until(lambda: time.monotonic() - begun > 1.0)
    taken = time.monotonic()
    (handle,) = executor.submit([(cell, Resources())])
    (cell / "enough").touch()
    assert finish(executor, cell, handle).state is State.DONE
    record = read_cell(cell)
    assert record is not None and sum(record.phases.values()) <= time.monotonic() - taken
    assert handle["pid"] == early


@pytest.mark.tried(
    "faults in runs",
    "a worker that dies while it waits for its cell to be planned",
    "the cell, which another worker does",
)
def test_a_worker_that_died_before_its_cell_is_replaced(make: Callable[..., Local], script: Path, cell: Path) -> None:
    executor = make()
    executor.expect("gone", "auto")
    early, held = begun_early(executor), executor._spare
    until(lambda: held is not None and held[1].process.poll() is not None)
    (handle,) = executor.submit([(cell, Resources())])
    assert handle["pid"] != early
    assert finish(executor, cell, handle) == Ended(State.DONE)


def test_what_a_worker_says_that_dies_before_it_begins_stands_in_the_log(
    make: Callable[..., Local], script: Path, cell: Path
) -> None:
    script.write_text(WAITS.replace("into_log(folder, said_before())", "print('no licence', flush=True); os._exit(5)"))
    executor = make()
    executor.expect("cpu", "auto")
    (handle,) = executor.submit([(cell, Resources())])
    ended = finish(executor, cell, handle)
    assert ended.state is State.FAILED and ended.reason.endswith("exit code 5 before its first stage: no licence")
    assert log_path(cell).read_text() == "ready for cpu auto on None\nno licence\n"


def test_a_worker_that_gets_no_cell_ends_and_leaves_nothing(
    make: Callable[..., Local], script: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = tmp_path / "places"
    place.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(place))
    for end in (lambda executor: executor.close(), lambda executor: executor.poll([])):
        executor = make()
        executor.expect("cpu", "auto")
        until(lambda: waiting(script))
        assert list(place.iterdir())
        end(executor)
        assert not waiting(script) and not list(place.iterdir())


def test_a_worker_for_another_gpu_is_not_taken(make: Callable[..., Local], script: Path, cell: Path) -> None:
    executor = make(gpus=[0, 1], workers=2)
    executor.expect("cuda", "auto")
    early = begun_early(executor)
    executor._places[0] = 0  # as if a cell had begun on that GPU meanwhile
    (handle,) = executor.submit([(cell, Resources())])
    assert handle["gpu"] == 1 and handle["pid"] != early
    assert finish(executor, cell, handle).state is State.DONE
    assert not waiting(script)


@pytest.mark.tried(
    "faults in runs",
    "`bench run` killed by SIGKILL while its first worker waits for the plan",
    "the run's folder as it was: the worker ends, too",
)
def test_a_worker_that_waits_ends_with_the_process_that_started_it(script: Path, tmp_path: Path) -> None:
    code = (
        "import sys, time\nfrom pathlib import Path\nfrom headbench.harness.execution import spare\n"
        "spare.worker_command = lambda folder: [sys.executable, '-P', sys.argv[1], str(folder)]\n"
        "made = spare.Spare('cpu', 'auto', {})\nprint('made', flush=True)\ntime.sleep(60)\n"
    )
    parent = subprocess.Popen([sys.executable, "-P", "-c", code, str(script)], stdout=subprocess.PIPE)
    assert parent.stdout is not None and parent.stdout.readline() == b"made\n"
    until(lambda: waiting(script))
    parent.send_signal(signal.SIGKILL)
    parent.wait()
    until(lambda: not waiting(script))


# The worker as it is, but for what it imports meanwhile, which is told instead.
TELLS = """
import runpy, sys, types
early = sys.modules["headbench.harness.cli.early"] = types.ModuleType("early")
early.make_ready = lambda *given: print("ready for", *given, flush=True)
sys.argv[0] = {!r}
runpy.run_path(sys.argv[0], run_name="__main__")
"""


def test_the_worker_has_everything_made_ready_and_does_its_cell(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = next(part for part in worker_command(tmp_path) if Path(part).name == "worker.py")
    script = tmp_path / "worker.py"
    script.write_text(TELLS.format(place))
    monkeypatch.setattr(spare, "worker_command", lambda folder: [sys.executable, "-P", str(script), str(folder)])
    folder = cell_folder(tmp_path / "run", planned("good").cell)
    planned("good").record.write(folder)
    executor = Local(LocalOptions())
    executor.expect("cpu", "torch")
    early = begun_early(executor)
    (handle,) = executor.submit([(folder, Resources())])
    ended = finish(executor, folder, handle)
    assert handle["pid"] == early
    # There is no job: the worker says so, as it does when it is started with its cell.
    assert ended.state is State.FAILED and "job.json" in ended.reason
    assert log_path(folder).read_text().startswith("ready for cpu torch\n--- ")


def test_what_every_cell_needs_is_made_ready(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[tuple[str, str]] = []
    monkeypatch.setattr(splat, "make_rasterizer", lambda name, where: made.append((name, str(where))))
    make_ready("cpu", "torch")
    assert made == [("torch", "cpu")]
    # What a cell would import by itself: the first steps, the last scores.
    assert {"headbench.harness.run.stages", "headbench.metrics.score", "headbench.harness.cli.truth"} <= {*sys.modules}


@pytest.mark.slow
def test_the_worker_makes_ready_and_does_its_cell(tmp_path: Path) -> None:
    folder = cell_folder(tmp_path / "run", planned("good").cell)
    planned("good").record.write(folder)
    executor = Local(LocalOptions())
    executor.expect("cpu", "torch")
    (handle,) = executor.submit([(folder, Resources())])
    # There is no job: the worker says so, as it does when it is started with its cell.
    ended = finish(executor, folder, handle)
    assert ended.state is State.FAILED and "job.json" in ended.reason
    assert log_path(folder).read_text().startswith("--- ")
