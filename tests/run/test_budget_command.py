"""`bench run --budget … --marks …` on a toy subject: what is kept, scored and told."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from headbench.results import load

COMMON = ("--preset", "tiny", "--device", "cpu", "--rasterizer", "torch", "--no-report", "--protocol", "headbench@1")


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
    frames = results.frames[(results.frames["method"] == "FlashAvatar") & (results.frames["metric"] == "psnr")]
    assert abs(scored["value"].iloc[1] - frames["value"].mean()) < 1e-9, "the last mark is the end"
    (marks,) = (tmp_path / "out" / "cells").glob("flashavatar*/discs/anna/seed0/marks/train")
    assert sorted(path.name for path in marks.iterdir()) == ["checkpoint-2", "checkpoint-4"]
    stamp = (marks / "checkpoint-2" / "headbench@1.jsonl").stat().st_mtime_ns
    assert bench(*line).code == 0
    assert (marks / "checkpoint-2" / "headbench@1.jsonl").stat().st_mtime_ns == stamp
    assert "all is as it was written" in bench("verify", "out").out
