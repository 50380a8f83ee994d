"""What must answer at once answers at once, and without torch."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

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


# Fails the process if torch was imported, whatever the exit code of the command.
WATCHED = (
    "import atexit, os, sys\n"
    "from headbench.harness.cli.main import main\n"
    "atexit.register(lambda: os._exit(99) if 'torch' in sys.modules else None)\n"
    "main()\n"
)


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


# Many command lines in one process: what is printed by each, its exit code, and whether torch came with it.
MANY = (
    "import contextlib, io, json, sys\n"
    "from headbench.harness.cli.main import main\n"
    "found = []\n"
    "for line in json.loads(sys.argv[1]):\n"
    "    sys.argv, out = ['bench', *line], io.StringIO()\n"
    "    with contextlib.redirect_stdout(out), contextlib.suppress(SystemExit):\n"
    "        main()\n"
    "    found.append([out.getvalue(), 'torch' in sys.modules])\n"
    "print(json.dumps(found))\n"
)


def many(*lines: list[str], **environment: str) -> list[tuple[str, bool]]:
    done = bench(json.dumps(lines), code=MANY, **environment)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert len(found) == len(lines)
    return [(out, torch) for out, torch in found]


def test_every_help_is_there_and_needs_no_torch() -> None:
    lines = [["--help"], ["--version"], *([verb, "--help"] for verb in COMMANDS)]
    wrong = [line for line, (out, torch) in zip(lines, many(*lines), strict=True) if torch or "bench" not in out]
    assert wrong == []


def test_lists_need_no_torch(tmp_path: Path) -> None:
    expected = {"methods": "nearest-frame", "datasets": "insta", "protocols": "headbench@1", "assets": "lpips/vgg16"}
    expected["stages"] = "trains the method"
    expected["metrics"] = "lpips-vgg: missing, bench assets fetch lpips"
    found = many(*(["list", what] for what in expected), HEADBENCH_HOME=str(tmp_path))
    for (what, words), (out, torch) in zip(expected.items(), found, strict=True):
        assert words in out and not torch, what


def test_plugins_need_no_torch() -> None:
    done = bench("plugins", code=WATCHED)
    assert done.returncode == 0, done.stderr
    assert "headbench.methods.plugin" in done.stdout


def test_status_shows_states_and_reasons_and_needs_no_torch(small_run: Path) -> None:
    done = bench("status", str(small_run), code=WATCHED)
    assert done.returncode == 0, done.stderr
    assert "failed" in done.stdout and "ValueError: no" in done.stdout
    assert "interrupted" in done.stdout and "its run was killed" in done.stdout
    assert "2 cells: 1 running, 1 failed; no run works on it now" in done.stdout


def test_report_needs_no_torch_in_its_own_process(small_run: Path) -> None:
    done = bench("report", str(small_run), code=WATCHED)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["rnu"], "Unknown command 'rnu'. Did you mean 'run'"),
        (["run"], "data_root is missing"),
        (["run", "--mehtods", "x"], "--methods"),
        (["run", "--timeout", "soon"], "is no time"),
        (["status", "nowhere"], "nowhere is no run folder"),
        (["score", "nowhere"], "nowhere is no run folder"),
        (["list"], "methods"),
    ],
)
def test_wrong_usage_exits_with_1_and_says_what_is_wrong(arguments: list[str], words: str, tmp_path: Path) -> None:
    done = bench(*arguments)
    assert done.returncode == 1, done.stdout
    assert words in done.stdout + done.stderr and "Traceback" not in done.stderr


def test_help_lists_every_verb_with_its_line() -> None:
    text = " ".join(bench("--help", COLUMNS="200").stdout.split())
    assert all(verb in text and line in text for verb, (_, line) in COMMANDS.items())
