"""`bench run --budget … --marks …` on a toy subject: what is kept, scored and told."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from headbench.reports import build_table, format_table, terminal
from headbench.reports.quality import draw_quality
from headbench.results import load, marks_of, read_run

COMMON = ("--preset", "tiny", "--device", "cpu", "--rasterizer", "torch", "--no-report", "--protocol", "headbench@1")


@pytest.mark.slow
def test_marks_of_a_budget_are_scored_and_their_renders_removed(
    bench: Callable[..., Any], faces: Path, tmp_path: Path
) -> None:
    place = ("--data-root", faces, "--out", "out", "--datasets", "discs[anna]", "--methods", "FlashAvatar,average")
    line = ("run", *place, *COMMON, "--budget", "updates=4", "--marks", "2")
    done = bench(*line)
    assert done.code == 0, done
    assert "note: budget of every training: 4 updates" in done.out
    results = load(tmp_path / "out")
    assert set(results.cells["variant"]) == {"updates4"}
    flash = results.cells.set_index("method").loc["FlashAvatar"]
    assert flash["steps"] == 4 and flash["state"] == "done"
    scored = results.curves[(results.curves["protocol"] == "headbench@1") & (results.curves["what"] == "psnr")]
    assert scored["step"].tolist() == [2, 4] and scored["images"].tolist() == [2.0, 4.0]
    assert 0 < scored["seconds"].iloc[0] < scored["seconds"].iloc[1] <= flash["train_seconds"]
    assert scored["mark"].tolist() == [1, 2] and results.curves[results.curves["protocol"] == ""]["mark"].isna().all()
    frames = results.frames[(results.frames["method"] == "FlashAvatar") & (results.frames["metric"] == "psnr")]
    assert abs(scored["value"].iloc[1] - frames["value"].mean()) < 1e-9, "the last mark is the end"
    (marks,) = (tmp_path / "out" / "cells").glob("flashavatar*/discs/anna/seed0/marks/train")
    assert sorted(path.name for path in marks.iterdir()) == ["checkpoint-2", "checkpoint-4"]
    marks_are_shown(tmp_path, scored["value"].tolist(), scored["seconds"].tolist(), marks.parents[1] / "job.json")
    stamp = (marks / "checkpoint-2" / "headbench@1.jsonl").stat().st_mtime_ns
    assert bench(*line).code == 0
    assert (marks / "checkpoint-2" / "headbench@1.jsonl").stat().st_mtime_ns == stamp
    assert "all is as it was written" in bench("verify", "out").out


def marks_are_shown(folder: Path, values: list[float], seconds: list[float], job: Path) -> None:
    """Checks the table at common marks in every format, and the curves as figures and in the page."""
    table = build_table(folder / "out")
    assert [(found.number, found.parts, found.images) for found in table.marks] == [(1, 2, 2.0), (2, 2, 4.0)]
    assert [found.values["psnr"] for found in table.marks] == values
    for name in ("markdown", "latex", "html"):
        text = format_table(table, name)
        assert "1/2" in text and f"{values[0]:.2f}" in text and "Quality at common marks" in text, name
    record = json.loads(format_table(table, "json"))["marks"]
    assert [(found["mark"], found["marks"], found["seconds"]) for found in record] == [
        (1, 2, seconds[0]),
        (2, 2, seconds[1]),
    ]
    console = Console(width=160, file=io.StringIO())
    console.print(terminal(table))
    assert "Quality at common marks" in console.file.getvalue()  # type: ignore[attr-defined]
    figures = draw_quality(table, folder / "figures", "table")
    names = [figure.grid.name for figure in figures if figure.group == "Quality during training"]
    assert names == ["table-marks-1-seconds.png", "table-marks-1-images.png"]
    assert all((folder / "figures" / name).with_suffix(".pdf").is_file() for name in names)
    # The same marks, had they been those of a time; and a job that says nothing of them.
    text = job.read_text(encoding="utf-8")
    for execution, expected in (
        ({"marks": 2, "seconds": seconds[1]}, [int(2 * seconds[0] / seconds[1]), 2]),
        ({"marks": "2", "seconds": True}, [0, 0]), (None, [0, 0]),
    ):  # fmt: skip
        job.write_text(json.dumps(json.loads(text) | {"execution": execution}), encoding="utf-8")
        # A first step that was slow to start may lie before the middle of the time: its mark is none then.
        assert bool(build_table(folder / "out").marks) == any(expected)
        (flash,) = (result for result in read_run(folder / "out").results if not result.baseline)
        assert [mark.number for mark in marks_of(flash)] == expected
    job.write_text(text, encoding="utf-8")
