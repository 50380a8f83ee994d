"""What must answer at once answers at once, and without torch."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from commands import many

from headbench.harness.cli.verbs import COMMANDS

MAIN = "from headbench.harness.cli.main import main; main()"


def bench(*arguments: str, code: str = MAIN, **environment: str) -> subprocess.CompletedProcess[str]:
    env = os.environ | {"HEADBENCH_PLUGINS": "0"} | environment
    return subprocess.run([sys.executable, "-P", "-c", code, *arguments], env=env, capture_output=True, text=True)


def test_help_imports_nothing_heavy() -> None:
    """Then it answers in an eighth of a second; what it must not import decides, not a clock."""
    heavy = ("av", "jinja2", "numba", "numpy", "pandas", "PIL", "pluggy", "pydantic", "scipy", "torch", "yaml")
    code = (
        "import atexit, os, sys\n"
        "from headbench.harness.cli.main import main\n"
        f"atexit.register(lambda: os._exit(99) if set({heavy}) & set(sys.modules) else None)\n"
        "main()\n"
    )
    assert bench("--help", code=code).returncode == 0


@pytest.fixture
def small_run(tmp_path: Path) -> Path:
    from headbench.harness.files import write_json
    from headbench.harness.run.cell import Cell, CellRecord, State

    run = tmp_path / "run"
    cells = [Cell("Fate", "demo", "", "insta", name, 0) for name in ("bala", "obama")]
    CellRecord(cells[0], State.FAILED, "ValueError: no").write(run / "cells" / cells[0].path)
    CellRecord(cells[1], State.RUNNING, started="2026-01-01T00:00:00+00:00").write(run / "cells" / cells[1].path)
    write_json(run / "plan.json", {"format": 1, "cells": [{"path": cell.path} for cell in cells]})
    return run


EXPECTED = {
    "methods": "nearest-frame",
    "datasets": "insta",
    "protocols": "headbench@1",
    "assets": "lpips/vgg16",
    "stages": "trains the method",
    "formats": "KHR_gaussian_splatting",
    "metrics": "lpips-vgg: missing, bench assets fetch lpips",
}


def test_what_lists_and_tabulates_needs_no_torch(small_run: Path, tmp_path: Path) -> None:
    helps = [["--help"], ["--version"], *([verb, "--help"] for verb in COMMANDS)]
    lists = [["list", what] for what in EXPECTED]
    others = [["plugins"], ["status", str(small_run)], ["report", str(small_run)]]
    lines = [*helps, *lists, *others]
    printed = many(lines, HEADBENCH_PLUGINS="0", HEADBENCH_HOME=str(tmp_path))
    assert [line for line, done in zip(lines, printed, strict=True) if done.torch or done.code] == []
    assert [line for line, done in zip(lines, printed, strict=True) if done.pandas] == []
    said = {" ".join(line): done.out.decode() for line, done in zip(lines, printed, strict=True)}
    assert all("bench" in said[" ".join(line)] for line in helps)
    assert [what for what, words in EXPECTED.items() if words not in said[f"list {what}"]] == []
    assert "headbench.methods.plugin" in said["plugins"]
    status = said[f"status {small_run}"]
    assert "failed" in status and "ValueError: no" in status
    assert "interrupted" in status and "its run was killed" in status
    assert "2 cells: 1 failed, 1 interrupted; no run works on it now" in status


def test_wrong_usage_exits_with_1_and_says_what_is_wrong(tmp_path: Path) -> None:
    expected = {
        ("rnu",): "Unknown command 'rnu'. Did you mean 'run'",
        ("run",): "data_root is missing",
        ("run", "--mehtods", "x"): "--methods",
        ("run", "--timeout", "soon"): "is no time",
        ("run", "--memory", "much"): "is no size",
        ("status", "nowhere"): "nowhere is no run folder",
        ("score", "nowhere"): "nowhere is no run folder",
        ("list",): "methods",
    }
    for (line, words), done in zip(expected.items(), many(list(expected), HEADBENCH_PLUGINS="0"), strict=True):
        assert done.code == 1, line
        assert words in done.text and b"Traceback" not in done.err, line


def test_help_lists_every_verb_with_its_line() -> None:
    (done,) = many([["--help"]], COLUMNS="200")
    text = " ".join(done.out.decode().split())
    assert all(verb in text and line in text for verb, (_, line) in COMMANDS.items())
