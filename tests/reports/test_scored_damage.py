"""Scores that were edited, damaged, renamed or made by a stranger: that cell is not scored, and the others are."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from headbench.harness.layout import CellFolder
from headbench.reports import build_table, protocols_of, write_report
from headbench.results.scored import read_instance_scores

Edit = Callable[[dict[str, Any], list[dict[str, Any]]], object]


@pytest.fixture
def repeats() -> int:
    """Two frames per subject: what is damaged here has a line number."""
    return 1


def first(run: Any) -> Path:
    """The scores of FateAvatar on anna."""
    return next(run.path.glob("cells/fateavatar*/*/anna/**/headbench@1.jsonl"))


def rewrite(run: Any, edit: Edit) -> Path:
    """Scores that were changed by somebody who also renewed their marker."""
    path = first(run)
    header, *rows = map(json.loads, path.read_text(encoding="utf-8").splitlines())
    edit(header, rows)
    path.write_text("".join(json.dumps(line) + "\n" for line in (header, *rows)), encoding="utf-8")
    run.mark(path)
    return path


def only_that_cell_is_not_scored(run: Any) -> str:
    """The reason; checks that all other rows are as ever."""
    rows = build_table(run.path).rows
    bad = [row for row in rows if row.kind == "state"]
    assert [(row.method, row.subject, row.state) for row in bad] == [("FateAvatar", "anna", "not scored")]
    assert len([row for row in rows if row.kind == "subject"]) == 5
    return bad[0].reason


@pytest.mark.tried("faults in runs", "a score edited by hand", "the row says so instead of the score", "that row")
def test_an_edited_score_is_not_printed(run: Any) -> None:
    path = first(run)
    path.write_text(path.read_text(encoding="utf-8").replace('"psnr": 2', '"psnr": 9'), encoding="utf-8")
    reason = only_that_cell_is_not_scored(run)
    assert reason == (
        f"scores/headbench@1.jsonl was changed after it was written; bench score {run.path} --protocol headbench@1"
    )
    report = write_report(run.path, figures=False)
    text = "".join(file.read_text(encoding="utf-8") for file in report.iterdir())
    assert "98.0" not in text and "was changed after it was written" in text


@pytest.mark.tried("faults in runs", "a file of scores cut in half or emptied", "all other rows", "that row")
@pytest.mark.parametrize("kept", [0, 1, 200])
def test_cut_scores_cost_their_row_alone(run: Any, kept: int) -> None:
    path = first(run)
    path.write_bytes(path.read_bytes()[:kept])
    assert "was changed after it was written" in only_that_cell_is_not_scored(run)


@pytest.mark.parametrize(
    ("marker", "reason"),
    [
        (None, "its marker headbench@1.json is not there"),
        ("", "its marker headbench@1.json cannot be read: found an empty file"),
        ("[]", "its marker headbench@1.json cannot be read: "),
        ("{}", "was changed after it was written"),
        ('{"scores": 3}', "was changed after it was written"),
    ],
)
def test_scores_whose_marker_is_gone_or_damaged_are_not_known_to_be_whole(
    run: Any, marker: str | None, reason: str
) -> None:
    path = first(run).with_suffix(".json")
    path.unlink()
    if marker is not None:
        path.write_text(marker, encoding="utf-8")
    assert reason in only_that_cell_is_not_scored(run)


def header(**values: object) -> Edit:
    return lambda head, rows: head.update(values)


def row(**values: object) -> Edit:
    return lambda head, rows: rows[0].update(values)


def score(**values: object) -> Edit:
    return lambda head, rows: rows[0]["scores"].update(values)


BOTH: Mapping[str, tuple[Edit, str]] = {
    "protocol that is a path": (header(protocol="../../../OUTSIDE"), "is not of the form name@version"),
    "protocol of control characters": (header(protocol="\x1b]0;x\x07"), "is not of the form name@version"),
    "version that is none": (header(version=True), "version True, expected int"),
    "hash of raw TeX": (header(hash="aa\n\\RAWTEX%"), "is no hash: expected 64 hexadecimal digits"),
    "render key that is a path": (header(render_key="../.."), "is no name for a file"),
    "weights that are a list": (header(weights=[]), "weights [], expected dict"),
    "versions that are no texts": (header(versions={"torch": None}), "expected a text"),
    "count that is a text": (header(frames="2"), "frames '2', expected int"),
    "count of others": (header(frames=3), "expected 3 frames"),
    "field of a newer version": (header(mask="hair"), "'mask', unknown here: a newer version of headbench wrote it"),
    "tracking that is none": (header(test_time_tracking={"steps": 0}), "test_time_tracking has no valid"),
    "header without hash": (lambda head, rows: head.pop("hash"), "line 1 lacks hash"),
    "row of a newer version": (row(fid=3.0), "line 2 has 'fid', unknown here"),
    "frame that is a path": (row(id="../00000"), "line 2: frame '../00000' is no name for a file"),
    "frame with a terminal's escape": (row(id="\x1b[2J"), "is no name for a file"),
    "frame that is twice": (row(id="00001"), "2 lines name 1 different frames"),
    "frame without name": (lambda head, rows: rows[0].pop("id"), "line 2 lacks id"),
}
BEFORE: Mapping[str, tuple[Edit, str]] = {
    "weights that are no hash": (header(weights={"lpips_alex": "x"}), "is no hash"),
    "reasons that are no texts": (header(reasons={"psnr": 3}), "expected a text"),
    "number that is none": (row(psnr=float("nan")), "line 2: psnr is nan, expected a finite number or null"),
    "number that is infinite": (row(ssim=float("-inf")), "line 2: ssim is -inf"),
    "number that is a text": (row(ssim="0.9"), "line 2: ssim is '0.9'"),
    "number of 400 digits": (row(psnr=10**400), "line 2: psnr is 1000"),
    "number that is true": (row(psnr=True), "line 2: psnr is True"),
    "infinity where there is none": (row(ssim="inf"), "line 2: ssim is 'inf'"),
    "infinity of a network": (row(lpips_alex="inf"), "line 2: lpips_alex is 'inf'"),
}
NOW: Mapping[str, tuple[Edit, str]] = {
    "layout of a newer version": (header(format=3, mask="hair"), "format 3, expected 2: a newer version of headbench"),
    "layout that is none": (header(format="2"), "format '2', expected int"),
    "layout that is true": (header(format=True), "format True, expected int"),
    "layout below": (header(format=1), "format 1, expected 2"),
    "views of a newer version": (header(views="inside"), "views 'inside', expected test or all-around"),
    "views that are a path": (header(views="../.."), "views '../..', expected test"),
    "sequences that are none": (header(sequences=-1), "and -1 sequences"),
    "counts that are exchanged": (header(frames=0, sequences=2), "line 2 lacks sequence"),
    "metrics that are a text": (header(metrics="psnr"), "metrics 'psnr', expected list"),
    "metric that is a path": (header(metrics=["../psnr"]), "'../psnr' names no metric"),
    "metric of raw TeX": (header(metrics=["psnr", "\\RAWTEX"]), "names no metric"),
    "metric that is a number": (header(metrics=["psnr", 3]), "3 names no metric"),
    "metric that is twice": (header(metrics=["psnr", "ssim", "lpips/alex", "lpips_alex"]), "name one column twice"),
    "metric that every table has": (header(metrics=["psnr", "ssim", "lpips/alex", "fps"]), "'fps' is a column that"),
    "metric of a deviation": (
        header(metrics=["psnr", "ssim", "lpips/alex", "psnr/std"]),
        "'psnr/std' is a column that",
    ),
    "weights that are no hash": (header(weights={"lpips/alex": "x"}), "is no hash"),
    "weights of no metric": (header(weights={"fid": "ab" * 32}), "'fid', which is none of the metrics of line 1"),
    "reason of no metric": (header(absent={"fid": {}}), "'fid', which is none of the metrics of line 1"),
    "reason that is a text": (header(absent={"psnr": "n/a"}), "absent of 'psnr': expected an object, found str"),
    "reason without text": (header(absent={"psnr": {"kind": "other"}}), "absent of 'psnr' lacks text"),
    "reason of a newer version": (
        header(absent={"psnr": {"kind": "moon", "text": "n/a"}}),
        "absent of 'psnr' is of kind 'moon', unknown here",
    ),
    "reason of a frame that is none": (row(absent={"psnr": {"kind": 3, "text": ""}}), "kind 3, expected str"),
    "value of no metric": (score(fid=3.0), "line 2 has 'fid', which is none of the metrics of line 1"),
    "values that are a list": (row(scores=[1.0]), "line 2: scores [1.0], expected dict"),
    "number that is none": (score(psnr=float("nan")), "line 2: psnr is nan, expected a finite number"),
    "number that is null": (score(psnr=None), "line 2: psnr is None, expected a finite number"),
    "number that is infinite": (score(ssim=float("-inf")), "line 2: ssim is -inf"),
    "number that is a text": (score(ssim="0.9"), "line 2: ssim is '0.9'"),
    "number of 400 digits": (score(psnr=10**400), "line 2: psnr is 1000"),
    "number that is true": (score(psnr=True), "line 2: psnr is True"),
    "infinity where there is none": (score(ssim="inf"), "line 2: ssim is 'inf'"),
    "infinity of a network": (score(**{"lpips/alex": "inf"}), "line 2: lpips/alex is 'inf'"),
    "sequence of control characters": (
        lambda head, rows: (head.update(sequences=1), rows.append({"sequence": "\x1b[2J", "scores": {}})),
        "line 4: sequence '\\x1b[2J', expected a visible name",
    ),
    "sequence that is twice": (
        lambda head, rows: (head.update(sequences=2), rows.extend([{"sequence": "a", "scores": {}}] * 2)),
        "2 lines name 1 different sequences",
    ),
}
STRANGE = {
    **{(1, name): case for name, case in {**BOTH, **BEFORE}.items()},
    **{(2, name): case for name, case in {**BOTH, **NOW}.items()},
}
"""Layout and what is strange -> how to make it, and what is said."""


@pytest.mark.tried("hostile files", "scores with paths, TeX and wrong types", "all other rows", "that row")
@pytest.mark.parametrize(("layout", "case"), STRANGE)
def test_every_value_of_a_strangers_scores_is_checked(run: Any, layout: int, case: str) -> None:
    edit, expected = STRANGE[layout, case]
    rewrite(run, edit)
    reason = only_that_cell_is_not_scored(run)
    assert expected in reason and reason.endswith(f"bench score {run.path} --protocol headbench@1 --force")
    assert not any(ord(character) < 32 for character in reason)


@pytest.mark.parametrize("layout", [1, 2])
def test_rows_that_are_no_objects_are_refused(run: Any, layout: int) -> None:
    path = first(run)
    path.write_text(path.read_text(encoding="utf-8").splitlines()[0] + "\n3\n[]\n", encoding="utf-8")
    run.mark(path)
    assert "line 2: expected an object, found int" in only_that_cell_is_not_scored(run)


@pytest.mark.tried("hostile files", "scores under another protocol's name", "all other rows", "that row")
def test_scores_under_another_name_are_not_taken(run: Any) -> None:
    rewrite(run, header(protocol="fateavatar-8bit"))
    assert only_that_cell_is_not_scored(run).startswith("scores/headbench@1.jsonl holds scores by fateavatar-8bit@1; ")
    assert protocols_of(run.path) == ("headbench@1",)


def test_a_file_that_is_called_after_no_protocol_is_named_in_a_footnote(run: Any) -> None:
    path = first(run)
    path.with_name("copy \x1b[1m.jsonl").write_bytes(path.read_bytes())
    table = build_table(run.path)
    assert [row.kind for row in table.rows].count("subject") == 6
    assert [note for note in table.notes if "copy \\x1b[1m.jsonl: no file of scores is called so" in note]


def test_damaged_scores_of_all_cells_leave_rows_with_reasons(run: Any) -> None:
    for path in run.path.glob("cells/**/headbench@1.jsonl"):
        path.write_text("{", encoding="utf-8")
    table = build_table(run.path)
    assert {row.state for row in table.rows} == {"not scored"} and len(table.rows) == 6
    assert (table.protocol, table.protocol_hash) == ("headbench@1", "")


def test_a_named_pipe_in_place_of_scores_is_not_opened(run: Any) -> None:
    import os

    path = first(run)
    path.unlink()
    os.mkfifo(path)
    assert "found a named pipe instead of a file" in only_that_cell_is_not_scored(run)


@pytest.mark.tried("faults in runs", "summary.json or speed.json damaged", "all rows and scores", "costs")
@pytest.mark.parametrize("name", ["stages/train/summary.json", "speed.json", "stages/track/train-white/summary.json"])
@pytest.mark.parametrize("content", ["", "{", "[]", "null"])
def test_a_damaged_derived_file_counts_as_missing_and_is_told(run: Any, name: str, content: str) -> None:
    path = first(run).parents[1] / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content, encoding="utf-8")
    table = build_table(run.path)
    assert [row.kind for row in table.rows].count("subject") == 6
    note = next(note for note in table.notes if f"{path.name} cannot be read" in note)
    assert "fateavatar-demo/insta/anna/seed0" in note and f"bench run {run.path}/run.yaml" in note


@pytest.mark.parametrize("value", [None, "fast", [1], {"a": 1}, True, 10**400])
def test_costs_of_wrong_types_are_not_numbers(run: Any, value: object) -> None:
    stage = first(run).parents[1]
    (stage / "speed.json").write_text(json.dumps({"fps": value}), encoding="utf-8")
    summary = {"seconds": value, "gaussians": value, "notes": value, "device": value}
    (stage / "stages" / "train" / "summary.json").write_text(json.dumps(summary), encoding="utf-8")
    table = build_table(run.path)
    row = next(row for row in table.rows if (row.method, row.subject) == ("FateAvatar", "anna"))
    costs = [
        v for c, v in zip(table.columns, row.values, strict=True) if c.key in ("train_seconds", "fps", "gaussians")
    ]
    assert [cost.mean for cost in costs] == [None] * 3


@pytest.mark.tried("hostile files", "a run.yaml that asks for protocols by paths, TeX and escapes", "the whole table")
def test_a_run_file_may_ask_for_anything_and_the_table_stays(run: Any) -> None:
    asked = ["../../../OUTSIDE@1", "\x1b[2J", "\\RAWTEX%", 3, None, ["a"], "headbench", "my/own@2.yaml", "none"]
    (run.path / "run.yaml").write_text(json.dumps({"protocol": asked}), encoding="utf-8")
    table = build_table(run.path)
    assert protocols_of(run.path) == ("headbench@1", "own@2")
    assert len([note for note in table.notes if "which is not of the form name@version" in note]) == 6
    assert all(note.isprintable() for note in table.notes)


@pytest.mark.parametrize("text", ["", "protocol", "a: [", "protocol: &a [*a]", "\x00"])
def test_a_damaged_run_file_leaves_the_table(run: Any, text: str) -> None:
    (run.path / "run.yaml").write_text(text, encoding="utf-8")
    assert build_table(run.path).protocol == "headbench@1"


@pytest.mark.parametrize("layout", [1, 2])
def test_good_scores_have_no_fault(run: Any, layout: int) -> None:
    for path in run.path.glob("cells/**/scores"):
        scores, faults = read_instance_scores(CellFolder(path.parent).stage(), run.path)
        assert list(scores) == ["headbench@1"] and faults == {}
        assert scores["headbench@1"].metrics == ("psnr", "ssim", "lpips/alex")
