"""The table of a run folder: rows, means, seeds, marks, and what it refuses."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from typing import Any

import pytest

from headbench.harness.errors import BenchError
from headbench.reports import Row, Table, Value, build_table, protocols_of

FRAMES = 24
MISSING = "n/a (weights missing: bench assets fetch lpips)"


def rows(table: Table, kind: str, **where: str) -> list[Row]:
    return [row for row in table.rows if row.kind == kind and all(getattr(row, k) == v for k, v in where.items())]


def value(table: Table, key: str, kind: str = "subject", **where: str) -> Value:
    (row,) = rows(table, kind, **where)
    return row.values[[column.field for column in table.columns].index(key)]


def test_subject_rows_stand_in_the_order_of_the_plan_and_means_follow(run: Any) -> None:
    table = build_table(run.path)
    assert [(row.kind, row.subject, row.method) for row in table.rows] == [
        *[("subject", "anna", m) for m in ("FateAvatar", "GaussianAvatars", "nearest-frame")],
        *[("subject", "ben_2", m) for m in ("FateAvatar", "GaussianAvatars", "nearest-frame")],
        *[("mean", "", m) for m in ("FateAvatar", "GaussianAvatars", "nearest-frame")],
    ]


def test_columns_are_the_protocols_metrics_and_then_costs(run: Any) -> None:
    table = build_table(run.path)
    assert [column.field for column in table.columns] == [
        "psnr", "ssim", "lpips_alex", "train_seconds", "fps", "gaussians", "device",
    ]  # fmt: skip
    assert table.protocol == "headbench@1"
    assert table.protocol_hash == "ab" * 32
    assert "headbench@1" in table.title()


def test_a_value_is_the_mean_over_frames_and_a_mean_row_that_over_subjects(run: Any) -> None:
    table = build_table(run.path)
    assert value(table, "psnr", method="FateAvatar", subject="anna").mean == pytest.approx(29.0)
    assert value(table, "psnr", "mean", method="FateAvatar").mean == pytest.approx(29.5)
    assert value(table, "train_seconds", method="FateAvatar", subject="anna").mean == 90.0
    assert value(table, "gaussians", "mean", method="FateAvatar").mean == 12345
    assert value(table, "device", "mean", method="FateAvatar").text == "CPU (2 threads)"


def test_a_mean_row_weights_subjects_not_frames(new_run: Callable[..., Any]) -> None:
    folder = new_run()
    folder.result("A", "anna", psnr=[20.0])
    folder.result("A", "ben", psnr=[30.0, 30.0, 30.0])
    assert value(build_table(folder.path), "psnr", "mean").mean == pytest.approx(25.0)


def test_best_and_second_are_marked_among_methods_of_one_subject(run: Any) -> None:
    table = build_table(run.path)
    assert value(table, "psnr", method="FateAvatar", subject="anna").rank == 1
    assert value(table, "psnr", method="GaussianAvatars", subject="anna").rank == 2
    assert value(table, "ssim", method="GaussianAvatars", subject="ben_2").rank == 1
    assert value(table, "fps", method="FateAvatar", subject="anna").rank == 1


def test_lower_is_better_for_lpips(run: Any) -> None:
    table = build_table(run.path)
    assert value(table, "lpips_alex", method="FateAvatar", subject="anna").rank == 1
    assert value(table, "lpips_alex", method="GaussianAvatars", subject="anna").rank == 2


def test_a_baseline_is_never_marked_and_has_no_training_time_and_no_gaussians(run: Any) -> None:
    table = build_table(run.path)
    for row in (*rows(table, "subject", method="nearest-frame"), *rows(table, "mean", method="nearest-frame")):
        assert all(entry.rank == 0 for entry in row.values)
    shown = value(table, "gaussians", "mean", method="nearest-frame")
    assert shown.mean is None and shown.shown(table.columns[5]) == "–"


def test_what_looks_equal_is_not_resolved_however_sure_it_is(new_run: Callable[..., Any]) -> None:
    folder = new_run()
    for method, psnr in (("A", 27.301), ("B", 27.304), ("C", 26.0), ("D", 25.0)):
        folder.result(method, psnr=[psnr] * FRAMES, fps=psnr * 4)
    table = build_table(folder.path)
    assert [value(table, "psnr", method=method).mark for method in "ABCD"] == ["†", "†", "", ""]
    assert [value(table, "psnr", method=method).rank for method in "ABCD"] == [0, 0, 0, 0]
    assert [value(table, "fps", method=method).rank for method in "ABCD"] == [1, 1, 2, 0], "costs: what they show"


def test_a_difference_that_is_not_resolved_is_marked_and_never_best(new_run: Callable[..., Any]) -> None:
    folder = new_run()
    sure, unsure = [0.0, 0.2] * 12, [1.0] * 12 + [-1.0] * 12
    for method, psnr in (("A", 30.0), ("B", 29.9), ("C", 25.0)):
        folder.result(
            method, psnr=[psnr + step for step in (unsure if method == "B" else sure)], ssim=[psnr / 100] * 24
        )
    folder.result("D", psnr=[20.0 + step for step in unsure], ssim=[0.1] * 12 + [0.09] * 12)
    table = build_table(folder.path)
    assert [value(table, "psnr", method=method).shown(table.columns[0]) for method in "ABCD"] == [
        "30.10†", "29.90†", "25.10", "20.00",
    ]  # fmt: skip
    assert not any(value(table, "psnr", method=method).rank for method in "ABCD")
    assert [value(table, "ssim", method=method).rank for method in "ABCD"] == [1, 2, 0, 0]
    assert any(note.startswith("† not resolved from the best: the 95 % interval of the diff") for note in table.notes)
    (found,) = (d for d in table.differences if d.entry[0] == "B" and d.key == "psnr")
    assert found.best[0] == "A" and not found.difference.resolved
    assert found.difference.interval.mean == pytest.approx(-0.2) and found.difference.interval.scope == "this sequence"


def test_frames_that_one_method_lacks_do_not_turn_the_order_around(new_run: Callable[..., Any]) -> None:
    folder = new_run()
    easy, hard = [35.0] * 24, [25.0] * 24
    folder.result("Easy", psnr=[*easy, *[None] * 24])
    folder.result("Both", psnr=[36.0] * 24 + hard)
    table = build_table(folder.path)
    # 35 dB against a mean of 30.5, and worse on each frame that both have.
    assert [value(table, "psnr", method=method).mark for method in ("Easy", "Both")] == ["†", "†"]
    assert not any(value(table, "psnr", method=method).rank for method in ("Easy", "Both"))
    assert any("mean over 24 of 48 frames" in note for note in table.notes)


def test_the_second_is_marked_only_where_it_is_resolved_from_the_third(new_run: Callable[..., Any]) -> None:
    folder = new_run()
    for method, psnr in (("A", [30.0] * 24), ("B", [25.0] * 24), ("C", [25.02] * 12 + [24.9] * 12)):
        folder.result(method, psnr=psnr)
    table = build_table(folder.path)
    assert [value(table, "psnr", method=method).shown(table.columns[0]) for method in "ABC"] == [
        "30.00", "25.00‡", "24.96‡",
    ]  # fmt: skip
    assert value(table, "psnr", method="A").rank == 1
    assert any(note.startswith("‡ not resolved from the second") for note in table.notes)


def test_a_baseline_that_wins_shows_its_rank(new_run: Callable[..., Any]) -> None:
    folder = new_run()
    folder.result("A", psnr=[30.0] * 24, lpips=[0.2] * 24)
    folder.result("B", psnr=[28.0] * 24, lpips=[0.3] * 24)
    folder.result("nearest-frame", psnr=[20.0] * 24, lpips=[0.1] * 24, baseline=True)
    table = build_table(folder.path)
    lpips = table.columns[2]
    assert value(table, "lpips_alex", method="nearest-frame").shown(lpips) == "0.1000 (1st)"
    assert value(table, "lpips_alex", method="nearest-frame").rank == 0
    assert value(table, "lpips_alex", method="A").rank == 1, "best of the methods"
    assert value(table, "psnr", method="nearest-frame").shown(table.columns[0]) == "20.00"
    few = new_run("few")
    few.result("A", lpips=[0.2])
    few.result("nearest-frame", lpips=[0.1], baseline=True)
    table = build_table(few.path)
    assert value(table, "lpips_alex", method="nearest-frame").shown(lpips) == "0.1000 (1st)†"
    assert "anna: no best is marked, as 1 frame is too few for an interval (24 needed)" in table.notes


def test_means_over_three_subjects_have_intervals_and_marks(new_run: Callable[..., Any]) -> None:
    folder = new_run()
    for subject, psnr in (("anna", 27.0), ("ben", 29.0), ("carl", 31.0)):
        folder.result("A", subject, psnr=[psnr])
        folder.result("B", subject, psnr=[psnr - 1.0 - psnr / 100])
        folder.result("C", subject, psnr=[30.0])
    table = build_table(folder.path)
    shown = {row.method: row.values[0].shown(table.columns[0]) for row in rows(table, "mean")}
    # t(0.975, 2) = 4.3027, s = 2, n = 3.
    assert shown == {"A": "29.00 ± 4.97†", "B": "27.71 ± 4.92†", "C": "30.00 ± 0.00†"}
    assert any(note.startswith("±: half of the 95 % interval of the mean over subjects") for note in table.notes)
    over = {d.entry[0]: d.difference.interval for d in table.differences if d.kind == "mean" and d.key == "psnr"}
    assert over["B"].mean == pytest.approx(-2.29) and over["B"].count == 3 and over["B"].scope == "subjects"
    assert any(
        n == "anna, ben, carl: no best is marked, as 1 frame is too few for an interval (24 needed)"
        for n in table.notes
    )


def test_a_mean_over_one_subject_is_no_row(new_run: Callable[..., Any]) -> None:
    folder = new_run()
    folder.result("A")
    assert rows(build_table(folder.path), "mean") == []


def test_where_all_look_the_same_none_is_the_best(run: Any) -> None:
    table = build_table(run.path)
    assert value(table, "train_seconds", method="FateAvatar", subject="anna").rank == 0


def test_a_method_alone_is_not_the_best(new_run: Callable[..., Any]) -> None:
    folder = new_run()
    folder.result("A")
    assert value(build_table(folder.path), "psnr").rank == 0


def test_costs_are_not_ranked_across_devices(new_run: Callable[..., Any]) -> None:
    folder = new_run()
    folder.result("A", device="CPU (2 threads)", fps=10.0, psnr=[30.0] * FRAMES)
    folder.result("B", device="NVIDIA H100", fps=900.0, psnr=[31.0] * FRAMES)
    table = build_table(folder.path)
    assert value(table, "fps", method="B").rank == 0
    assert value(table, "psnr", method="B").rank == 1


def test_cells_without_scores_are_rows_with_state_and_reason(run: Any) -> None:
    run.cell("FlashAvatar", "anna", state="skipped", reason="needs mouth masks")
    run.cell("FlashAvatar", "ben_2", state="failed", reason="loss is NaN at step 7")
    table = build_table(run.path)
    assert [row.outcome() for row in rows(table, "state")] == [
        "skipped: needs mouth masks",
        "failed: loss is NaN at step 7",
    ]
    assert not rows(table, "mean", method="FlashAvatar")


def test_a_finished_cell_without_scores_says_how_to_score_it(new_run: Callable[..., Any]) -> None:
    folder = new_run()
    folder.cell("A")
    (row,) = build_table(folder.path).rows
    assert row.outcome() == f"not scored: bench score {folder.path} --protocol headbench@1"


def test_scores_of_a_cell_that_is_not_done_are_no_result(new_run: Callable[..., Any]) -> None:
    folder = new_run()
    folder.result("A", state="failed", reason="out of memory")
    (row,) = build_table(folder.path).rows
    assert row.kind == "state" and row.values == ()


def test_missing_weights_are_shown_as_given_and_never_as_a_number(new_run: Callable[..., Any]) -> None:
    folder = new_run()
    for subject in ("anna", "ben"):
        folder.result("A", subject, psnr=[30.0, 31.0], lpips=[None, None], lpips_reason=MISSING)
    table = build_table(folder.path)
    for kind, where in (("subject", {"subject": "anna"}), ("mean", {})):
        found = value(table, "lpips_alex", kind, **where)
        assert found.mean is None
        assert found.shown(table.columns[2]) == MISSING


def test_a_metric_that_some_frames_lack_is_averaged_over_the_others_and_says_so(new_run: Callable[..., Any]) -> None:
    folder = new_run()
    folder.result("A", psnr=[30.0, 31.0, 32.0], lpips=[0.1, None, 0.3], lpips_reason="n/a (no face)")
    table = build_table(folder.path)
    found = value(table, "lpips_alex")
    assert found.mean == pytest.approx(0.2)
    assert "mean over 2 of 3 frames (n/a (no face))" in table.notes[found.notes[0] - 1]


def test_two_seeds_give_mean_and_sample_deviation(new_run: Callable[..., Any]) -> None:
    folder = new_run()
    for subject, values in (("anna", (29.0, 31.0)), ("ben", (33.0, 37.0))):
        for seed, psnr in enumerate(values):
            folder.result("A", subject, seed=seed, psnr=[psnr])
    table = build_table(folder.path)
    anna = value(table, "psnr", subject="anna")
    assert (anna.mean, anna.std) == (pytest.approx(30.0), pytest.approx(math.sqrt(2)))
    mean = value(table, "psnr", "mean")
    assert mean.mean == pytest.approx(32.5)
    assert mean.std == pytest.approx(3 / math.sqrt(2)), "the spread of 31 and 34, the means of the two seeds"
    assert anna.shown(table.columns[0]) == "30.00"
    assert table.several_seeds()
    (noise,) = rows(table, "noise")
    assert (noise.where(), noise.entry()) == ("seeds", "seed noise")
    assert noise.values[0].mean == pytest.approx(math.sqrt((2 + 8) / 2)), "pooled over anna's and ben's seeds"
    assert "pooled over methods and subjects of insta" in table.notes[noise.notes[0] - 1]


def test_a_failed_seed_is_named_and_the_others_count(new_run: Callable[..., Any]) -> None:
    folder = new_run()
    folder.result("A", seed=0, psnr=[29.0])
    folder.cell("A", seed=1, state="oom", reason="8 GB were not enough")
    table = build_table(folder.path)
    (row,) = rows(table, "subject")
    assert row.values[0].mean == 29.0 and row.values[0].std is None
    assert "1 of 2 seeds" in table.notes[row.notes[0] - 1]
    assert [r.outcome() for r in rows(table, "state")] == ["oom: 8 GB were not enough"]


def test_a_mean_over_fewer_subjects_says_so_and_is_not_ranked(run: Any) -> None:
    for name, psnr in (("FateAvatar", 30.0), ("GaussianAvatars", 29.0), ("Late", 99.0)):
        run.result(name, "carl", psnr=[psnr] * FRAMES)
    run.result("Late", "ben_2", psnr=[99.0] * FRAMES)
    run.cell("Late", "anna", state="timeout", reason="1 h")
    table = build_table(run.path)
    (late,) = rows(table, "mean", method="Late")
    assert (late.values[0].rank, late.values[0].mark) == (0, "")
    assert "mean over 2 of 3 subjects, without anna" in table.notes[late.notes[0] - 1]
    assert value(table, "psnr", "mean", method="FateAvatar").rank == 1
    assert value(table, "psnr", subject="ben_2", method="Late").rank == 1


def test_different_frames_of_one_subject_are_named_and_not_ranked(new_run: Callable[..., Any]) -> None:
    folder = new_run()
    folder.result("A", psnr=[30.0, 30.0])
    folder.result("B", psnr=[31.0])
    table = build_table(folder.path)
    assert all(entry.rank == 0 for row in table.rows for entry in row.values)
    assert any("A (demo) on anna: 2 frames, which differ" in note for note in table.notes)


def test_equal_counts_of_different_frames_are_different_frames(new_run: Callable[..., Any]) -> None:
    folder = new_run()
    folder.result("A", ids=["00001"])
    folder.result("B", ids=["00002"], psnr=[31.0])
    assert value(build_table(folder.path), "psnr", method="B").rank == 0


def test_protocols_that_differ_under_one_name_are_refused(new_run: Callable[..., Any]) -> None:
    folder = new_run()
    folder.result("A", digest="1" * 64)
    folder.result("B", digest="2" * 64)
    with pytest.raises(BenchError) as caught:
        build_table(folder.path)
    for text in ("1" * 64, "2" * 64, "headbench@1", "a-demo/insta/anna/seed0", "b-demo/insta/anna/seed0"):
        assert text in str(caught.value)


def test_versions_of_a_protocol_are_never_one_table(new_run: Callable[..., Any]) -> None:
    folder = new_run()
    folder.result("A", protocol="headbench@1")
    folder.result("B", protocol="headbench@2", digest="2" * 64)
    table = build_table(folder.path, "headbench@2")
    assert [row.method for row in rows(table, "subject")] == ["B"]
    with pytest.raises(BenchError, match=r"several versions here: headbench@1, headbench@2"):
        build_table(folder.path, "headbench")


def test_the_first_protocol_that_the_run_asked_for_is_shown(new_run: Callable[..., Any]) -> None:
    folder = new_run(protocols=("fateavatar-8bit@1", "headbench@1"))
    cell = folder.result("A", protocol="headbench@1")
    folder.scores(cell, ["00000"], {"psnr": [33.0]}, "fateavatar-8bit@1", "3" * 64)
    table = build_table(folder.path)
    assert table.protocol == "fateavatar-8bit@1"
    assert value(table, "psnr").mean == 33.0
    assert protocols_of(folder.path) == ("fateavatar-8bit@1", "headbench@1")
    assert value(build_table(folder.path, "headbench"), "psnr").mean == 30.0


def test_an_unknown_protocol_is_answered_with_close_names(run: Any) -> None:
    with pytest.raises(BenchError, match=r"Did you mean 'headbench@1'"):
        build_table(run.path, "headbensh@1")


def test_a_column_that_the_protocol_lacks_is_not_shown(run: Any) -> None:
    assert "lpips_vgg" not in [column.field for column in build_table(run.path).columns]


def test_networks_of_different_weights_are_named_and_not_ranked(new_run: Callable[..., Any]) -> None:
    folder = new_run()
    for method, digest, lpips in (("A", "5" * 64, 0.1), ("B", "6" * 64, 0.2)):
        columns = {"psnr": [30.0 + lpips] * FRAMES, "lpips/alex": [lpips] * FRAMES}
        ids = [str(number) for number in range(FRAMES)]
        folder.scores(folder.cell(method), ids, columns, weights={"lpips/alex": digest})
    table = build_table(folder.path)
    assert [value(table, "lpips_alex", method=method).rank for method in "AB"] == [0, 0]
    assert value(table, "psnr", method="B").rank == 1
    assert any("555555555555 in a-demo" in note and "666666666666 in b-demo" in note for note in table.notes)


def test_notes_of_the_plan_are_footnotes(run: Any) -> None:
    path = run.path / "plan.json"
    plan = json.loads(path.read_text(encoding="utf-8"))
    path.write_text(json.dumps({**plan, "notes": ["dataset imavatar: not found"]}), encoding="utf-8")
    assert build_table(run.path).notes[0] == "dataset imavatar: not found"


def test_variants_are_rows_of_their_own(new_run: Callable[..., Any]) -> None:
    folder = new_run()
    for subject in ("anna", "ben"):
        folder.result("A", subject, psnr=[30.0] * FRAMES)
        folder.result("A", subject, psnr=[31.0] * FRAMES, variant="no-vgg")
    table = build_table(folder.path)
    assert [row.entry() for row in rows(table, "mean")] == ["A (demo)", "A (demo, no-vgg)"]
    assert value(table, "psnr", variant="no-vgg", subject="anna").rank == 1


def test_means_do_not_cross_datasets(new_run: Callable[..., Any]) -> None:
    folder = new_run()
    for subject in ("anna", "ben"):
        folder.result("A", subject, dataset="insta", psnr=[20.0])
        folder.result("A", subject, dataset="imavatar", psnr=[30.0])
    table = build_table(folder.path)
    assert [(row.dataset, row.values[0].mean) for row in rows(table, "mean")] == [("insta", 20.0), ("imavatar", 30.0)]


def test_notes_of_cells_and_of_training_are_footnotes_once(new_run: Callable[..., Any]) -> None:
    folder = new_run()
    preset = "GaussianAvatars has no preset 'paper'; official was used"
    cap = "mouth cap built over the lip boundary"
    folder.result("A", notes=[preset], train_notes=[cap])
    folder.result("B", train_notes=[cap])
    table = build_table(folder.path)
    assert table.notes[:2] == (preset, cap) and table.notes.count(cap) == 1
    assert [row.notes for row in rows(table, "subject")] == [(1, 2), (2,)]


def test_identical_images_have_infinite_psnr(new_run: Callable[..., Any]) -> None:
    folder = new_run()
    cell = folder.cell("A")
    folder.scores(cell, ["0", "1"], {"psnr": ["inf", 30.0]})
    found = value(build_table(folder.path), "psnr")
    assert found.mean == math.inf


def test_a_folder_without_a_plan_is_no_run(tmp_path: Any) -> None:
    with pytest.raises(BenchError, match=r"no run folder"):
        build_table(tmp_path)


def test_a_run_with_nothing_done_has_rows_of_states(new_run: Callable[..., Any]) -> None:
    folder = new_run()
    folder.cell("A", state="queued")
    table = build_table(folder.path)
    assert [row.outcome() for row in table.rows] == ["queued"]
    assert json.loads((folder.path / "plan.json").read_text(encoding="utf-8"))["cells"]
