"""Slurm itself, one node on loopback: cells as jobs, and what happens when jobs, schedulers or `bench run` go."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from waiting import until

from headbench.harness.files import read_json
from headbench.harness.run import State, read_cells

from .conftest import Cluster

pytestmark = pytest.mark.slow
MAIN = [sys.executable, "-P", "-c", "from headbench.harness.cli.main import main; main()"]
SLURM = ("every=0.5", "patience=2", "cpus=1", "notice=10")
Run = Callable[..., subprocess.Popen[str]]


@pytest.fixture
def run(cluster: Cluster, data: Path, tmp_path: Path) -> Run:
    """(out, executor, more) -> a process of `bench run` with two cells of one thread each."""

    def start(out: str, executor: str = "slurm", *more: str, methods: str = "GaussianAvatars,FlashAvatar") -> Any:
        sets = [word for each in SLURM for word in ("--executor-set", each)] if executor == "slurm" else []
        request = ["--methods", methods, "--datasets", "insta", "--data-root", str(data), "--preset", "tiny"]
        how = ["--device", "cpu", "--threads", "1", "--no-report", "--executor", executor, *sets, *more]
        command = [*MAIN, "run", *request, *how, "--out", str(tmp_path / out)]
        return subprocess.Popen(
            command, env=cluster.environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )

    return start


def hashes(folder: Path) -> dict[str, str]:
    found = {}
    for record in read_cells(folder):
        assert record.state is State.DONE, record
        found[record.cell.path] = (
            folder / "cells" / record.cell.path / "renders" / "train-white" / "sha256.txt"
        ).read_text()
    return found


def begun(folder: Path) -> list[Path]:
    return [path.parent for path in folder.glob("cells/*/*/*/*/progress.json")]


@pytest.mark.tried(
    "faults in runs",
    "`bench run` on a login node killed with jobs in Slurm's queue",
    "the jobs; the same command finds them again, and hashes equal those of `local`",
    "nothing",
)
def test_jobs_outlive_the_command_and_end_with_the_hashes_of_local(run: Run, cluster: Cluster, tmp_path: Path) -> None:
    killed, out = run("cluster"), tmp_path / "cluster"
    until(lambda: begun(out), 120)
    killed.send_signal(signal.SIGKILL)
    killed.communicate()
    jobs = [read_json(path)["handle"]["job"] for path in out.glob("cells/*/*/*/*/handle.json")]
    assert len(jobs) == 2 and len({job.split("_")[0] for job in jobs}) == 1, "one array"
    again = run("cluster")
    assert again.communicate(timeout=300)[0].count("done") and again.returncode == 0
    attempts = [record.attempts for record in read_cells(out)]
    assert attempts == [1, 1], "nothing was started twice"
    local = run("here", "local")
    assert local.wait(300) == 0
    assert hashes(out) == hashes(tmp_path / "here")
    script = next(out.glob("cells/*/*/*/*/slurm.sh")).read_text()
    assert "#SBATCH --cpus-per-task=1" in script and "--array=0-1" in script


@pytest.mark.tried(
    "faults in runs",
    "jobs of Slurm cancelled, requeued, told that their time is over, and its controller restarted meanwhile",
    "the run: what was cancelled is interrupted, what is queued again goes on and ends",
    "steps since the last checkpoint",
)
def test_a_cancelled_job_is_interrupted_and_a_requeued_one_ends(run: Run, cluster: Cluster, tmp_path: Path) -> None:
    first, out = run("cancelled", methods="GaussianAvatars,FlashAvatar"), tmp_path / "cancelled"
    until(lambda: len(begun(out)) == 2, 120)
    cells = {path.parts[-4]: path for path in begun(out)}
    jobs = {name: read_json(path / "handle.json")["handle"]["job"] for name, path in cells.items()}
    cluster.ask("scontrol", "requeue", jobs["gaussianavatars-tiny"])
    cluster.ask("scancel", jobs["flashavatar-tiny"])
    cluster.stop_controller()
    cluster.start()
    out_text, _ = first.communicate(timeout=400)
    states = {record.cell.method: record.state for record in read_cells(out)}
    assert states["GaussianAvatars"] is State.DONE, out_text
    assert states["FlashAvatar"] in (State.INTERRUPTED, State.DONE), out_text
    for path in begun(out):
        (path / "progress.json").unlink()
    again = run("cancelled")
    until(lambda: begun(out) or again.poll() is not None, 120)
    for handle in out.glob("cells/*/*/*/*/handle.json"):  # as Slurm does before the end of a job's time
        cluster.ask("scancel", "--signal=USR2", read_json(handle)["handle"]["job"])
    assert again.wait(300) == 0
    assert len(hashes(out)) == 2


def test_an_interrupt_cancels_the_jobs(run: Run, cluster: Cluster, tmp_path: Path) -> None:
    first, out = run("interrupted"), tmp_path / "interrupted"
    until(lambda: begun(out), 120)
    os.kill(first.pid, signal.SIGINT)
    first.communicate(timeout=200)
    assert first.returncode == 130
    assert not cluster.ask("squeue", "-h").strip()
    assert {record.state for record in read_cells(out)} <= {State.INTERRUPTED, State.QUEUED, State.DONE}
    assert not list(out.glob("cells/*/*/*/*/claim.json"))


@pytest.mark.tried(
    "wrong command lines",
    "a Slurm partition that is not there, resources that no node has, no device named",
    "one sentence, before anything is written or submitted",
    "nothing",
)
def test_what_slurm_cannot_do_is_one_sentence_before_anything_is_written(
    run: Run, cluster: Cluster, tmp_path: Path
) -> None:
    cases = {
        ("--executor-set", "partition=gpus"): "has no partition 'gpus'; it has main, short",
        ("--executor-set", "cpus=64", "--threads", "64"): "Slurm cannot run a cell that asks for 64 cores",
        ("--memory", "64GB"): "Slurm cannot run a cell that asks for 1 cores, 64.0 GB",
        ("--executor-set", "colour=red"): "colour",
        ("--device", "auto"): "Cells are computed on nodes of the cluster",
    }
    for more, expected in cases.items():
        tried = run("refused", "slurm", *more)
        _, error = tried.communicate(timeout=120)
        assert expected in " ".join(error.split()) and "Traceback" not in error and tried.returncode == 1, error
        assert not (tmp_path / "refused").exists()
    planned = run("refused", "slurm", *("--executor-set", "partition=main"), "--dry-run")
    assert planned.wait(120) == 0, planned.communicate()
    assert not cluster.ask("squeue", "-h").strip()
