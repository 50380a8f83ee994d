"""A run that is killed and started again ends as one that was left alone."""

from __future__ import annotations

import contextlib
import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from cells import Gate

from headbench.harness.errors import BenchError
from headbench.harness.files import read_json, sha256_of
from headbench.harness.run import State, cell_folder, read_cells
from headbench.harness.run.child import read_progress

# A suite in the background of a shell hands an ignored SIGINT to its children; a terminal does not.
HEARS = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler); "
MAIN = [sys.executable, "-P", "-c", HEARS + "from headbench.harness.cli.main import main; main()"]
Spawn = Callable[..., "subprocess.Popen[bytes]"]


@pytest.fixture
def spawn(environment: dict[str, str], tmp_path: Path) -> Spawn:
    """Starts `bench` in a process of its own."""

    def start(*arguments: object, site: Path | None = None, gate: Gate | None = None) -> subprocess.Popen[bytes]:
        env = os.environ | environment
        if site is not None:
            env["PYTHONPATH"] = os.pathsep.join([str(site), env["PYTHONPATH"]])
        if gate is not None:
            held = gate.environment
            env |= held | {"PYTHONPATH": os.pathsep.join([held["PYTHONPATH"], env["PYTHONPATH"]])}
        with (tmp_path / "spawned.txt").open("ab") as log:
            return subprocess.Popen([*MAIN, *map(str, arguments)], env=env, cwd=tmp_path, stdout=log, stderr=log)

    return start


def results(run: Path) -> dict[str, tuple[str, list[object]]]:
    """Cell -> hashes of renders and weights, and scores of its frames and lines of the log without their rates."""
    found = {}
    for record in read_cells(run):
        folder = cell_folder(run, record.cell)
        assert record.state is State.DONE, record
        stage = folder / "stages" / "train"
        lines = (folder / "scores" / "headbench@1.jsonl").read_text().splitlines()
        hashes = (folder / "renders" / "train-white" / "sha256.txt").read_text()
        for path in sorted(stage.glob(f"checkpoint-{read_json(stage / 'summary.json')['steps']}/*.safetensors")):
            hashes += f"{sha256_of(path)}  {path.name}\n"
        log = stage / "metrics.jsonl"
        schedule = [json.loads(line) for line in log.read_text().splitlines()] if log.exists() else []
        kept = [{key: value for key, value in line.items() if key != "rate"} for line in schedule]
        found[record.cell.path] = (hashes, [*(json.loads(line) for line in lines[1:]), *kept])
    return found


def until(process: subprocess.Popen[bytes], condition: Callable[[], bool], seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "the moment to kill did not come"
        assert process.poll() is None, "the run ended before it could be killed"
        time.sleep(0.01)


def gone(process: int) -> bool:
    try:
        state = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):  # the latter if it is gone between opening and reading
        return True
    return state == "Z"


def kill(runner: subprocess.Popen[bytes], cell: Path) -> None:
    """SIGKILL to `bench run`; its worker goes with it."""
    worker = int(read_json(cell / "claim.json")["pid"])
    runner.send_signal(signal.SIGKILL)
    runner.wait()
    deadline = time.monotonic() + 10
    while not gone(worker):
        assert time.monotonic() < deadline, "the worker outlived its run"
        time.sleep(0.02)


@pytest.mark.slow
def test_a_kill_while_training_changes_nothing(
    spawn: Spawn, bench: Callable[..., Any], blobs: Path, faces: Path, tmp_path: Path, gate: Gate
) -> None:
    arguments = (
        "run", "--methods", "blobs", "--datasets", "discs[anna]", "--data-root", faces, "--preset", "demo",
        "--device", "cpu", "--rasterizer", "torch", "--set", "blobs.train.steps=40", "--label", "k",
        "--checkpoint-every", 10, "--deterministic", "--no-report",
    )  # fmt: skip
    trained = tmp_path / "wild" / "cells" / "blobs-demo-k" / "discs" / "anna" / "seed0"
    gate.close(10)
    runner = spawn(*arguments, "--out", "wild", site=blobs, gate=gate)
    until(runner, lambda: (trained / "stages" / "train" / "checkpoint-10" / "state.json").is_file())
    kill(runner, trained)
    assert not (trained / "stages" / "train" / "summary.json").exists()
    shown = " ".join(bench("status", "wild").out.split())
    assert "1 interrupted" in shown and "was killed; the same command goes on" in shown, shown
    assert bench(*arguments, "--out", "wild", site=blobs).code == 0
    assert bench(*arguments, "--out", "calm", site=blobs).code == 0
    assert results(tmp_path / "wild") == results(tmp_path / "calm")
    assert read_json(trained / "cell.json")["attempts"] == 2


@pytest.mark.slow
def test_kills_while_training_and_while_rendering_change_nothing(
    spawn: Spawn, blobs: Path, faces: Path, tmp_path: Path, gate: Gate
) -> None:
    (faces / "discs" / "anna" / "subject.json").write_text('{"frames": 45, "size": 24, "head": "openhead"}')
    arguments = (
        "run", "--methods", "blobs,noisy", "--datasets", "discs[anna]", "--data-root", faces, "--preset", "demo",
        "--device", "cpu", "--rasterizer", "torch", "--set", "blobs.train.steps=80", "--label", "k",
        "--checkpoint-every", 10, "--deterministic", "--no-report",
    )  # fmt: skip
    calm = spawn(*arguments, "--out", "calm", site=blobs)
    cells = tmp_path / "wild" / "cells"
    trained = cells / "blobs-demo-k" / "discs" / "anna" / "seed0"
    rendered = cells / "noisy-demo" / "discs" / "anna" / "seed0"

    gate.close(20)
    runner = spawn(*arguments, "--out", "wild", site=blobs, gate=gate)
    until(runner, lambda: (trained / "stages" / "train" / "checkpoint-20" / "state.json").is_file())
    kill(runner, trained)
    assert not (trained / "stages" / "train" / "summary.json").exists()

    gate.close("noisy-demo/discs/anna/seed0/renders/train-white/00036.png")
    runner = spawn(*arguments, "--out", "wild", site=blobs, gate=gate)
    until(runner, lambda: len(list((rendered / "renders" / "train-white").glob("*.png"))) >= 4)
    kill(runner, rendered)
    assert not (rendered / "renders" / "train-white" / "sha256.txt").exists()
    half = {path.name for path in (rendered / "renders" / "train-white").glob("*.png")}
    times = {name: (rendered / "renders" / "train-white" / name).stat().st_mtime_ns for name in half}

    assert spawn(*arguments, "--out", "wild", site=blobs).wait(120) == 0, (tmp_path / "spawned.txt").read_text()
    assert calm.wait(120) == 0, (tmp_path / "spawned.txt").read_text()
    assert results(tmp_path / "wild") == results(tmp_path / "calm")
    kept = [n for n in half if (rendered / "renders" / "train-white" / n).stat().st_mtime_ns == times[n]]
    assert set(kept) == half, "frames that were there have been rendered again"
    log = (trained / "stages" / "train" / "log.txt").read_text()
    assert log.count("--- ") == 2 and read_json(trained / "cell.json")["attempts"] == 2


@pytest.mark.slow
def test_a_damaged_render_is_made_again(bench, faces: Path, tmp_path: Path) -> None:
    arguments = (
        "run", "--methods", "noisy", "--datasets", "discs[anna]", "--data-root", faces, "--preset", "demo",
        "--device", "cpu", "--rasterizer", "torch", "--out", "out", "--no-report",
    )  # fmt: skip
    assert bench(*arguments).code == 0
    before = results(tmp_path / "out")
    folder = next((tmp_path / "out" / "cells").glob("*/*/*/*"))
    picture = folder / "renders" / "train-white" / "00007.png"
    picture.write_bytes(picture.read_bytes()[:-7])
    refused = bench("score", "out", "--force")
    assert refused.code == 2 and "00007.png" in refused.err and "was damaged" in refused.err
    done = bench(*arguments, "--protocol", "fateavatar-8bit@1")
    assert done.code == 0, done
    assert results(tmp_path / "out") == before


# SIGTERM becomes what SIGINT is from the start; a worker whose run gets SIGINT is ended in test_execute.py too.
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.slow
def test_a_run_refuses_other_settings_in_its_folder_and_interrupted_exits_with_130_and_leaves_nothing_behind(
    spawn: Spawn, bench, faces: Path, tmp_path: Path, number: signal.Signals
) -> None:
    arguments = (
        "run", "--methods", "hangs", "--datasets", "discs", "--data-root", faces, "--preset", "demo",
        "--device", "cpu", "--out", "out",
    )  # fmt: skip
    runner = spawn(*arguments)
    cell = tmp_path / "out" / "cells" / "hangs-demo" / "discs" / "anna" / "seed0"
    try:
        until(
            runner, lambda: (cell / "progress.json").is_file() and read_json(cell / "progress.json")["stage"] == "train"
        )
        second = bench(*arguments, "--seeds", "0,1")
        assert second.code == 1 and f"process {runner.pid} on " in second.err, second
        assert "works in out with other settings: seeds 0 there, 0,1 here" in " ".join(second.err.split())
        assert "running" in bench("status", "out").out
        worker = int(read_json(cell / "claim.json")["pid"])
        runner.send_signal(number)
        assert runner.wait(20) == 130
    finally:
        runner.kill()
        runner.wait()
    assert gone(worker)
    assert [record.state for record in read_cells(tmp_path / "out")] == [State.INTERRUPTED, State.QUEUED]


@pytest.mark.slow
@pytest.mark.alone
def test_ten_kills_at_random_moments_with_real_methods_change_nothing(
    spawn: Spawn, environment: dict[str, str], tmp_path: Path
) -> None:
    made = spawn("data", "synth", "--frames", 12, "--size", 64, "--seed", 3, tmp_path / "data")
    assert made.wait(300) == 0, (tmp_path / "spawned.txt").read_text()
    methods = ("fateavatar", "gaussianavatars")
    settings = [item for name in methods for item in ("--set", f"{name}.train.steps=80")]
    settings += [item for name in methods for item in ("--set", f"{name}.train.resolution=64")]
    arguments = (
        "run", "--methods", "nearest-frame,fateavatar,gaussianavatars", "--datasets", "insta",
        "--data-root", tmp_path / "data", "--preset", "demo",
        "--device", "cpu", "--checkpoint-every", 20, "--deterministic", "--no-report", "--label", "k", *settings,
    )  # fmt: skip
    started = time.monotonic()
    assert spawn(*arguments, "--out", "calm").wait(600) == 0, (tmp_path / "spawned.txt").read_text()
    whole = time.monotonic() - started
    seed = random.randrange(1 << 30)
    moments = random.Random(seed)
    kills = 0
    while kills < 10:
        runner = spawn(*arguments, "--out", "wild")
        try:
            # Early enough that ten kills find something to kill; a run that ends first starts over in a new folder.
            runner.wait(moments.uniform(0.05, 0.5) * whole)
            assert runner.returncode == 0, (tmp_path / "spawned.txt").read_text()
            assert results(tmp_path / "wild") == results(tmp_path / "calm"), f"seed {seed}"
            (tmp_path / "wild").rename(tmp_path / f"wild-{kills}")
        except subprocess.TimeoutExpired:
            runner.send_signal(signal.SIGKILL)
            runner.wait()
            kills += 1
    assert spawn(*arguments, "--out", "wild").wait(600) == 0, (tmp_path / "spawned.txt").read_text()
    assert results(tmp_path / "wild") == results(tmp_path / "calm"), f"seed {seed}"


KILLS = 52
"""Of the test below; with the ten above more than sixty per night."""
LANES = 2
"""Runs that are killed side by side."""
SIGNALS = (signal.SIGKILL, signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Lane:
    """One run that is killed again and again until it has had its share, and then left alone.

    Args:
        start: starts the command in a folder of this name.
    """

    def __init__(self, start: Callable[[str], subprocess.Popen[bytes]], folder: Path, seed: int) -> None:
        self.start = start
        self.folder = folder
        self.moments = random.Random(seed)
        self.finished: list[Path] = []
        self.killed: list[str] = []
        self.stages: set[str] = set()

    def spend(self, kills: int) -> None:
        """Kill so often, at random moments and alternately from outside and in its worker; then let it end."""
        while len(self.killed) < kills:
            runner = self.start(self.folder.name)
            number = SIGNALS[len(self.killed) % len(SIGNALS)]
            if self._live(runner):
                self._strike(runner, number)
            else:
                self._put_away(runner)
        runner = self.start(self.folder.name)
        self._put_away(runner)

    def _live(self, runner: subprocess.Popen[bytes]) -> bool:
        """Wait for a random moment: half of them while Python starts, half after a worker has begun; whether it is
        still alive."""
        if self.moments.random() < 0.5:
            return self._lasts(runner, self.moments.uniform(0.0, 4.0))
        before = self._worker()
        while self._worker() in (None, before):
            if not self._lasts(runner, 0.05):
                return False
        return self._lasts(runner, self.moments.uniform(0.5, 6.0))

    def _lasts(self, runner: subprocess.Popen[bytes], seconds: float) -> bool:
        try:
            runner.wait(seconds)
        except subprocess.TimeoutExpired:
            return True
        return False

    def _worker(self) -> int | None:
        """The process that holds a cell, or held the one that was begun last when it was killed."""
        claims: list[tuple[int, int]] = []
        for path in self.folder.glob("cells/*/*/*/*/claim.json"):
            with contextlib.suppress(OSError, BenchError):  # it ends just now
                claims.append((path.stat().st_mtime_ns, int(read_json(path)["pid"])))
        return max(claims)[1] if claims else None

    def _strike(self, runner: subprocess.Popen[bytes], number: signal.Signals) -> None:
        worker = self._worker()
        for cell in self.folder.glob("cells/*/*/*/*"):
            self.stages.add(str(read_progress(cell).get("stage", "start")).partition(" ")[0])
        if worker is not None and not gone(worker) and len(self.killed) % 5 == 4:
            # Its run goes on with the other cell and ends by itself; the next one takes up what is left.
            os.kill(worker, number)
            self.killed.append(f"worker {number.name}")
            runner.wait(120)
            return
        runner.send_signal(number)
        self.killed.append(number.name)
        runner.wait(60)
        deadline = time.monotonic() + 10
        while worker is not None and not gone(worker):
            assert time.monotonic() < deadline, f"a worker outlived {self.killed[-1]} of its run"
            time.sleep(0.02)

    def _put_away(self, runner: subprocess.Popen[bytes]) -> None:
        """A run that has ended: it is compared later, and the next one begins in a new folder."""
        runner.wait(180)
        if all(record.state is State.DONE for record in read_cells(self.folder)):
            self.finished.append(self.folder.rename(self.folder.with_name(f"{self.folder.name}-{len(self.finished)}")))


@pytest.mark.slow
@pytest.mark.tried(
    "faults in runs",
    f"{KILLS} kills of a run and its worker at random moments by SIGKILL, SIGINT, SIGTERM and SIGHUP",
    "weights, pictures, scores and log end equal to the byte to a run left alone",
    "the steps since the last checkpoint",
)
@pytest.mark.alone
def test_dozens_of_kills_by_every_signal_change_nothing(spawn: Spawn, blobs: Path, faces: Path, tmp_path: Path) -> None:
    (faces / "discs" / "anna" / "subject.json").write_text('{"frames": 120, "size": 24, "head": "openhead"}')
    arguments = (
        "run", "--methods", "blobs,noisy", "--datasets", "discs[anna]", "--data-root", faces, "--preset", "demo",
        "--device", "cpu", "--rasterizer", "torch", "--set", "blobs.train.steps=120", "--label", "k",
        "--checkpoint-every", 7, "--deterministic", "--no-report",
    )  # fmt: skip

    def start(name: str) -> subprocess.Popen[bytes]:
        return spawn(*arguments, "--out", name, site=blobs)

    seed = random.randrange(1 << 30)
    lanes = [Lane(start, tmp_path / f"wild{k}", seed + k) for k in range(LANES)]
    with ThreadPoolExecutor(LANES) as pool:
        list(pool.map(lambda lane: lane.spend(KILLS // LANES), lanes))
    assert start("calm").wait(180) == 0, (tmp_path / "spawned.txt").read_text()
    calm = results(tmp_path / "calm")
    assert sum(len(lane.killed) for lane in lanes) == KILLS
    assert {name.removeprefix("worker ") for lane in lanes for name in lane.killed} == {s.name for s in SIGNALS}
    stages = set().union(*(lane.stages for lane in lanes))
    assert "train" in stages and len(stages) >= 3, f"kills came in {stages} alone"
    for lane in lanes:
        assert lane.finished, lane.killed
        for folder in lane.finished:
            assert results(folder) == calm, f"seed {seed}: {folder} after {lane.killed}"
