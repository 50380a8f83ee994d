"""`bench compare`: a gate between two runs."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from commands import many

from headbench.harness.errors import BenchError
from headbench.results import compare_runs

SUBJECTS = ("anna", "ben", "carl")


def made(new_run: Any, name: str, change: float = 0.0, subjects: tuple[str, ...] = SUBJECTS, frames: int = 24) -> Any:
    folder = new_run(name)
    for number, subject in enumerate(subjects):
        steps = [0.1 * (k % 5) + change * (1 + 0.1 * number) for k in range(frames)]
        folder.result("A", subject, psnr=[30.0 + step for step in steps], lpips=[0.1 - step / 100 for step in steps])
    return folder


def trained_on(cell: Path, digest: str, options: dict[str, Any] | None = None) -> None:
    """Says of a cell on which data it was trained, as its worker does."""
    from headbench.harness.run.config import config_hash

    (cell / "stages" / "train" / "checkpoint-1").mkdir(parents=True)
    data = {"folder": "/data", "options": options or {}, "fingerprint": {"images": digest}, "file": ""}
    values = {"versions": {}, "code": {}, "machine": {}, "argv": [], "config": {}, "config_hash": config_hash({})}
    (cell / "provenance.json").write_text(json.dumps({**values, "data": data}), encoding="utf-8")


def test_the_exit_code_says_whether_the_second_run_is_worse(new_run: Any) -> None:
    base, worse, better = made(new_run, "base"), made(new_run, "worse", -0.3), made(new_run, "better", 0.3)
    few = made(new_run, "few", -3.0, ("anna",), frames=10)
    lines = [
        (base.path, base.path), (base.path, worse.path), (base.path, better.path),
        (base.path, worse.path, "--threshold", "psnr=0.5", "--threshold", "lpips/alex=0.01"),
        (base.path, worse.path, "--metric", "ssim"), (few.path, few.path), (base.path, base.path, "--metric", "pnsr"),
        (base.path, base.path, "--threshold", "psnr"), (base.path, base.path, "--threshold", "edges=1"),
    ]  # fmt: skip
    done = many([("compare", *line) for line in lines], HEADBENCH_PLUGINS="0", COLUMNS="160")
    assert [each.code for each in done] == [0, 3, 0, 0, 0, 4, 1, 1, 1], [each.text for each in done]
    assert "worse minus base: headbench@1" in done[1].text and "2 significant regression(s)" in done[1].text
    assert "insta mean" in done[1].text and "−0.33 [" in done[1].text and "] worse" in done[1].text
    assert "undecided: 10 frames are too few for an interval (24 needed)" in done[5].text
    assert "Did you mean 'psnr'?" in done[6].text and "such as psnr=0.1" in done[7].text
    assert "Unknown metric 'edges'" in done[8].text


def test_over_three_subjects_the_mean_decides_and_below_each_alone(new_run: Any) -> None:
    base, worse = made(new_run, "base"), made(new_run, "worse", -0.3)
    found = compare_runs(base.path, worse.path)
    psnr = [change for change in found.changes if change.metric == "psnr"]
    assert [(change.subject, change.decides) for change in psnr] == [*((s, False) for s in SUBJECTS), ("", True)]
    interval = psnr[-1].difference.interval
    # Differences of -0.30, -0.33 and -0.36: s = 0.03, t(0.975, 2) = 4.3027.
    assert interval.mean == pytest.approx(-0.33) and interval.half == pytest.approx(4.3027 * 0.03 / 3**0.5, rel=1e-4)
    assert interval.effect == pytest.approx(-11 * (1 - 3 / 7))
    assert [(change.metric, change.subject) for change in found.regressions()] == [("psnr", ""), ("lpips/alex", "")]
    assert found.regressions({"psnr": 0.3}) == [change for change in found.regressions() if change.metric != "psnr"]
    two = compare_runs(made(new_run, "two", 0.0, SUBJECTS[:2]).path, worse.path)
    assert {change.subject for change in two.changes if change.decides} == {"anna", "ben"}
    assert two.notes == ("only in worse: A on carl",)


def test_the_comparison_is_data(new_run: Any) -> None:
    base, worse = made(new_run, "base"), made(new_run, "worse", -0.3)
    (done,) = many([("compare", base.path, worse.path, "--format", "csv")], HEADBENCH_PLUGINS="0")
    frame = pd.read_csv(io.StringIO(done.out.decode()), keep_default_na=False)
    mean = frame[(frame["subject"] == "") & (frame["metric"] == "psnr")].iloc[0]
    assert mean["regression"] and mean["count"] == 3 and mean["of"] == "subjects" and mean["ci95_high"] < 0


@pytest.mark.tried(
    "wrong command lines", "comparing runs of different data, options or protocols", "the error", "nothing"
)
def test_runs_that_do_not_compare_are_refused_with_a_sentence(new_run: Any, tmp_path: Path) -> None:
    runs = {name: new_run(name) for name in ("a", "b", "c", "d", "e", "f")}
    cells = {name: runs[name].result("A", psnr=[30.0] * 24) for name in "abc"}
    trained_on(cells["a"], "1" * 64)
    trained_on(cells["b"], "2" * 64)
    trained_on(cells["c"], "1" * 64, {"eyes": "fateavatar"})
    runs["d"].result("A", psnr=[30.0] * 24, digest="d" * 64)
    runs["e"].result("B", psnr=[30.0] * 24)
    runs["f"].result("A", psnr=[30.0] * 24, protocol="fateavatar@1")
    expected = {
        "b": "trained on different data: data images was 111111111111…, is 222222222222…",
        "c": "were read with different options of the dataset",
        "d": "protocols of one name that differ (headbench@1: abababababab and dddddddddddd)",
        "e": "share no method on a subject that both have scored by headbench@1",
        "f": "are not both scored by one protocol",
    }
    for name, sentence in expected.items():
        with pytest.raises(BenchError) as caught:
            compare_runs(runs["a"].path, runs[name].path)
        assert sentence in str(caught.value) and caught.value.help, name
    with pytest.raises(BenchError, match="no run folder"):
        compare_runs(runs["a"].path, tmp_path)
