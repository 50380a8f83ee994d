"""Faults of machines and of methods in the middle of a run: what the user reads, and that running again completes."""

from __future__ import annotations

import errno
import importlib
import math
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from isolation import Plug
from moments import Moments, in_fork, kill
from waiting import until

from headbench.datasets.synthetic.samples import insta
from headbench.harness.execution import holder
from headbench.harness.run import State, child, read_cells

from .test_kill import gone, results

ASKED = (
    *("run", "--methods", "blobs", "--datasets", "discs[anna]", "--preset", "demo", "--device", "cpu"),
    *("--rasterizer", "torch", "--limit", 1, "--checkpoint-every", 8, "--deterministic", "--no-report"),
)
Call = Callable[..., Any]
CALM: dict[str, Any] = {}


@pytest.fixture
def asked(bench: Call, blobs: Path, faces: Path, tmp_path: Path) -> Call:
    """(out, words) -> what `bench run` of one trained cell did."""
    return lambda out, *more: bench(*ASKED, "--data-root", faces, "--out", out, *more, site=blobs)


@pytest.fixture
def moments(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Moments:
    """The moments at which the run `wild` writes."""
    return Moments(monkeypatch, tmp_path / "wild", tmp_path / "moments")


def in_peace(asked: Call, tmp_path: Path) -> dict[str, Any]:
    """What a run that is left alone ends with, the same for all tests here."""
    if not CALM:
        assert in_fork(lambda: asked("calm")) == 0
        CALM.update(results(tmp_path / "calm"))
    return CALM


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
        # A file that has its name already is as good as killed before the next; progress is written by the clock.
        if not path.name.endswith(".part") or path.name.startswith(".progress.json"):
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
    assert code == 0 and kills > 15, (code, kills)
    assert results(run) == calm
    # Half a claim of a killed runner goes after a minute.
    left = [path for path in run.rglob("*") if ".part" in path.name or path.name.startswith("claim")]
    assert not [path for path in left if path.parent != run / "runners"]


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
                "one sentence; the same command ends with the same weights, pictures and scores",
                "the run's files" if name.endswith("removed") else "the steps since the last checkpoint",
            ),
        )
        for name in FAULTS
    ],
)
def test_a_fault_of_the_disk_is_one_sentence_and_costs_no_more_than_it_took(
    asked: Call, moments: Moments, tmp_path: Path, fault: str
) -> None:
    calm, run, said = in_peace(asked, tmp_path), tmp_path / "wild", tmp_path / "said"
    what, words = FAULTS[fault]
    # While the plan is written, the cell queued, checkpoints, pictures and scores written.
    for first in (2, 9, 15, 24, 44):
        shutil.rmtree(run, ignore_errors=True)
        moments.let(what, lambda moment, first=first: moment == first if what is vanish else moment >= first)
        code, text = in_fork(lambda: asked("wild"), said), said.read_text()
        assert code == (1 if words else code) and words in text and ".part" not in text, text
        assert "Traceback" not in text and "no such file" not in text, text
        if what is vanish and code == 2:
            assert "was removed while it was " in text, text
        until(lambda: not at_work(run))
        moments.let(what, lambda moment: False)
        assert in_fork(lambda: asked("wild"), said) == 0, said.read_text()
        assert results(run) == calm


def hang(terms: Any) -> None:
    Path("hangs").touch()
    time.sleep(600)


def fork(terms: Any) -> None:
    if os.fork() == 0:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        Path("forked").write_text(f"{os.getpid()}")
        time.sleep(600)
    until(lambda: Path("forked").is_file() and Path("forked").read_text())


def babble(terms: Any) -> None:
    print("\x1b[2Jbabble " * 50_000, flush=True)
    sys.stderr.write("babble\n")
    os.write(1, b"\xff\x00babble")


def leak(terms: Any) -> None:
    threading.Thread(target=time.sleep, args=(600,)).start()  # which is waited for at the end of Python
    kept.append([os.open("/dev/null", os.O_RDONLY) for _ in range(300)])
    kept.append(bytearray(50 << 20))


def fill_gpu(terms: Any) -> None:
    raise torch.OutOfMemoryError(
        "CUDA out of memory. Tried to allocate 20.00 GiB. GPU 0 has a total capacity of 79.10 GiB"
    )


def raise_it(error: BaseException) -> None:
    raise error


kept: list[Any] = []
METHODS: dict[str, tuple[Callable[[Any], Any], str, str]] = {
    "raises": (lambda terms: raise_it(ValueError("no light")), "failed", "ValueError in stage train: no light"),
    "hangs": (hang, "timeout", "took more than 1800 s in stage train (--timeout gives more"),
    "forks a child that outlives it": (fork, "done", ""),
    "prints a megabyte of escapes": (babble, "done", ""),
    "exits": (lambda terms: sys.exit("no licence"), "failed", "SystemExit in stage train: no licence"),
    "exits without a word": (lambda terms: os._exit(0), "failed", "ended with exit code 0 in stage train"),
    "segfaults": (lambda terms: os.kill(os.getpid(), signal.SIGSEGV), "failed", "killed by SIGSEGV in stage train"),
    "leaks a thread, open files and memory": (leak, "done", ""),
    "has a loss that is NaN": (
        lambda terms: terms["l1"].fill_(math.nan),
        "failed",
        "['l1'] are not finite since step 9",
    ),
    "finds no memory on its GPU (simulated)": (fill_gpu, "oom", "its GPU had no 20.00 GiB left (end what else"),
    "finds no memory on the machine": (
        lambda terms: torch.empty(1 << 60),
        "oom",
        "4611686018427387904 bytes left (fewer",
    ),
}


def row_of(name: str) -> tuple[str, str]:
    """Return the last two columns of a method's row: what survives, and what is lost."""
    if METHODS[name][1] == "done":
        return "the run; nothing that it started lives on", "nothing"
    said = f"the cell is {METHODS[name][1]} and says why; the same command goes on and ends as if left alone"
    return said, "the steps since the last checkpoint"


@pytest.mark.slow
@pytest.mark.parametrize(
    "fault",
    [
        pytest.param(
            name,
            marks=pytest.mark.tried(
                "faults in runs", f"a method that {name} in the middle of its training", *row_of(name)
            ),
        )
        for name in METHODS
    ],
)
def test_what_a_method_does_in_the_middle_costs_its_last_steps(
    asked: Call, blobs: Path, plug: Plug, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fault: str
) -> None:
    calm, run, said = in_peace(asked, tmp_path), tmp_path / "wild", tmp_path / "said"
    what, state, words = METHODS[fault]
    plug(blobs)
    method = importlib.import_module("headbench_blobs.avatar").Blobs
    good, clock = method.losses, time.monotonic

    def losses(self: Any, posed: Any, rendering: Any, batch: Any, now: Any) -> Any:
        terms = good(self, posed, rendering, batch, now)
        if now.step == 9:  # after the checkpoint at 8
            what(terms)
        return terms

    # Half an hour passes as soon as it hangs.
    late = SimpleNamespace(monotonic=lambda: clock() + 3600.0 * Path("hangs").exists(), sleep=time.sleep)
    monkeypatch.setattr(child, "time", late)
    monkeypatch.setattr(method, "losses", losses)
    code, text = in_fork(lambda: asked("wild", "--timeout", "30m"), said), said.read_text()
    assert code == (0 if state == "done" else 2) and "Traceback" not in text and "babble" not in text, text
    (record,) = read_cells(run)
    assert record.state == state and words in record.reason and words in text, record
    assert not at_work(run)
    if Path("forked").exists():
        until(lambda: gone(int(Path("forked").read_text())), 10)
    if state != "done":
        Path("hangs").unlink(missing_ok=True)
        monkeypatch.setattr(method, "losses", good)
        assert in_fork(lambda: asked("wild"), said) == 0, said.read_text()
        assert read_cells(run)[0].attempts == 2
    assert results(run) == calm


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 4 MB of its own, mounted at the folder `disk`; skipped where this user may not mount one."""
    place = tmp_path / "disk"
    place.mkdir()
    mount = shutil.which("mount")
    if mount is None or subprocess.run([mount, "-t", "tmpfs", "-o", "size=4m", "tmpfs", place], check=False).returncode:
        pytest.skip("needs the right to mount a file system")
    yield place
    subprocess.run(["umount", "--lazy", place], check=True)


@pytest.mark.slow
@pytest.mark.tried(
    "faults in runs",
    "a file system of 4 MB that is full from the plan on, in a checkpoint, or in pictures",
    "one sentence; with space made, the same command ends as a run left alone",
    "the steps since the last checkpoint",
)
def test_a_disk_that_is_full_for_real(asked: Call, small_disk: Path, tmp_path: Path) -> None:
    calm, said, run = in_peace(asked, tmp_path), tmp_path / "said", small_disk / "wild"
    ballast = small_disk / "ballast"
    free = os.statvfs(small_disk).f_bavail * os.statvfs(small_disk).f_frsize
    for left in (8_000, 40_000, 70_000, 110_000):
        shutil.rmtree(run, ignore_errors=True)
        ballast.write_bytes(bytes(free - left))
        code, text = in_fork(lambda: asked("disk/wild"), said), said.read_text()
        assert code in (1, 2) and "no space is left on its disk" in text, text
        assert "Traceback" not in text and "Errno" not in text and "os error" not in text, text
        ballast.unlink()
        assert in_fork(lambda: asked("disk/wild"), said) == 0, said.read_text()
        assert results(run) == calm


@pytest.mark.slow
@pytest.mark.tried(
    "faults in runs",
    "a PNG of one subject that is cut in half",
    "the others' cells; the subject's are failed with the file's name, and are done once it is whole again",
)
def test_a_corrupt_picture_costs_the_cells_of_its_subject(bench: Call, tmp_path: Path) -> None:
    insta(tmp_path / "data")
    (first,) = (tmp_path / "data" / "insta").iterdir()
    shutil.copytree(first, first.with_name("other"))
    picture = sorted((first / "images").glob("*.png"))[0]
    whole = picture.read_bytes()
    picture.write_bytes(whole[: len(whole) // 2])
    asked = ("run", "--methods", "nearest-frame", "--data-root", "data", "--datasets", "insta", "--out", "out")
    more = ("--device", "cpu", "--rasterizer", "torch", "--threads", 1, "--no-report")
    code = in_fork(lambda: bench(*asked, *more))
    found = {record.cell.subject: record for record in read_cells(tmp_path / "out")}
    assert code == 2 and found["other"].state is State.DONE
    assert found[first.name].state is State.FAILED and f"images/{picture.name}" in found[first.name].reason, found[
        first.name
    ]
    picture.write_bytes(whole)
    assert in_fork(lambda: bench(*asked, *more)) == 0
    assert [record.state for record in read_cells(tmp_path / "out")] == [State.DONE] * 2
