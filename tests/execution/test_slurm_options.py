"""Options of the executor `slurm`, and machines without Slurm or submitit."""

from __future__ import annotations

import os
import shutil
import signal
import sys
import threading
import time
from pathlib import Path

import pytest

from headbench.harness.errors import BenchError
from headbench.harness.execution.choose import make_executor
from headbench.harness.execution.slurm import executor
from headbench.harness.execution.slurm.job import CellJob
from headbench.harness.execution.slurm.options import SlurmOptions, minutes
from headbench.harness.options import Resources
from headbench.harness.plugins import registry
from headbench.harness.run.request import read_request
from headbench.harness.validation import validate


@pytest.mark.parametrize(
    ("text", "expected"),
    [("1-00:00:00", 1440), ("04:30:00", 270), ("45:30", 45.5), ("90", 90), ("infinite", None), ("UNLIMITED", None)],
)
def test_a_duration_is_read_as_slurm_writes_it(text: str, expected: float | None) -> None:
    assert minutes(text) == expected


@pytest.mark.parametrize(("text", "expected"), [("90", 90), ("12h", 720), ("2d", 2880), ("1-12:00:00", 2160)])
def test_the_time_of_a_job_has_a_unit_or_is_in_minutes(text: str, expected: float) -> None:
    options = validate(SlurmOptions, {"time": text, "setup": "module load cuda; . env/bin/activate"}, "executor slurm")
    assert options.time == expected and options.setup == ("module load cuda", ". env/bin/activate")
    with pytest.raises(BenchError, match="time"):
        validate(SlurmOptions, {"time": "soon"}, "executor slurm")


@pytest.mark.tried(
    "wrong command lines",
    "a cluster without Slurm's programs, or without submitit",
    "one sentence; nothing is written",
    "nothing",
)
def test_no_scheduler_and_no_submitit_are_one_sentence_each(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    request = read_request(None, {"executor": "slurm", "device": "cpu", "data_root": str(tmp_path)})
    monkeypatch.setattr(shutil, "which", lambda name: None)
    with pytest.raises(BenchError, match="slurm needs sbatch, scancel, sinfo, squeue, srun, not found on PATH"):
        make_executor(request, registry())
    monkeypatch.setitem(sys.modules, "submitit", None)
    with pytest.raises(BenchError, match="executor slurm needs submitit") as error:
        executor.Slurm(SlurmOptions()).prepare("cpu")
    assert error.value.help == "pip install 'headbench[slurm]'"


def test_a_worker_is_ended_from_a_signal_that_interrupts_the_wait_for_it(tmp_path: Path) -> None:
    begun = tmp_path / "begun"
    job = CellJob([sys.executable, "-c", f"import time; open({str(begun)!r}, 'w').close(); time.sleep(60)"])
    sent: list[object] = []
    before = signal.signal(signal.SIGUSR2, lambda *_: sent.append(job.checkpoint()))

    def interrupt() -> None:
        while not begun.exists():
            time.sleep(0.01)
        os.kill(os.getpid(), signal.SIGUSR2)

    thread = threading.Thread(target=interrupt)
    thread.start()
    try:
        assert job() == -signal.SIGTERM
    finally:
        thread.join()
        signal.signal(signal.SIGUSR2, before)
    assert len(sent) == 1


@pytest.mark.tried("hostile files", "a handle of a job in handle.json that is an option of Slurm's commands")
def test_a_handle_that_names_no_job_reaches_no_command(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    monkeypatch.setattr(executor, "queued", lambda name: asked.append(name) or {})
    slurm = executor.Slurm(SlurmOptions())
    good = {"job": "12_3", "name": "headbench-0123456789ab", "folder": "/nowhere"}
    for key, value in (("job", "--user=root"), ("name", "x --me"), ("folder", "../x"), ("job", None), ("job", "1\n2")):
        assert not slurm.attach({**good, key: value})
    assert not slurm.attach({}) and asked == []
    assert not slurm.attach(good) and asked == ["headbench-0123456789ab"], "the queue is asked for a whole handle"


def test_what_was_submitted_is_cancelled_where_the_rest_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cancelled: list[list[str]] = []
    monkeypatch.setattr(executor, "cancel", lambda numbers: cancelled.append(list(numbers)))

    def array(self: executor.Slurm, folders: list[Path], resources: Resources) -> list[str]:
        if resources.gpus:
            raise BenchError("sbatch refused 1 cell(s)")
        return [f"7_{place}" for place, _ in enumerate(folders)]

    monkeypatch.setattr(executor.Slurm, "_array", array)
    cells = [(tmp_path / "cells" / str(k), Resources(gpus=k // 2)) for k in range(3)]
    with pytest.raises(BenchError, match="refused"):
        executor.Slurm(SlurmOptions()).submit(cells)
    assert cancelled == [["7_0", "7_1"]]
