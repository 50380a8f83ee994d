"""What `bench` prints: no escape sequence of a stranger, and no traceback on a console that is not UTF-8."""

from __future__ import annotations

import io
import json
import os
import re
import sys
import unicodedata
from pathlib import Path

import pytest
from commands import many

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


VERBS = (("status",), ("report", "--no-figures"), ("report", "--format", "csv"))


@pytest.mark.tried("hostile files", "escape sequences in cell.json", "status and report, with them written out")
@pytest.mark.parametrize("colour", [pytest.param("0", marks=pytest.mark.slow), "1"])
def test_no_verb_prints_a_strangers_escapes(strange: Path, colour: str) -> None:
    environment = {"FORCE_COLOR": "1"} if colour == "1" else {}
    lines = [(verb[0], strange, *verb[1:]) for verb in VERBS]
    for verb, done in zip(VERBS, many(lines, PYTHONIOENCODING="utf-8", **environment), strict=True):
        assert done.code == 0, done.text
        shown = re.sub(r"\x1b\[[0-9;]*m", "", done.out.decode()) if colour == "1" else done.out.decode()
        assert hidden(shown) == set() and "\\x1b]0;title" in shown, verb
        assert "[red]x[/red]" in shown and not [line for line in shown.splitlines() if line.startswith("forged")]


@pytest.mark.tried("wrong command lines", "names with escape sequences", "the message, with them written out")
def test_errors_are_printed_without_escapes(tmp_path: Path) -> None:
    lines: list[tuple[object, ...]] = [
        ("report", "a\x1b[2Jb"),
        ("status", "a\x1b[2Jb"),
        ("run", "a\x1b[2Jb.yaml"),
        ("\x1b[2J",),
        ("score", tmp_path, "--\x1b[2J"),
    ]
    for done in many(lines, PYTHONIOENCODING="utf-8"):
        assert done.code == 1
        assert hidden(done.err.decode() + done.out.decode()) == set()
        assert b"Traceback" not in done.err


@pytest.mark.tried("wrong command lines", "a console that is not UTF-8", "the report; ? for what the console lacks")
@pytest.mark.parametrize(
    "environment",
    [
        pytest.param(console, id=name, marks=[] if name == "C" else [pytest.mark.slow])
        for name, console in zip(("latin-1", "ascii", "cp1252", "C"), CONSOLES, strict=True)
    ],
)
def test_a_console_that_is_not_utf8_gets_question_marks(strange: Path, environment: dict[str, str]) -> None:
    plain = strange.rename(strange.with_name("run"))  # a locale of C has no such paths
    lines: list[tuple[object, ...]] = [
        ("report", plain, "--no-figures"),
        ("report", plain, "--format", "markdown"),
        ("report", plain, "--format", "terminal"),
        ("status", plain),
    ]
    for done in many(lines, **environment):
        assert done.code == 0 and b"Traceback" not in done.err, done.text
        assert b"anna" in done.out
    page = (plain / "report" / "index.html").read_text(encoding="utf-8")
    assert "\\x1b]0;title" in page


@pytest.mark.parametrize("encoding", [pytest.param("latin-1", marks=pytest.mark.slow), "ascii"])
def test_other_verbs_print_on_such_a_console_too(encoding: str) -> None:
    lines = [("--help",), ("run", "--help"), ("list", "methods"), ("list", "protocols")]
    for line, done in zip(lines, many(lines, PYTHONIOENCODING=encoding), strict=True):
        assert done.code == 0 and b"Traceback" not in done.err and len(done.out) > 100, line


@pytest.mark.parametrize("encoding", ["latin-1", "ascii"])
@pytest.mark.slow
def test_the_doctor_prints_on_such_a_console_too(encoding: str) -> None:
    (done,) = many([("doctor",)], PYTHONIOENCODING=encoding)
    assert done.code == 0 and b"Traceback" not in done.err and len(done.out) > 100, done.text


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
    (made,) = many([("data", "synth", "--frames", "4", "--size", "16", tmp_path)])
    assert made.code == 0, made.text
    subject = next((tmp_path / "insta").iterdir())
    evil = subject.rename(subject.with_name("synth\x1b[2J\nerror: forged"))
    (evil / "images" / "00001.png").rename(evil / "images" / "\x1b]0;x\x07\nerror: forged.png")
    (evil / os.fsdecode(b"not-utf8-\xff.png")).write_bytes(b"")
    line = ("data", "check", "insta", "--data-root", tmp_path)
    for done in many([(*line, "--fix-list"), (*line, "--subject", "\x1b[2J")], PYTHONIOENCODING="utf-8"):
        shown = (done.out + done.err).decode()
        assert done.code in (1, 2) and "Traceback" not in shown
        assert hidden(shown) - {"\t"} == set() and "\\x1b[2J" in shown
        assert not [line for line in shown.splitlines() if line.startswith("error: forged")]
