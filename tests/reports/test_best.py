"""The best avatar of a run, and the commands that show it."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import Any

import pytest

from headbench.harness.cli.look import say_look
from headbench.harness.cli.verbs import COMMANDS
from headbench.reports import build_table
from headbench.reports.best import best_avatar
from headbench.results import read_run


def test_the_best_is_an_avatar_and_no_baseline(new_run: Any) -> None:
    folder = new_run()
    for subject, offset in (("anna", 0.0), ("ben", 1.0)):
        folder.result("Good", subject, psnr=[28.0 + offset])
        folder.result("Better", subject, psnr=[29.0 + offset])
        folder.result("WithoutGaussians", subject, psnr=[35.0 + offset], gaussians=0)
        folder.result("nearest-frame", subject, psnr=[40.0 + offset], baseline=True)
    folder.cell("Best", state="failed", reason="loss is NaN")
    found = best_avatar(read_run(folder.path), build_table(folder.path))
    assert found is not None and (found.cell.method, found.cell.subject) == ("Better", "anna")


def test_a_run_ends_with_its_report_and_two_commands(
    new_run: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = new_run("a run")
    cell = folder.result("Good", psnr=[28.0])
    monkeypatch.setattr(sys, "argv", [".venv/bin/bench"])
    monkeypatch.setenv("PATH", "")  # as where the environment is not activated
    report = folder.path / "report"
    say_look(folder.path, report, read_run(folder.path), build_table(folder.path))
    first, view, export = capsys.readouterr().out.splitlines()
    assert first == f"report: {report / 'index.html'}"
    words = [shlex.split(line.partition(": ")[2]) for line in (view, export)]
    assert [line[:2] for line in words] == [[".venv/bin/bench", "view"], [".venv/bin/bench", "export"]]
    assert all(line[1] in COMMANDS and Path(line[2]) == cell for line in words)
    assert words[1][3:] == ["--format", "html", "--out", str(cell / "avatar.html")]


def test_a_run_without_an_avatar_ends_with_its_report(new_run: Any, capsys: pytest.CaptureFixture[str]) -> None:
    folder = new_run()
    folder.cell("Good", state="failed", reason="loss is NaN")
    say_look(folder.path, folder.path / "report", read_run(folder.path), build_table(folder.path))
    assert capsys.readouterr().out.splitlines() == [f"report: {folder.path / 'report' / 'index.html'}"]
