"""`bench compare`: a gate between two runs."""

from __future__ import annotations

import io
import json
import re
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from commands import many

from headbench.harness.errors import BenchError
from headbench.results import changes_frame, compare_runs

DOCS = Path(__file__).parents[2] / "docs" / "statistics.md"
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
    few, other = made(new_run, "few", -3.0, ("anna",), frames=10), new_run("other")
    other.result("A", "anna", psnr=[30.0] * 24, ids=[f"x{k:03d}" for k in range(24)])
    lines = [
        (base.path, base.path), (base.path, worse.path), (base.path, better.path),
        (base.path, worse.path, "--threshold", "psnr=0.5", "--threshold", "lpips/alex=0.01"),
        (base.path, worse.path, "--metric", "ssim"), (few.path, few.path), (base.path, base.path, "--metric", "pnsr"),
        (base.path, base.path, "--threshold", "psnr"), (base.path, base.path, "--threshold", "edges=1"),
        (base.path, worse.path, "--familywise"), (base.path, other.path), (base.path, worse.path, "--format", "csv"),
    ]  # fmt: skip
    done = many([("compare", *line) for line in lines], HEADBENCH_PLUGINS="0", COLUMNS="160")
    assert [each.code for each in done] == [0, 3, 0, 0, 0, 4, 1, 1, 1, 3, 4, 3], [each.text for each in done]
    assert "3 comparisons, of which 0.075 are false alarms on average where nothing changed" in done[1].text
    assert "3 comparisons, together as strict as one (Holm)" in done[9].text
    assert "A on anna: 0 of 24 and 24 frames are compared, those that both runs scored" in done[10].text
    assert "undecided: both runs have values of no metric that has a direction" in done[10].text
    check_csv(pd.read_csv(io.StringIO(done[11].out.decode()), keep_default_na=False))
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
    fewer = made(new_run, "two", 0.0, SUBJECTS[:2])
    two = compare_runs(fewer.path, worse.path)
    assert {change.subject for change in two.changes if change.decides} == {"anna", "ben"}
    assert two.notes == ("only in worse: A on carl",)
    fewer.cell("A", "carl", state="failed", reason="loss is NaN")
    assert compare_runs(fewer.path, worse.path).notes == ("only in worse: A on carl (failed in two)",)


def check_csv(frame: pd.DataFrame) -> None:
    """The comparison as data: what it says, and that its columns are documented."""
    mean = frame[(frame["subject"] == "") & (frame["metric"] == "psnr")].iloc[0]
    assert mean["regression"] and mean["count"] == 3 and mean["of"] == "subjects" and mean["ci95_high"] < 0
    assert mean["p"] == pytest.approx(0.0027, abs=1e-4), "t = -0.33 / (0.03 / √3), two degrees of freedom"
    documented = DOCS.read_text(encoding="utf-8").partition("The CSV has a line per method")[2].partition("\n\n")[0]
    assert re.findall(r"`(\w+)`", documented) == list(frame.columns)


def test_what_shows_as_zero_is_no_regression_however_sure_it_is(new_run: Any) -> None:
    base, alike = made(new_run, "base"), made(new_run, "alike", -0.000001)
    found = compare_runs(base.path, alike.path)
    psnr = next(change for change in found.changes if change.decides and change.metric == "psnr")
    assert psnr.difference.resolved and psnr.p_worse() == 1.0 and found.regressions() == []


def test_a_family_of_comparisons_is_counted_and_corrected_on_request(new_run: Any) -> None:
    base, worse = made(new_run, "base"), made(new_run, "worse", -0.3)
    for number in range(6):
        for subject in SUBJECTS:
            for folder in (base, worse):
                folder.result(f"M{number}", subject, psnr=[30.0 + 0.1 * (k % 5) for k in range(24)])
    found = compare_runs(base.path, worse.path, metrics=["psnr"])
    # p = 0.0027 is below 0.05 / 7, and above 0.05 / 21 where the other metrics are tested, too.
    assert len(found.tests()) == 7 and found.regressions() == found.regressions(familywise=True) != []
    all_metrics = compare_runs(base.path, worse.path)
    assert len(all_metrics.tests()) == 21 and all_metrics.regressions() and not all_metrics.regressions(familywise=True)


def test_different_frames_are_compared_where_both_have_them_and_counted(new_run: Any) -> None:
    base, cut = made(new_run, "base"), made(new_run, "cut", frames=20)
    found = compare_runs(base.path, cut.path)
    assert "A on anna: 20 of 24 and 20 frames are compared, those that both runs scored" in found.notes


@pytest.mark.tried("damaged inputs", "comparing runs of which one has damaged scores", "the other methods", "that cell")
def test_damaged_or_strange_scores_cost_their_cell_alone(new_run: Any) -> None:
    """A score of NaN, a frame twice and a strange metric are a note, and what can be compared is."""
    base, other = made(new_run, "base"), made(new_run, "other")
    for name, edit in (
        ("NaN", ('"psnr": 30.0', '"psnr": NaN')), ("twice", ('"id": "00001"', '"id": "00000"')),
        ("Strange", ('"psnr"', '"../psnr"')),
    ):  # fmt: skip
        base.result(name, "anna", psnr=[30.0] * 24)
        path = other.result(name, "anna", psnr=[30.0] * 24) / "scores" / "headbench@1.jsonl"
        path.write_text(path.read_text(encoding="utf-8").replace(*edit), encoding="utf-8")
        other.mark(path)
    best = [other.cell("Best", "anna"), base.cell("Best", "anna")]
    for folder, cell in zip((other, base), best, strict=True):
        folder.scores(cell, [f"{k:05d}" for k in range(24)], {"psnr": ["inf"] * 24, "my/metric": [1.0] * 24})
    found = compare_runs(base.path, other.path)
    assert {change.entry[0] for change in found.changes} == {"A", "Best"} and found.regressions() == []
    assert any(note == "only in base: NaN on anna, twice on anna, Strange on anna" for note in found.notes)
    for name, why in (("nan", "psnr is nan"), ("twice", "name 23 different frames"), ("strange", "names no metric")):
        assert any(note.startswith(f"other: {name}-demo/insta/anna/seed0: ") and why in note for note in found.notes)
    assert {change.better for change in found.changes if change.metric == "my/metric"} == {""}
    frame = changes_frame(found)
    assert frame["difference"].notna().all() and not frame["regression"].any()


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
    trained_on(runs["a"].result("A", seed=1, psnr=[30.0] * 24), "3" * 64)
    with pytest.raises(BenchError, match=r"a/cells/.*seed0 and .*seed1 were trained on different data"):
        compare_runs(runs["a"].path, runs["a"].path)
    with pytest.raises(BenchError, match="no run folder"):
        compare_runs(runs["a"].path, tmp_path)
