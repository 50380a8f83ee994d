"""Slurm itself, one node on loopback: cells as jobs; what happens when jobs, nodes, schedulers or `bench run` go."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from commands import many
from waiting import until

from headbench.harness.execution.claim import RUNNER
from headbench.harness.files import read_json
from headbench.harness.run import State, read_cell, read_cells
from headbench.harness.run.runners import living

from .cells import BENCH, LONG, MANY, PAIR, Gate, begun, command, done, hashes, stand_at
from .conftest import Cluster

pytestmark = pytest.mark.slow
OPTIONS = ("every=0.5", "patience=2", "cpus=1", "notice=10")
SLURM = ("--executor", "slurm", *(word for each in OPTIONS for word in ("--executor-set", each)))
Run = Callable[..., subprocess.Popen[str]]
PATIENCE = 600
"""Seconds after which what does not come to pass is a failure; other work on the machine makes cells slow."""


@pytest.fixture
def run(cluster: Cluster, data: Path, tmp_path: Path) -> Run:
    """(out, words, more environment) -> a process of `bench run` whose cells are jobs of one core and thread each."""

    def start(out: str, *words: str, **environment: str) -> Any:
        return subprocess.Popen(
            [*BENCH, *command(data, tmp_path / out, *SLURM, *words)],
            env=cluster.environment | environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip

    return start


def jobs(folder: Path) -> dict[Path, str]:
    """Folder of each cell that was submitted -> number of its job."""
    return {path.parent: read_json(path)["handle"]["job"] for path in folder.glob("cells/*/*/*/*/handle.json")}


@pytest.mark.tried(
    "faults in runs",
    "`bench run` on a login node killed with jobs in Slurm's queue",
    "the jobs; the same command finds them again, and hashes of 3 methods x 4 subjects x 2 seeds equal those of "
    "`local --workers 2`",
)
def test_jobs_outlive_the_command_and_end_with_the_hashes_of_local(
    run: Run, cluster: Cluster, tmp_path: Path, reference: dict[str, str]
) -> None:
    killed, out = run("cluster", *MANY), tmp_path / "cluster"
    until(lambda: begun(out) or killed.poll() is not None, PATIENCE)
    killed.send_signal(signal.SIGKILL)
    killed.communicate()
    submitted = jobs(out)
    assert len(submitted) == 24 and len({job.split("_")[0] for job in submitted.values()}) == 1, "one array"
    (shown,) = many([("status", out)], COLUMNS="200", **cluster.environment)
    assert shown.code == 0 and " queued " in shown.text and " running " in shown.text, shown.text
    assert done(run("cluster", *MANY)).count(": done") == 24
    assert {record.attempts for record in read_cells(out)} == {1}, "nothing was started twice"
    assert hashes(out) == reference
    script = next(out.glob("cells/*/*/*/*/slurm.sh")).read_text()
    assert "#SBATCH --cpus-per-task=1" in script and "--array=0-23" in script


@pytest.mark.tried(
    "faults in runs",
    "two `bench run` with Slurm at work on one folder, the one that submitted the jobs killed by SIGKILL",
    "the jobs, which the other follows to their end; nothing is submitted or trained twice",
)
def test_a_second_run_on_the_folder_follows_the_jobs_of_the_first_when_that_is_killed(
    run: Run, cluster: Cluster, tmp_path: Path, reference: dict[str, str], gate: Gate
) -> None:
    gate.close(9)
    first, out = run("shared", *PAIR, **gate.environment), tmp_path / "shared"
    until(lambda: len(jobs(out)) == 2 or first.poll() is not None, PATIENCE)
    second = run("shared", *PAIR, **gate.environment)
    until(lambda: len(living(out)) == 2 or second.poll() is not None, PATIENCE)
    first.send_signal(signal.SIGKILL)
    first.communicate()
    gate.open()
    shown = done(second)
    assert f"helps process {first.pid} on" in shown and shown.count(": done") == 2, shown
    assert {record.attempts for record in read_cells(out)} == {1}, "a cell was begun twice"
    assert len(list((out / "slurm").glob("*submission.sh"))) == 1, "something was submitted twice"
    assert hashes(out) == {cell: reference[cell] for cell in hashes(out)}
    assert not list(out.glob(f"cells/*/*/*/*/{RUNNER}")) and not (out / "runners").exists()


@pytest.mark.tried(
    "faults in runs",
    "jobs of Slurm cancelled, requeued, told that their time is over, and its controller restarted meanwhile",
    "the run: what was cancelled is interrupted, what is queued again goes on and ends, and hashes equal those of a "
    "run left alone",
    "steps since the last checkpoint",
)
def test_a_cancelled_job_is_interrupted_and_a_requeued_one_ends(
    run: Run, cluster: Cluster, tmp_path: Path, gate: Gate, calm: dict[str, str]
) -> None:
    gate.close(20)
    first, out = run("cancelled", *LONG, **gate.environment), tmp_path / "cancelled"
    until(lambda: len(stand_at(out, 20)) == 2 or first.poll() is not None, PATIENCE)
    (again, job), (ends, other) = sorted(jobs(out).items())
    cluster.ask("scontrol", "requeue", job)
    cluster.ask("scancel", other)
    gate.open()
    cluster.stop_controller()
    cluster.start()
    said, _ = first.communicate(timeout=PATIENCE)
    states = {folder: read_cell(folder) for folder in (again, ends)}
    assert [record and (record.state, record.attempts) for record in states.values()] == [
        (State.DONE, 2),
        (State.INTERRUPTED, 1),
    ], said

    gate.close(40)
    later = run("cancelled", *LONG, **gate.environment)
    until(lambda: ends in stand_at(out, 40) or later.poll() is not None, PATIENCE)
    cluster.ask("scancel", "--signal=USR2", jobs(out)[ends])  # as Slurm does before the end of a job's time
    until(lambda: (record := read_cell(ends)) is None or record.attempts == 3, PATIENCE)
    gate.open()
    done(later)
    assert hashes(out) == calm


@pytest.mark.tried(
    "faults in runs",
    "a node of Slurm that vanishes with its workers, then a submit host that reboots and a scheduler that forgets its "
    "jobs",
    "the run: cells go on from their checkpoints, and hashes equal those of a run left alone",
    "steps since the last checkpoint",
)
def test_a_node_that_vanishes_and_a_scheduler_that_forgets_cost_steps(
    run: Run, cluster: Cluster, tmp_path: Path, gate: Gate, calm: dict[str, str]
) -> None:
    gate.close(20)
    first, out = run("lost", *LONG, **gate.environment), tmp_path / "lost"
    until(lambda: len(stand_at(out, 20)) == 2 or first.poll() is not None, PATIENCE)
    gate.close(40)
    cluster.lose_node()
    cluster.start()
    until(lambda: len(stand_at(out, 40)) == 2 or first.poll() is not None, PATIENCE)
    assert {record.attempts for record in read_cells(out)} == {2}
    first.send_signal(signal.SIGKILL)  # the submit host
    first.communicate()
    cluster.stop_controller(forget=True)
    cluster.lose_node()
    cluster.start()
    assert not cluster.ask("squeue", "-h").strip()
    (shown,) = many([("status", out)], COLUMNS="200", **cluster.environment)
    assert shown.text.count("interrupted") >= 2 and "the same command goes on" in shown.text, shown.text
    done(run("lost", *LONG))
    assert {record.attempts for record in read_cells(out)} == {3}
    assert hashes(out) == calm


@pytest.mark.tried(
    "faults in runs",
    "jobs of Slurm pre-empted by another's in a partition of higher priority",
    "the run: its jobs are queued again and go on, and hashes equal those of a run left alone",
    "steps since the last checkpoint",
)
def test_preempted_jobs_go_on_when_the_other_has_ended(
    run: Run, cluster: Cluster, tmp_path: Path, gate: Gate, calm: dict[str, str]
) -> None:
    gate.close(20)
    first, out = run("preempted", *LONG, **gate.environment), tmp_path / "preempted"
    until(lambda: len(stand_at(out, 20)) == 2 or first.poll() is not None, PATIENCE)
    cluster.ask("sbatch", "--partition=urgent", "--cpus-per-task=2", "--output=/dev/null", "--wrap=sleep 2")
    assert done(first).count(": done") == 2
    assert {record.attempts for record in read_cells(out)} == {2}
    assert hashes(out) == calm


def test_an_interrupt_cancels_the_jobs(run: Run, cluster: Cluster, tmp_path: Path) -> None:
    first, out = run("interrupted", *PAIR), tmp_path / "interrupted"
    until(lambda: begun(out) or first.poll() is not None, PATIENCE)
    os.kill(first.pid, signal.SIGINT)
    first.communicate(timeout=PATIENCE)
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
        ("--executor-set", "partition=gpus"): "has no partition 'gpus'; it has main, short, urgent",
        ("--executor-set", "cpus=64", "--threads", "64"): "Slurm cannot run a cell that asks for 64 cores",
        ("--memory", "64GB"): "Slurm cannot run a cell that asks for 1 cores, 64.0 GB",
        ("--executor-set", "colour=red"): "colour",
        ("--device", "auto"): "Cells are computed on nodes of the cluster",
    }
    lines = [command(data, tmp_path / "refused", *SLURM, *PAIR, *more) for more in cases]
    planned = [*command(data, tmp_path / "refused", *SLURM, *PAIR, "--executor-set", "partition=main"), "--dry-run"]
    *refused, dry = many([*lines, planned], **cluster.environment)
    for tried, expected in zip(refused, cases.values(), strict=True):
        assert expected in " ".join(tried.text.split()) and "Traceback" not in tried.text and tried.code == 1, tried
    assert dry.code == 0, dry
    assert not (tmp_path / "refused").exists()
    assert not cluster.ask("squeue", "-h").strip()
