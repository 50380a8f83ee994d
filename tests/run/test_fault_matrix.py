"""Faults of machines and of methods in the middle of a run: what the user reads, and that running again completes."""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from moments import Moments, in_fork, kill
from waiting import until

from headbench.harness.execution import holder
from headbench.harness.run import State, read_cells

from .test_kill import results

ASKED = (
    *("run", "--methods", "blobs", "--datasets", "discs[anna]", "--preset", "demo", "--device", "cpu"),
    *("--rasterizer", "torch", "--limit", 2, "--checkpoint-every", 8, "--deterministic", "--no-report"),
)
Call = Callable[..., Any]


@pytest.fixture
def asked(bench: Call, blobs: Path, faces: Path, tmp_path: Path) -> Call:
    """(out) -> what `bench run` of one trained cell did."""
    return lambda out: bench(*ASKED, "--data-root", faces, "--out", out, site=blobs)


@pytest.fixture
def moments(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Moments:
    """The moments at which the run `wild` writes."""
    return Moments(monkeypatch, tmp_path / "wild", tmp_path / "moments")


def in_peace(asked: Call, tmp_path: Path) -> dict[str, Any]:
    """What a run that is left alone ends with."""
    assert in_fork(lambda: asked("calm")) == 0
    return results(tmp_path / "calm")


def at_work(run: Path) -> bool:
    return any(holder(path.parent) is not None for path in run.glob("cells/*/*/*/*/claim.json"))


@pytest.mark.slow
@pytest.mark.tried(
    "faults in runs",
    "SIGKILL of a run or its worker at every border of a task and inside every write, one after the other",
    "weights, pictures, scores and log end equal to the byte to a run left alone",
    "the steps since the last checkpoint",
)
def test_a_kill_at_every_write_changes_nothing(asked: Call, moments: Moments, tmp_path: Path) -> None:
    calm, run = in_peace(asked, tmp_path), tmp_path / "wild"
    seen = tmp_path / "seen"
    seen.write_text("")

    def kill_at_new(path: Path) -> None:
        if path.name.startswith((".progress.json", "progress.json")):  # written by the clock
            return
        key = f"{Moments.name_of(path)}\n"
        if key not in seen.read_text().splitlines(keepends=True):
            with seen.open("a") as file:
                file.write(key)
            kill(path)

    kills = 0
    moments.let(kill_at_new, lambda moment: True)
    while True:
        before = seen.read_text()
        code = in_fork(lambda: asked("wild"))
        until(lambda: not at_work(run))
        if seen.read_text() == before:
            break
        kills += 1
        if (run / "plan.json").is_file():
            assert all(record.state is not State.DONE or record.finished for record in read_cells(run))
    assert code == 0 and kills > 30, (code, kills)
    assert results(run) == calm
    left = [path for path in run.rglob("*") if ".part" in path.name or path.name.startswith("claim")]
    assert not left


def failing(number: int) -> Callable[[Path], None]:
    """What raises an error of the system at a file."""

    def fail(path: Path) -> None:
        raise OSError(number, os.strerror(number), str(path))

    return fail


def vanish(path: Path) -> None:
    """Remove the whole folder of the run, as a colleague who tidies up does."""
    run = next((each for each in path.absolute().parents if each.name == "wild"), None)
    if run is not None:
        shutil.rmtree(run, ignore_errors=True)


FAULTS = {
    "a full disk": (failing(errno.ENOSPC), "no space is left on its disk"),
    "an output folder that becomes read-only": (failing(errno.EROFS), "its file system is read-only"),
    "an output folder that is removed": (vanish, ""),
}


@pytest.mark.slow
@pytest.mark.parametrize(
    "fault",
    [
        pytest.param(
            name,
            marks=pytest.mark.tried(
                "faults in runs",
                f"{name} while a run plans, trains, renders and scores",
                "one sentence; run again the run ends with the same weights, pictures and scores",
                "the run's files" if name.endswith("removed") else "the steps since the last checkpoint",
            ),
        )
        for name in FAULTS
    ],
)
def test_a_fault_of_the_disk_is_one_sentence_and_costs_no_more_than_it_took(
    asked: Call, moments: Moments, tmp_path: Path, fault: str
) -> None:
    calm, run = in_peace(asked, tmp_path), tmp_path / "wild"
    what, words = FAULTS[fault]
    count = 60
    for first in (2, 9, 15, 24, 32, 44, count):
        shutil.rmtree(run, ignore_errors=True)
        moments.let(what, lambda moment, first=first: moment >= first if words else moment == first)
        said = tmp_path / "said"
        code = in_fork(lambda: asked("wild"), said)
        text = said.read_text()
        print("----", first, code, "\n", text)
        assert "Traceback" not in text and words in text, text
        until(lambda: not at_work(run))
        moments.let(what, lambda moment: False)
        assert in_fork(lambda: asked("wild"), said) == 0, said.read_text()
        assert results(run) == calm
