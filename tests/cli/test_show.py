"""What people read while a run goes on, and what the doctor finds."""

from __future__ import annotations

import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest

from headbench.harness.cli.doctor import examine
from headbench.harness.cli.main import main
from headbench.harness.cli.progress import PlainWatcher, describe
from headbench.harness.console import duration, size
from headbench.harness.run.cell import Cell, CellRecord, State

CELL = Cell("Fate", "demo", "", "insta", "bala", 0)


def test_progress_has_step_rate_and_time_left() -> None:
    now = {"stage": "train", "step": 250, "total": 1000, "rate": 12.34, "eta": 61.0, "gaussians": 65536, "loss": 0.0421}
    assert describe(now) == "train, 250/1000 (25 %), 12.3 it/s, 65,536 Gaussians, loss 0.0421, 1 min 1 s left"
    assert describe({"stage": "read"}) == "read"


def test_plain_lines_come_at_a_change_of_stage_and_not_at_every_step(capsys: pytest.CaptureFixture[str]) -> None:
    watcher = PlainWatcher()
    watcher.started(CELL, 1, 2)
    for step in (1, 2, 3):
        watcher.progress(CELL, {"stage": "train", "step": step, "total": 3})
    watcher.progress(CELL, {"stage": "render", "step": 1, "total": 4})
    watcher.ended(CellRecord(CELL, State.FAILED, "ValueError: no"), 1, 2)
    assert capsys.readouterr().out.splitlines() == [
        "[1/2] fate-demo/insta/bala/seed0: start",
        "    train, 1/3 (33 %)",
        "    render, 1/4 (25 %)",
        "[1/2] fate-demo/insta/bala/seed0: failed: ValueError: no",
    ]


def test_a_terminal_gets_a_live_line_and_a_lasting_one_with_brackets_intact() -> None:
    code = (
        "from headbench.harness.cli.progress import watcher\n"
        "from headbench.harness.run.cell import Cell, CellRecord, State\n"
        "cell = Cell('Fate', 'demo', '', 'insta', 'bala', 0); w = watcher()\n"
        "w.started(cell, 1, 2); w.progress(cell, {'stage': 'train', 'step': 1, 'total': 3})\n"
        "import time; time.sleep(0.3)\n"
        "w.ended(CellRecord(cell, State.DONE), 1, 2)\n"
    )
    master, slave = pty.openpty()
    env = os.environ | {"TERM": "xterm", "COLUMNS": "120"}
    done = subprocess.run([sys.executable, "-P", "-c", code], stdout=slave, stderr=slave, env=env)
    os.close(slave)
    text = b""
    while True:
        try:
            part = os.read(master, 4096)
        except OSError:
            break
        if not part:
            break
        text += part
    os.close(master)
    assert done.returncode == 0, text
    assert b"train, 1/3 (33 %)" in text and b"[1/2] fate-demo/insta/bala/seed0: done" in text


@pytest.mark.parametrize(("seconds", "text"), [(12.4, "12 s"), (185, "3 min 5 s"), (7620, "2 h 7 min")])
def test_durations_are_for_people(seconds: float, text: str) -> None:
    assert duration(seconds) == text


@pytest.mark.parametrize(("count", "text"), [(12, "12 B"), (12_345_678, "12.3 MB"), (3.2e12, "3.2 TB")])
def test_sizes_are_for_people(count: float, text: str) -> None:
    assert size(count) == text


def test_the_doctor_examines_every_part_and_says_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HEADBENCH_HOME", str(tmp_path))
    findings = {finding.where.place: finding for finding in examine()}
    for what in ("headbench", "torch", "rasterizer numba", "rasterizer torch", "assets", "plugins"):
        assert findings[what].severity == "note", findings[what]
    assert findings["lpips/alexnet"].severity == "warning"
    assert findings["lpips/alexnet"].help == "bench assets fetch lpips --yes"
    assert findings["rasterizer gsplat"].message


def test_the_doctor_survives_a_broken_part(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HEADBENCH_HOME", str(tmp_path))
    record = tmp_path / "assets" / "lpips" / "alexnet.json"
    record.parent.mkdir(parents=True)
    record.write_text("not a record")
    bad = [finding for finding in examine() if finding.severity == "error"]
    assert len(bad) == 1 and "alexnet" in bad[0].message


@pytest.mark.parametrize(("chosen", "expected"), [(None, "passive"), ("active", "active")])
def test_idle_threads_do_not_spin_unless_the_user_says_so(
    chosen: str | None, expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OMP_WAIT_POLICY", "restored after the test")
    if chosen is None:
        monkeypatch.delenv("OMP_WAIT_POLICY")
    else:
        monkeypatch.setenv("OMP_WAIT_POLICY", chosen)
    monkeypatch.setattr(sys, "argv", ["bench", "list", "datasets"])
    with pytest.raises(SystemExit):
        main()
    assert os.environ["OMP_WAIT_POLICY"] == expected
