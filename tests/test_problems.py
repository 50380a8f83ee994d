"""Problems of one cause are one line; those of two causes never are."""

from __future__ import annotations

from pathlib import Path

import pytest

from headbench.harness.problems import Problem, Severity, Where, counted, grouped

FOLDER = Path("D/vhap/synth00")


def problem(message: str, path: str, frame: str = "", kind: str = "", severity: Severity = "error") -> Problem:
    return Problem(severity, Where(FOLDER / path, frame), message, "resize them", kind)


@pytest.mark.tried("damaged inputs", "one fault in every file of a subject", "one line with the frames and an example")
def test_one_cause_in_all_files_is_one_line_with_its_frames_and_an_example() -> None:
    names = [f"{k:05d}" for k in range(60)]
    found = [problem(f"expected 32 x 32 pixels, found 64 x {36 + int(n) % 2}", f"images/{n}.png", n) for n in names]
    (group,) = grouped(reversed(found))
    assert group.line() == (
        "error: D/vhap/synth00/images: expected 32 x 32 pixels, found 64 x 36 in 60 frames (00000-00059), such as "
        "images/00000.png (resize them)"
    )
    assert group.frames == tuple(names) and len(group.problems) == 60


def test_two_kinds_two_folders_two_severities_and_two_keys_are_never_one_line() -> None:
    found = [
        problem("expected 3 numbers, found 2", "a/1.txt", "1"),
        problem("expected 3 numbers, found 2", "b/1.txt", "1"),
        problem("expected 3 numbers, found 2", "a/2.txt", "2", severity="warning"),
        problem("expected 3 numbers, found 2", "a/3.txt", "3", kind="length"),
        problem("`exp`: expected 3 numbers, found 2", "a/4.txt", "4"),
        problem("`jaw`: expected 3 numbers, found 2", "a/5.txt", "5"),
    ]
    assert [len(group.problems) for group in grouped(found)] == [1] * 6
    assert [group.line() for group in grouped(found[:1])] == [found[0].line()]


def test_ids_names_and_numbers_do_not_set_alike_messages_apart() -> None:
    found = [
        problem(f"expected this png file, found {n}.jpg", f"a/{n}.png", n) for n in ("EXP-1_00001", "EXP-1_00002")
    ] + [
        problem(f"expected finite numbers, found {odd} at [{k}]", "t.json", f"{k}")
        for k, odd in enumerate(["nan", "-inf"])
    ]
    lines = [group.line() for group in grouped(found)]
    assert lines == [
        "error: D/vhap/synth00/t.json: expected finite numbers, found nan at [0] in 2 frames (0-1) (resize them)",
        "error: D/vhap/synth00/a: expected this png file, found EXP-1_00001.jpg in 2 frames (EXP-1_00001-EXP-1_00002), "
        "such as a/EXP-1_00001.png (resize them)",
    ]


def test_folders_that_are_named_after_their_frames_hold_one_cause() -> None:
    found = [problem("expected the tracking, found no such file", f"sequences/{n}/t.npz", n) for n in ("FREE", "EXP-1")]
    (group,) = grouped(found)
    assert group.line() == (
        "error: D/vhap/synth00/sequences: expected the tracking, found no such file in 2 frames (EXP-1, FREE), such as "
        "sequences/EXP-1/t.npz (resize them)"
    )


def test_errors_come_first_and_causes_of_whole_files_before_those_of_frames() -> None:
    found = [
        problem("d", "x", severity="note"),
        problem("c", "x", severity="warning"),
        problem("b", "x", "7"),
        problem("a", "x"),
    ]
    assert [group.first.message for group in grouped(found)] == ["a", "b", "c", "d"]


def test_places_that_are_names_are_counted_as_what_they_are() -> None:
    found = [Problem("error", Where(f"007/FREE/cam_{k}.mp4"), "missing: found none", kind="missing") for k in (1, 2)]
    (group,) = grouped(found)
    assert group.line("video") == "error: missing: found none in 2 videos, such as 007/FREE/cam_1.mp4"
    assert Problem("warning", Where(""), "no record").line() == "warning: no record"


@pytest.mark.tried(
    "hostile files", "file names with line ends and escapes", "one line per problem, with them written out"
)
def test_a_problem_is_one_line_whatever_its_files_are_called() -> None:
    evil = "\x1b[2J\nerror: forged\u2028x\udcff.png"
    alone, two = problem(f"found {evil}", evil, evil), [problem("found none", f"{evil}{k}", str(k)) for k in range(2)]
    for line in (alone.line(), grouped([alone])[0].line(), grouped(two)[0].line()):
        assert line.isprintable() and "\\x1b[2J error: forged x\\xff.png" in line


def test_counts_are_of_causes_and_of_all_frames_that_they_are_in() -> None:
    missing = [problem("expected an image, found no such file", f"images/{k}.png", f"{k}") for k in range(9)]
    others = [problem("expected 100 numbers, found 50", f"exp/{k}.txt", f"{k}") for k in range(5, 12)]
    lists = [problem("expected a list", "t.json"), problem("expected more frames", "t.json", severity="warning")]
    clips = [
        Problem("error", Where(FOLDER, name, "sequence"), "expected 20 images, found 19") for name in ("EXP", "EMO")
    ]
    assert counted({"a": [*missing, *others, *lists]}) == "3 errors in 12 frames, 1 warning"
    assert counted({"a": missing, "b": missing}) == "2 errors in 18 frames, 0 warnings"
    assert counted({"a": [*clips, *missing]}) == "2 errors in 2 sequences and 9 frames, 0 warnings"
    assert grouped(clips)[0].line() == f"error: {FOLDER}: expected 20 images, found 19 in 2 sequences (EMO, EXP)"
    assert clips[0].line() == f"error: {FOLDER} [sequence EXP]: expected 20 images, found 19"
    assert counted({"a": []}) == "0 errors, 0 warnings"
