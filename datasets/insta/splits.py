"""Checks that compare the two parts of an INSTA split: that they are disjoint, complete and of one camera."""

from __future__ import annotations

import itertools
from dataclasses import astuple, replace

from headbench.datasets.common.cameras import FAR, NEAR
from headbench.datasets.common.findings import Findings, ranges
from headbench.datasets.common.intrinsics import Intrinsics
from headbench.datasets.common.splits import check_disjoint
from headbench.datasets.insta.layout import Folder
from headbench.datasets.insta.poses import distance
from headbench.datasets.insta.transforms import Transforms

__all__ = ["USUAL_TEST", "check_splits", "last_for_testing"]

USUAL_TEST = 350
"""Test frames that INSTA's generate.sh splits off by default."""


def check_splits(folder: Folder, train: Transforms, test: Transforms, real: bool, findings: Findings) -> None:
    """Compare the training part of a split with the test part.

    Args:
        folder: the subject's.
        train, test: the two JSON files.
        real: tracked data, of which a test set of `USUAL_TEST` frames is expected.
        findings: receives the problems and notes.
    """
    _check_counts(train, test, real, findings)
    check_disjoint(test.path, sorted(train.listed), sorted(test.listed), findings)
    _check_order(train, test, findings)
    _check_gaps(folder, train, test, findings)
    if train.intrinsics is not None and test.intrinsics is not None and train.intrinsics != test.intrinsics:
        findings.error(
            test.path,
            f"expected the size and intrinsics of {train.path.name} {_short(train.intrinsics)}, found "
            f"{_short(test.intrinsics)}",
            help="the tracker fits one camera; both files come from one run of INSTA's scripts/transforms.py",
        )
    _check_distances(train, test, findings)


def last_for_testing(
    train: Transforms, test: Transforms, count: int, findings: Findings
) -> tuple[Transforms, Transforms]:
    """Divide all frames anew: the last ones of the sequence are for testing.

    Args:
        train: training part as its JSON has it.
        test: test part.
        count: number of frames for testing.
        findings: receives an error where nothing would be left to train on.
    """
    frames = sorted(train.entries + test.entries, key=lambda entry: int(entry.id))
    if not train.entries or not test.entries:
        return train, test  # faults of the files, which have been reported
    if count >= len(frames):
        findings.error(
            train.path,
            f"expected more than the {count} frames that the option test holds out, found {len(frames)} in both files",
            help="give the option test a smaller number",
        )
        return train, test
    return replace(train, entries=tuple(frames[:-count])), replace(test, entries=tuple(frames[-count:]))


def _short(intrinsics: Intrinsics) -> str:
    """Size and intrinsics in brackets, for messages."""
    return "(" + ", ".join(f"{value:g}" for value in astuple(intrinsics)) + ")"


def _check_counts(train: Transforms, test: Transforms, real: bool, findings: Findings) -> None:
    """Report a part without frames, and a number of test frames that is not INSTA's.

    Args:
        train, test: the two JSON files.
        real: whether `USUAL_TEST` test frames are expected.
        findings: receives the problems and a note.
    """
    if not train.listed and train.whole:
        findings.error(
            train.path,
            f"expected training frames, found none ({len(test.listed)} test frames)",
            help=f"INSTA's split takes the last {USUAL_TEST} frames for testing: give generate.sh a smaller number, "
            "above 0",
        )
    if not test.whole:
        return
    if not test.listed:
        findings.error(
            test.path,
            f"expected test frames, found none ({len(train.listed)} training frames)",
            help="give INSTA's generate.sh a number of test frames",
        )
    elif real and len(test.listed) != USUAL_TEST:
        sentence = f"{len(test.listed)} test frames instead of INSTA's usual {USUAL_TEST}"
        findings.warning(test.path, f"{sentence}: numbers do not compare with published ones")
        findings.note(sentence)


def _check_order(train: Transforms, test: Transforms, findings: Findings) -> None:
    """Warn where a test frame comes before the last training frame."""
    if train.entries and test.entries and int(train.entries[-1].id) > int(test.entries[0].id):
        findings.warning(
            test.path,
            f"expected test frames after the last training frame {train.entries[-1].id}, found "
            f"{test.entries[0].id}: this split is not INSTA's",
            test.entries[0].id,
        )


def _check_gaps(folder: Folder, train: Transforms, test: Transforms, findings: Findings) -> None:
    """Warn where the numbers of all frames have gaps.

    Args:
        folder: the subject's.
        train, test: the two JSON files.
        findings: receives the warning.
    """
    if not (train.whole and test.whole):
        return  # which frames there are is not known
    ids = sorted(train.listed | test.listed, key=int)
    holes = [(a, b, int(b) - int(a) - 1) for a, b in itertools.pairwise(ids) if int(b) - int(a) > 1]
    if holes:
        before, after, _ = holes[0]
        gaps = f"in {len(holes)} gaps, the first " if len(holes) > 1 else ""
        findings.warning(
            folder.path,
            f"expected consecutive frames, found {sum(hole for *_, hole in holes)} missing {gaps}between {before} and "
            f"{after}",
            after,
            "frames were left out or tracking was interrupted; INSTA's scripts index frames by number",
        )


def _check_distances(train: Transforms, test: Transforms, findings: Findings) -> None:
    """Warn where the head is so near to the camera, or so far from it, that the unit may be wrong."""
    for split in (train, test):
        far = [(entry.id, distance(entry.c2w)) for entry in split.entries]
        odd = [(name, metres) for name, metres in far if not NEAR < metres < FAR]
        if odd:
            findings.warning(
                split.path,
                f"expected the head {NEAR:g} to {FAR:g} m before the camera, found {odd[0][1]:.3g} m in "
                f"{len(odd)} frames ({ranges([name for name, _ in odd])}): not in metres?",
                odd[0][0],
            )
