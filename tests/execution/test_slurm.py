"""Slurm itself, one node on loopback: cells as jobs; what happens when jobs, nodes, schedulers or `bench run` go."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from commands import many
from waiting import until

from headbench.harness.files import read_json
from headbench.harness.run import State, read_cells

from .conftest import Cluster, begun, hashes

pytestmark = pytest.mark.slow
HEARS = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler); "
MAIN = [sys.executable, "-P", "-c", HEARS + "from headbench.harness.cli.main import main; main()"]
SLURM = ("every=0.5", "patience=2", "cpus=1", "notice=10")
PAIR = ("--methods", "GaussianAvatars,FlashAvatar", "--datasets", "insta[synth00]")
LONG = (
    *("--methods", "GaussianAvatars", "--datasets", "insta[synth00]", "--seeds", "0,1", "--deterministic"),
    *("--set", "gaussianavatars.train.steps=200", "--label", "long", "--checkpoint-every", "20"),
)
Run = Callable[..., subprocess.Popen[str]]


@pytest.fixture
def run(cluster: Cluster, data: Path, tmp_path: Path) -> Run:
    """(out, executor, words) -> a process of `bench run` whose cells have one thread each."""

    def start(out: str, executor: str = "slurm", *words: str) -> Any:
        return subprocess.Popen(
            [*MAIN, *command(data, tmp_path / out, executor, *words)],
            env=cluster.environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip

    return start


def command(data: Path, out: Path, executor: str, *words: str) -> list[str]:
    sets = [word for each in SLURM for word in ("--executor-set", each)] if executor == "slurm" else []
    how = ["--preset", "tiny", "--device", "cpu", "--threads", "1", "--no-report", "--executor", executor, *sets]
    return ["run", "--data-root", str(data), *how, *words, "--out", str(out)]


def jobs(folder: Path) -> dict[Path, str]:
    """Folder of each cell that was submitted -> number of its job."""
    return {path.parent: read_json(path)["handle"]["job"] for path in folder.glob("cells/*/*/*/*/handle.json")}


def done(process: subprocess.Popen[str]) -> str:
    """What a process printed, that must end well."""
    out, error = process.communicate(timeout=400)
    assert process.returncode == 0, out + error
    return out


@pytest.mark.tried(
    "faults in runs",
    "`bench run` on a login node killed with jobs in Slurm's queue",
    "the jobs; the same command finds them again, and hashes of 3 methods x 2 seeds equal those of `local --workers 2`",
)
def test_jobs_outlive_the_command_and_end_with_the_hashes_of_local(run: Run, cluster: Cluster, tmp_path: Path) -> None:
    many_cells = (
        "--methods",
        "GaussianAvatars,FlashAvatar,nearest-frame",
        "--datasets",
        "insta[synth00]",
        "--seeds",
        "0,1",
    )
    killed, out = run("cluster", "slurm", *many_cells), tmp_path / "cluster"
    until(lambda: begun(out), 120)
    killed.send_signal(signal.SIGKILL)
    killed.communicate()
    submitted = jobs(out)
    assert len(submitted) == 6 and len({job.split("_")[0] for job in submitted.values()}) == 1, "one array"
    (shown,) = many([("status", out)], COLUMNS="200", **cluster.environment)
    assert shown.code == 0 and " queued " in shown.text and " running " in shown.text, shown.text
    assert done(run("cluster", "slurm", *many_cells)).count(": done") == 6
    assert {record.attempts for record in read_cells(out)} == {1}, "nothing was started twice"
    done(run("here", "local", *many_cells, "--workers", "2"))
    assert hashes(out) == hashes(tmp_path / "here")
    script = next(out.glob("cells/*/*/*/*/slurm.sh")).read_text()
    assert "#SBATCH --cpus-per-task=1" in script and "--array=0-5" in script


@pytest.mark.tried(
    "faults in runs",
    "jobs of Slurm cancelled, requeued, told that their time is over, and its controller restarted meanwhile",
    "the run: what was cancelled is interrupted, what is queued again goes on and ends",
    "steps since the last checkpoint",
)
def test_a_cancelled_job_is_interrupted_and_a_requeued_one_ends(run: Run, cluster: Cluster, tmp_path: Path) -> None:
    first, out = run("cancelled", "slurm", *PAIR), tmp_path / "cancelled"
    until(lambda: len(begun(out)) == 2, 120)
    submitted = {path.parts[-4]: job for path, job in jobs(out).items()}
    cluster.ask("scontrol", "requeue", submitted["gaussianavatars-tiny"])
    cluster.ask("scancel", submitted["flashavatar-tiny"])
    cluster.stop_controller()
    cluster.start()
    out_text, _ = first.communicate(timeout=200)
    states = {record.cell.method: record.state for record in read_cells(out)}
    assert states["GaussianAvatars"] is State.DONE, out_text
    assert states["FlashAvatar"] in (State.INTERRUPTED, State.DONE), out_text
    for path in begun(out):
        (path / "progress.json").unlink()
    again = run("cancelled", "slurm", *PAIR)
    until(lambda: begun(out) or again.poll() is not None, 120)
    for job in jobs(out).values():  # as Slurm does before the end of a job's time
        cluster.ask("scancel", "--signal=USR2", job)
    assert again.wait(200) == 0
    assert len(hashes(out)) == 2


@pytest.mark.tried(
    "faults in runs",
    "a node of Slurm that vanishes with its workers, then a submit host that reboots and a scheduler that forgets its "
    "jobs",
    "the run: cells go on from their checkpoints, and hashes equal those of a run left alone",
    "steps since the last checkpoint",
)
def test_a_node_that_vanishes_and_a_scheduler_that_forgets_cost_steps(
    run: Run, cluster: Cluster, tmp_path: Path
) -> None:
    first, out = run("lost", "slurm", *LONG), tmp_path / "lost"
    until(lambda: len(list(out.glob("cells/*/*/*/*/stages/train/checkpoint-20/state.json"))) == 2, 120)
    cluster.lose_node()
    cluster.start()
    until(lambda: all(record.attempts == 2 for record in read_cells(out)), 120)
    first.send_signal(signal.SIGKILL)  # the submit host
    first.communicate()
    cluster.stop_controller(forget=True)
    cluster.lose_node()
    cluster.start()
    assert not cluster.ask("squeue", "-h").strip()
    (shown,) = many([("status", out)], COLUMNS="200", **cluster.environment)
    assert shown.text.count("interrupted") >= 2 and "the same command goes on" in shown.text, shown.text
    done(run("lost", "slurm", *LONG))
    assert {record.attempts for record in read_cells(out)} == {3}
    done(run("calm", "local", *LONG, "--workers", "2"))
    assert hashes(out) == hashes(tmp_path / "calm")


def test_an_interrupt_cancels_the_jobs(run: Run, cluster: Cluster, tmp_path: Path) -> None:
    first, out = run("interrupted", "slurm", *PAIR), tmp_path / "interrupted"
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
)
def test_what_slurm_cannot_do_is_one_sentence_before_anything_is_written(
    cluster: Cluster, data: Path, tmp_path: Path
) -> None:
    cases = {
        ("--executor-set", "partition=gpus"): "has no partition 'gpus'; it has main, short",
        ("--executor-set", "cpus=64", "--threads", "64"): "Slurm cannot run a cell that asks for 64 cores",
        ("--memory", "64GB"): "Slurm cannot run a cell that asks for 1 cores, 64.0 GB",
        ("--executor-set", "colour=red"): "colour",
        ("--device", "auto"): "Cells are computed on nodes of the cluster",
    }
    lines = [command(data, tmp_path / "refused", "slurm", *PAIR, *more) for more in cases]
    planned = [*command(data, tmp_path / "refused", "slurm", *PAIR, "--executor-set", "partition=main"), "--dry-run"]
    *refused, dry = many([*lines, planned], **cluster.environment)
    for tried, expected in zip(refused, cases.values(), strict=True):
        assert expected in " ".join(tried.text.split()) and "Traceback" not in tried.text and tried.code == 1, tried
    assert dry.code == 0, dry
    assert not (tmp_path / "refused").exists()
    assert not cluster.ask("squeue", "-h").strip()
