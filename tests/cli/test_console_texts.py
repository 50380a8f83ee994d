"""What `bench` prints: no escape sequence of a stranger, and no traceback on a console that is not UTF-8."""

from __future__ import annotations

import io
import json
import os
import re
import subprocess
import sys
import unicodedata
from pathlib import Path

import pytest

from headbench.harness import console
from headbench.harness.cli.progress import PlainWatcher, TerminalWatcher
from headbench.harness.run import Cell, CellRecord, State

ESCAPES = "\x1b]0;title\x07\x1b[2J\x9b31m [red]x[/red] gnp\u202e \udcff\nforged: line"
CELL = Cell("A", "demo", "", "faces", "anna", 0)
CONSOLES = (
    {"PYTHONIOENCODING": "latin-1"},
    {"PYTHONIOENCODING": "ascii"},
    {"PYTHONIOENCODING": "cp1252:strict"},
    {"LANG": "C", "LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
)


def hidden(text: str) -> set[str]:
    return {c for c in text if unicodedata.category(c) in ("Cc", "Cf", "Cs", "Zl", "Zp")} - {"\n"}


def bench(*arguments: str, **environment: str) -> subprocess.CompletedProcess[bytes]:
    command = [sys.executable, "-P", "-m", "headbench.harness.cli.main", *arguments]
    return subprocess.run(command, capture_output=True, env=os.environ | environment, check=False)


@pytest.fixture
def strange(tmp_path: Path) -> Path:
    """A run folder with texts of a stranger, in the state of one that failed and one that waits."""
    run = tmp_path / "run ± ↑"
    cells = []
    for seed, state in ((0, "failed"), (1, "skipped")):
        where = f"a-demo/faces/anna/seed{seed}"
        key = {"method": "A", "preset": "demo", "variant": "", "dataset": "faces", "subject": "anna", "seed": seed}
        folder = run / "cells" / where
        folder.mkdir(parents=True)
        record = {**key, "state": state, "reason": ESCAPES, "notes": [ESCAPES], "baseline": False}
        (folder / "cell.json").write_text(json.dumps(record), encoding="utf-8")
        cells.append({**key, "path": where})
    (run / "plan.json").write_text(json.dumps({"format": 1, "cells": cells, "notes": [ESCAPES]}), encoding="utf-8")
    return run


@pytest.mark.tried("hostile files", "escape sequences in cell.json", "status and report, with them written out")
@pytest.mark.parametrize("verb", [("status",), ("report", "--no-figures"), ("report", "--format", "csv")])
@pytest.mark.parametrize("colour", ["0", "1"])
def test_no_verb_prints_a_strangers_escapes(strange: Path, verb: tuple[str, ...], colour: str) -> None:
    environment = {"FORCE_COLOR": "1"} if colour == "1" else {}
    done = bench(verb[0], str(strange), *verb[1:], PYTHONIOENCODING="utf-8", **environment)
    assert done.returncode == 0, done.stderr.decode()
    shown = re.sub(r"\x1b\[[0-9;]*m", "", done.stdout.decode()) if colour == "1" else done.stdout.decode()
    assert hidden(shown) == set() and "\\x1b]0;title" in shown
    assert "[red]x[/red]" in shown and not [line for line in shown.splitlines() if line.startswith("forged")]


@pytest.mark.tried("wrong command lines", "names with escape sequences", "the message, with them written out")
def test_errors_are_printed_without_escapes(tmp_path: Path) -> None:
    for arguments in (
        ("report", "a\x1b[2Jb"),
        ("status", "a\x1b[2Jb"),
        ("run", "a\x1b[2Jb.yaml"),
        ("\x1b[2J",),
        ("score", str(tmp_path), "--\x1b[2J"),
    ):
        done = bench(*arguments, PYTHONIOENCODING="utf-8")
        assert done.returncode == 1
        assert hidden(done.stderr.decode() + done.stdout.decode()) == set()
        assert b"Traceback" not in done.stderr


@pytest.mark.tried("wrong command lines", "a console that is not UTF-8", "the report; ? for what the console lacks")
@pytest.mark.parametrize("environment", CONSOLES, ids=["latin-1", "ascii", "cp1252", "C"])
@pytest.mark.parametrize(
    "verb",
    [("report", "--no-figures"), ("report", "--format", "markdown"), ("report", "--format", "terminal"), ("status",)],
)
def test_a_console_that_is_not_utf8_gets_question_marks(
    strange: Path, environment: dict[str, str], verb: tuple[str, ...]
) -> None:
    plain = strange.rename(strange.with_name("run"))  # a locale of C has no such paths
    done = bench(verb[0], str(plain), *verb[1:], **environment)
    assert done.returncode == 0 and b"Traceback" not in done.stderr, done.stderr.decode("utf-8", "replace")
    assert b"anna" in done.stdout
    if verb == ("report", "--no-figures"):
        page = (plain / "report" / "index.html").read_text(encoding="utf-8")
        assert "\\x1b]0;title" in page


@pytest.mark.parametrize(
    "verb", [("--help",), ("run", "--help"), ("list", "methods"), ("list", "protocols"), ("doctor",)]
)
@pytest.mark.parametrize("encoding", ["latin-1", "ascii"])
@pytest.mark.slow
def test_other_verbs_print_on_such_a_console_too(verb: tuple[str, ...], encoding: str) -> None:
    done = bench(*verb, PYTHONIOENCODING=encoding)
    assert done.returncode == 0 and b"Traceback" not in done.stderr and len(done.stdout) > 100


def test_lines_of_a_run_are_lines(capsys: pytest.CaptureFixture[str]) -> None:
    record = CellRecord(CELL, State.FAILED, ESCAPES)
    watcher = PlainWatcher()
    watcher.started(CELL, 1, 1)
    watcher.progress(CELL, {"stage": ESCAPES})
    watcher.ended(record, 1, 1)
    shown = capsys.readouterr().out
    assert hidden(shown) == set() and len(shown.splitlines()) == 3


@pytest.mark.parametrize("encoding", ["utf-8", "ascii"])
def test_the_live_line_shows_markup_as_text(monkeypatch: pytest.MonkeyPatch, encoding: str) -> None:
    from rich.console import Console

    stream = io.TextIOWrapper(io.BytesIO(), encoding=encoding, errors="replace")
    terminal = Console(file=stream, force_terminal=True, width=200)
    for module in (console, sys.modules[TerminalWatcher.__module__]):
        monkeypatch.setattr(module, "console", lambda: terminal)
    watcher = TerminalWatcher()
    watcher.started(CELL, 1, 1)
    watcher.progress(CELL, {"stage": ESCAPES})
    watcher.ended(CellRecord(CELL, State.FAILED, ESCAPES), 1, 1)
    stream.flush()
    shown = stream.buffer.getvalue()  # type: ignore[attr-defined]
    assert b"]0;title\\x07\\x1b[2J" in shown and b"[red]x[/red]" in shown
    assert b"\x1b]0" not in shown and b"\x1b[2J" not in shown


@pytest.mark.tried(
    "hostile files", "file and folder names with escapes in a dataset", "its check, with them written out"
)
@pytest.mark.slow
def test_a_check_of_data_prints_no_file_name_as_it_is(tmp_path: Path) -> None:
    made = bench("data", "synth", "--frames", "4", "--size", "16", str(tmp_path))
    assert made.returncode == 0, made.stderr.decode()
    subject = next((tmp_path / "insta").iterdir())
    evil = subject.rename(subject.with_name("synth\x1b[2J\nerror: forged"))
    (evil / "images" / "00001.png").rename(evil / "images" / "\x1b]0;x\x07\nerror: forged.png")
    (evil / os.fsdecode(b"not-utf8-\xff.png")).write_bytes(b"")
    for arguments in (("check", "insta", "--fix-list"), ("check", "insta", "--subject", "\x1b[2J")):
        done = bench("data", *arguments, "--data-root", str(tmp_path), PYTHONIOENCODING="utf-8")
        shown = (done.stdout + done.stderr).decode()
        assert done.returncode in (1, 2) and "Traceback" not in shown
        assert hidden(shown) - {"\t"} == set() and "\\x1b[2J" in shown
        assert not [line for line in shown.splitlines() if line.startswith("error: forged")]
