"""Executors: chosen and told by the command line, several cells at once, and one of another distribution."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

import pytest
import torch

from headbench.harness.cli import dry_run
from headbench.harness.cli.progress import PlainWatcher, TerminalWatcher
from headbench.harness.errors import BenchError
from headbench.harness.execution import choose, local, neighbours, system
from headbench.harness.execution.local import Local, LocalOptions
from headbench.harness.execution.system import machine_memory
from headbench.harness.files import read_json
from headbench.harness.options import Resources
from headbench.harness.run import Cell, CellRecord, Job, State, read_cells
from headbench.harness.run.costs import Record
from headbench.harness.run.estimate import together
from headbench.harness.run.request import read_request

HERE = Path(__file__).parent
COMMON = ("--preset", "demo", "--device", "cpu", "--rasterizer", "torch", "--no-report")


@pytest.fixture
def extra(tmp_path: Path) -> Path:
    """A site folder with a distribution that brings the executor of docs/plugins.md and another."""
    site = tmp_path / "queues"
    info = site / "queues-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: queues\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[headbench]\nqueues = queues\nreverse = headbench_reverse\n")
    (site / "queues.py").write_text((HERE / "queues.py").read_text())
    (site / "headbench_reverse").mkdir()
    page = (HERE.parents[1] / "docs" / "plugins.md").read_text(encoding="utf-8")
    for name in ("__init__", "executor"):
        (code,) = re.findall(rf"^`headbench_reverse/{name}\.py`\n\n```python\n(.*?)^```", page, re.M | re.S)
        (site / "headbench_reverse" / f"{name}.py").write_text(code)
    return site


def cells(run: Path) -> list[Path]:
    return sorted(path.parent for path in run.glob("cells/*/*/*/*/cell.json"))


def hashes(run: Path) -> dict[str, str]:
    found = {}
    for record in read_cells(run):
        assert record.state is State.DONE, record
        folder = run / "cells" / record.cell.path
        found[record.cell.path] = (folder / "renders" / "train-white" / "sha256.txt").read_text()
    return found


@pytest.mark.slow
def test_workers_beside_each_other_give_the_hashes_of_one_with_equal_threads(
    bench: Callable[..., Any], blobs: Path, faces: Path, tmp_path: Path
) -> None:
    arguments = (
        "run", "--methods", "blobs,noisy", "--datasets", "discs", "--data-root", faces, *COMMON, "--threads", 1,
        "--deterministic",
    )  # fmt: skip
    done = bench(*arguments, "--workers", 1, "--out", "one", site=blobs)
    assert done.code == 0, done
    done = bench(*arguments, "--workers", 2, "--out", "two", site=blobs)
    assert done.code == 0 and len(hashes(tmp_path / "two")) == 4, done
    assert hashes(tmp_path / "one") == hashes(tmp_path / "two")
    # Both of the first two had begun before one of them ended, and each line says of which cell it speaks.
    lines = done.out.splitlines()
    starts = [k for k, line in enumerate(lines) if line.startswith("[") and line.endswith(": start")]
    ends = [k for k, line in enumerate(lines) if line.endswith(": done")]
    assert len(starts) == len(ends) == 4 and starts[1] < ends[0]
    assert any("seed0: train" in line for line in lines)
    job = Job.read(cells(tmp_path / "two")[0])
    assert job.execution.threads == 1 and job.resources == Resources(0, 1, None, None)


@pytest.mark.slow
def test_workers_share_the_cores_and_a_cell_that_was_begun_keeps_its_threads(
    bench: Callable[..., Any], faces: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch, "get_num_threads", lambda: 8)
    arguments = ("run", "--methods", "raises", "--datasets", "discs", "--data-root", faces, *COMMON, "--out", "out")
    assert bench(*arguments, "--workers", 2, "--timeout", "1h").code == 2
    jobs = [Job.read(folder) for folder in cells(tmp_path / "out")]
    assert [job.execution.threads for job in jobs] == [4, 4]
    assert {job.resources for job in jobs} == {Resources(0, 4, None, 3600.0)}
    assert bench(*arguments).code == 2
    assert [Job.read(folder).execution.threads for folder in cells(tmp_path / "out")] == [4, 4]
    assert bench(*arguments, "--threads", 3).code == 2
    assert [Job.read(folder).execution.threads for folder in cells(tmp_path / "out")] == [3, 3]


@pytest.mark.slow
def test_an_executor_of_another_distribution_runs_cells_in_reverse_order(
    bench: Callable[..., Any], extra: Path, faces: Path, tmp_path: Path
) -> None:
    listed = bench("list", "executors", site=extra)
    text = " ".join(listed.out.split())
    assert listed.code == 0 and "local nothing built in" in text and "reverse nothing queues 1.0" in text
    assert "far a-queue-that-is-not-there: not found on PATH" in text
    arguments = (
        "run", "--methods", "average,noisy", "--datasets", "discs", "--data-root", faces, *COMMON, "--out", "out",
        "--executor", "reverse", "--executor-set", "pause=0.1",
    )  # fmt: skip
    done = bench(*arguments)
    assert done.code == 0, done
    records = read_cells(tmp_path / "out")
    assert [r.state for r in records] == [State.DONE] * 4
    began = [(tmp_path / "out" / "cells" / r.cell.path / "outcome.json").stat().st_mtime_ns for r in records]
    assert began == sorted(began, reverse=True)
    ends = [line for line in done.out.splitlines() if line.endswith(": done")]
    assert [line[:5] for line in ends] == ["[4/4]", "[3/4]", "[2/4]", "[1/4]"]
    again = bench("run", "out/run.yaml")
    assert again.code == 0 and {r.attempts for r in read_cells(tmp_path / "out")} == {1}


@pytest.mark.slow
def test_the_circuit_takes_back_what_an_executor_has_in_its_queue(
    bench: Callable[..., Any], extra: Path, faces: Path, tmp_path: Path
) -> None:
    done = bench(
        "run", "--methods", "raises", "--datasets", "discs", "--data-root", faces, *COMMON, "--out", "out",
        "--executor", "reverse", "--seeds", "0,1", site=extra,
    )  # fmt: skip
    records = read_cells(tmp_path / "out")
    assert done.code == 2 and [r.state for r in records] == ["skipped", "skipped", "failed", "failed"], done
    assert records[0].reason.startswith("circuit: Raises failed 2 times") and records[0].attempts == 0


@pytest.mark.tried(
    "faults in runs", "`bench run` killed while an executor's worker lives on", "the worker, which the next run follows"
)
@pytest.mark.slow
def test_a_run_goes_on_with_what_an_earlier_one_has_submitted(
    bench: Callable[..., Any], environment: dict[str, str], extra: Path, faces: Path, tmp_path: Path
) -> None:
    """The worker of an executor that outlives `bench run` is followed, not started again."""
    (faces / "discs" / "anna" / "subject.json").write_text('{"frames": 400, "size": 24, "head": "openhead"}')
    arguments = (
        "run", "--methods", "noisy", "--datasets", "discs[anna]", "--data-root", faces, *COMMON, "--out", "out",
        "--executor", "reverse",
    )  # fmt: skip
    paths = os.pathsep.join([str(extra), environment["PYTHONPATH"]])
    code = "from headbench.harness.cli.main import main; main()"
    runner = subprocess.Popen(
        [sys.executable, "-P", "-c", code, *map(str, arguments)],
        env=os.environ | environment | {"PYTHONPATH": paths}, stdout=subprocess.DEVNULL,
    )  # fmt: skip
    cell = tmp_path / "out" / "cells" / "noisy-demo" / "discs" / "anna" / "seed0"
    deadline = time.monotonic() + 60
    while not (cell / "claim.json").exists():
        assert time.monotonic() < deadline and runner.poll() is None
        time.sleep(0.02)
    runner.kill()
    runner.wait()
    assert read_json(cell / "handle.json")["executor"] == "reverse"
    done = bench(*arguments, site=extra)
    assert done.code == 0 and ": start" in done.out, done
    (record,) = read_cells(tmp_path / "out")
    assert (record.state, record.attempts) == (State.DONE, 1) and not (cell / "handle.json").exists()


@pytest.mark.tried(
    "wrong command lines", "executors, workers and GPUs that are not there", "one sentence; nothing is written"
)
@pytest.mark.parametrize(
    ("given", "said"),
    [
        (("--executor", "locl"), "unknown executor 'locl'"),
        (("--executor", "far"), "executor far needs a-queue-that-is-not-there, not found on PATH"),
        (("--executor-set", "worker=2"), "executor local: unknown key 'worker'"),
        (("--executor-set", "workers"), "--executor-set 'workers': expected NAME=VALUE"),
        (("--executor-set", "workers=many"), "executor local: workers: "),
        (("--executor-set", "workers=2", "--workers", 2), "say the same: name one of them"),
        (("--executor", "reverse", "--gpus", 0), "executor reverse has no option gpus"),
        (("--workers", 0), "workers: "),
        (("--workers", -1), "workers: "),
        (("--threads", 0), "threads: "),
        (("--gpus", "a"), "gpus"),
        (("--gpus", "7", "--device", "auto"), "GPU 7 was asked for, and found "),
        (("--gpus", "0"), "--gpus names GPUs, and --device asks for cpu"),
        (("--gpus", "0,0", "--device", "auto"), "each GPU once"),
    ],
)
def test_what_is_not_there_is_one_sentence_and_nothing_is_written(
    bench: Callable[..., Any], extra: Path, faces: Path, tmp_path: Path, given: tuple[object, ...], said: str
) -> None:
    done = bench(
        "run", "--methods", "average", "--datasets", "discs", "--data-root", faces, *COMMON, "--out", "out", *given,
        site=extra,
    )  # fmt: skip
    assert done.code == 1 and done.err.startswith("error: "), done
    assert said.lower() in " ".join(done.err.split()).lower() and "Traceback" not in done.err
    assert not (tmp_path / "out").exists()


class Idle:
    """A child that never ends and says what it was given."""

    made: ClassVar[list[dict[str, str]]] = []

    def __init__(
        self, command: object, folder: Path, timeout: object, more: dict[str, str], spare: object = None
    ) -> None:
        self.made.append(more)
        self.pid = len(self.made)
        self.over = False

    def poll(self) -> object:
        return "over" if self.over else None


def test_each_gpu_has_one_cell_and_the_next_gets_the_one_that_is_free(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(local, "Child", Idle)
    monkeypatch.setattr(Idle, "made", [])
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 4)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    executor = Local(LocalOptions.model_validate({"gpus": "3,1"}))
    executor.prepare("auto")
    assert executor.slots == executor.share == 2
    handles = executor.submit([(Path("a"), Resources()), (Path("b"), Resources())])
    assert [made["CUDA_VISIBLE_DEVICES"] for made in Idle.made] == ["3", "1"]
    executor._children[2].over = True
    assert executor.poll(handles) == [None, "over"]
    executor.submit([(Path("c"), Resources())])
    assert Idle.made[-1] == {"CUDA_VISIBLE_DEVICES": "1"}
    # The numbers are of what this process sees.
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "GPU-aa,GPU-bb,GPU-cc")
    several = Local(LocalOptions(workers=2))
    several.prepare("cuda")
    several.submit([(Path("a"), Resources()), (Path("b"), Resources())])
    assert [made["CUDA_VISIBLE_DEVICES"] for made in Idle.made[-2:]] == ["GPU-aa", "GPU-bb"]
    alone = Local(LocalOptions())
    alone.prepare("auto")
    alone.submit([(Path("a"), Resources())])
    assert Idle.made[-1] == {}
    with pytest.raises(BenchError, match=r"GPU 7 was asked for, and found 0, 1, 2, 3\."):
        Local(LocalOptions(gpus=(7,))).prepare("auto")


def test_gpus_that_other_runs_compute_on_are_said_and_come_last(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(local, "Child", Idle)
    monkeypatch.setattr(Idle, "made", [])
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 3)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    seen = [{"0"}, {"0"}, {"2"}]
    monkeypatch.setattr(neighbours, "_seen_by", lambda own: seen)
    executor = Local(LocalOptions.model_validate({"gpus": "0,1,2"}))
    executor.prepare("auto")
    (said,) = executor.remarks()
    assert said.startswith("GPU 0, 2 have cells of other runs at work") and "--gpus" in said
    for _ in range(4):
        executor.submit([(Path("a"), Resources())])
    assert [made["CUDA_VISIBLE_DEVICES"] for made in Idle.made] == ["1", "1", "2", "0"]
    seen[:] = [set()]  # a worker that sees all of them
    assert executor.remarks()[0].startswith("GPU 0, 1, 2 have")
    seen[:] = []
    assert executor.remarks() == [] and Local(LocalOptions()).remarks() == []


@pytest.mark.parametrize(("text", "count"), [("16GB", 16e9), ("1.5 kB", 1500), ("500MB", 5e8), ("7", 7), (8, 8)])
def test_a_size_is_read_with_its_unit(text: object, count: float) -> None:
    assert read_request(None, {"data_root": Path("/data"), "memory": text}).memory == count


def test_the_system_says_what_memory_there_is_for_this_process() -> None:
    has = machine_memory()
    assert has is not None and 2**28 < has <= os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


def test_the_smallest_limit_counts_as_the_memory_of_the_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    files = {
        "/proc/meminfo": "MemTotal:       16000000 kB\nMemFree: 1 kB\n",
        "/proc/self/cgroup": "0::/jobs/one\n",
        "/sys/fs/cgroup/memory.max": "max\n",
    }
    monkeypatch.setattr(system, "_read", lambda path: files.get(path, ""))
    assert machine_memory() == 16_384_000_000
    files["/sys/fs/cgroup/jobs/one/memory.max"] = "4000000000\n"
    assert machine_memory() == 4_000_000_000
    files.clear()
    assert machine_memory() is None


@pytest.mark.tried(
    "wrong command lines",
    "`bench run --memory` for more than the machine has",
    "both sizes are said; nothing is written",
)
def test_cells_that_need_more_memory_than_the_machine_has_are_refused(
    bench: Callable[..., Any], faces: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(local, "machine_memory", lambda: 32 * 10**9)
    asked = ("run", "--methods", "average", "--datasets", "discs", "--data-root", faces, *COMMON, "--out", "out")
    done = bench(*asked, "--memory", "20GB", "--workers", 2)
    assert done.code == 1 and "40.0 GB for 2 at once, and this machine has 32.0 GB" in done.err, done
    assert not (tmp_path / "out").exists()
    done = bench(*asked, "--memory", "20GB", "--timeout", "1h")
    assert done.code == 0, done
    jobs = [Job.read(folder) for folder in cells(tmp_path / "out")]
    assert len(jobs) == 2 and {job.resources for job in jobs} == {Resources(0, 1, 20 * 10**9, 3600.0)}
    monkeypatch.setattr(local, "machine_memory", lambda: None)  # a system that does not say
    assert bench(*asked, "--memory", "900TB", "--dry-run").code == 0


def test_lines_of_several_cells_name_them(capsys: pytest.CaptureFixture[str]) -> None:
    one, two = (Cell("A", "demo", "", "d", name, 0) for name in ("anna", "ben"))
    plain = PlainWatcher()
    plain.started(one, 1, 2)
    plain.progress(one, {"stage": "train"})
    plain.started(two, 2, 2)
    plain.progress(two, {"stage": "train"})
    plain.ended(CellRecord(one, State.DONE), 1, 2)
    plain.progress(two, {"stage": "render"})
    said = capsys.readouterr().out.splitlines()
    assert [line.strip() for line in said[:1] + said[2:3]] == [
        "[1/2] a-demo/d/anna/seed0: start",
        "[2/2] a-demo/d/ben/seed0: start",
    ]
    assert said[1] == "    train" and said[3] == "    a-demo/d/ben/seed0: train" and said[5] == "    render"
    shown = TerminalWatcher()
    shown.started(one, 1, 2)
    shown.started(two, 2, 2)
    shown.progress(two, {"stage": "render"})
    assert str(shown._status.status) == "[1/2] a-demo/d/anna/seed0\n[2/2] a-demo/d/ben/seed0: render"
    shown.ended(CellRecord(one, State.DONE), 1, 2)
    assert str(shown._status.status) == "[2/2] a-demo/d/ben/seed0: render"
    shown.ended(CellRecord(two, State.DONE), 2, 2)


@pytest.mark.slow
@pytest.mark.alone
def test_real_methods_give_equal_hashes_with_one_worker_and_with_two(bench: Callable[..., Any], tmp_path: Path) -> None:
    assert bench("data", "synth", "--frames", 12, "--size", 64, "--seed", 3, "data").code == 0
    settings = [
        f"{name}.train.{what}" for name in ("fateavatar", "gaussianavatars") for what in ("steps=40", "resolution=64")
    ]
    arguments = (
        "run", "--methods", "fateavatar,gaussianavatars", "--datasets", "insta", "--data-root", "data",
        "--device", "cpu",
        "--preset", "demo", "--label", "k", "--no-report", "--deterministic",
        "--threads", max(1, (os.cpu_count() or 1) // 2),
        *(item for text in settings for item in ("--set", text)),
    )  # fmt: skip
    for workers in (1, 2):
        done = bench(*arguments, "--workers", workers, "--out", f"w{workers}")
        assert done.code == 0, done
    assert hashes(tmp_path / "w1") == hashes(tmp_path / "w2")


@pytest.mark.slow
def test_a_dry_run_says_when_the_last_of_several_cells_at_once_ends(
    bench: Callable[..., Any], blobs: Path, faces: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def near(_: Path, kind: str) -> dict[str, Record]:
        return {"blobs": Record(rate=12 / 3600, bytes=1.0, cells=1, device="a machine", memory=2e9)}  # an hour a cell

    monkeypatch.setattr(choose, "recorded", near)
    asked = ("run", "--methods", "blobs", "--datasets", "discs[anna]", "--data-root", faces, *COMMON, "--dry-run")
    alone = bench(*asked, "--seeds", "0,1,2", site=blobs)
    assert "3 cells, 3 to do: 3.00 h training" in alone.out and "at once" not in alone.out, alone
    two = bench(*asked, "--seeds", "0,1,2", "--workers", 2, site=blobs)
    assert "3 to do: 3.00 h training" in two.out and "2 cells at once: 2.00 h until the last ends" in two.out, two
    many = bench(*asked, "--seeds", "0,1,2", "--workers", 8, site=blobs)
    assert "3 cells at once: 1.00 h until the last ends" in many.out and "note: 3 cells" not in many.out, many
    monkeypatch.setattr(dry_run, "machine_memory", lambda: 4 * 10**9)
    few = bench(*asked, "--seeds", "0,1,2", "--workers", 3, site=blobs)
    assert "note: 3 cells at once may need 6.0 GB, and this machine has 4.0 GB: fewer --workers" in few.out, few


def test_a_dry_run_of_a_finished_run_names_nothing_that_is_not_in_the_sums(
    bench: Callable[..., Any], faces: Path
) -> None:
    asked = ("run", "--methods", "average", "--datasets", "discs[anna]", "--data-root", faces, *COMMON)
    assert bench(*asked).code == 0
    done = bench(*asked, "--dry-run", "--workers", 2)
    assert "1 cells, 0 to do" in done.out and "not in the sums" not in done.out and "at once" not in done.out, done


@pytest.mark.parametrize(
    ("hours", "slots", "end"),
    [
        ([], 2, 0),
        ([3, 1, 1, 1], 1, 6),
        ([3, 1, 1, 1], 2, 3),
        ([1, 1, 1, 3], 2, 4),  # in the plan's order, which the longest does not lead
        ([2, 2, 2], 8, 2),
    ],
)
def test_cells_begin_in_their_turn_as_places_get_free(hours: list[float], slots: int, end: float) -> None:
    assert together(hours, slots) == end
