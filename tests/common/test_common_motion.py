"""Every frame's tracking: what is no tracker's, what jumps, and what people really do."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from headbench.datasets.common.cameras import cameras, pinhole
from headbench.datasets.common.findings import Findings
from headbench.datasets.common.motion import check_motion
from headbench.datasets.common.params import head_params, tensor
from headbench.harness.rotations import axis_angle_to_matrix
from headbench.harness.types import Frame, HeadParams

COUNT = 400


def _smooth(rng: np.random.Generator, count: int, width: int, scale: float, shape: int) -> np.ndarray:
    """(count, shape) of a random walk without steps shorter than about `width` frames."""
    kernel = np.hanning(2 * width + 1)
    noise = rng.normal(size=(count + 2 * width, shape))
    found = np.stack([np.convolve(noise[:, k], kernel / np.linalg.norm(kernel), "valid") for k in range(shape)], 1)
    return scale * found[:count]


def _performance(seed: int, count: int = COUNT, noise: float = 1.0) -> HeadParams:
    """What a tracker gives of somebody who talks fast, blinks, nods and shouts, with its own noise."""
    rng = np.random.default_rng(seed)
    expression = _smooth(rng, count, 4, 0.5, 100) * np.geomspace(3, 0.1, 100) + noise * 0.05 * rng.normal(
        size=(count, 100)
    )
    for start in rng.integers(0, count - 4, size=count // 80):
        expression[start : start + 3, 5:9] += 2.5 * np.array([0.6, 1.0, 0.5])[:, None]  # a blink
    jaw = np.zeros((count, 3))
    jaw[:, 0] = 0.12 + 0.12 * np.sin(2 * np.pi * 5.5 / 25 * np.arange(count)) * (
        _smooth(rng, count, 10, 1, 1)[:, 0] > 0
    )
    shout = rng.integers(10, count - 10)
    jaw[shout : shout + 6, 0] += [0.2, 0.4, 0.5, 0.5, 0.35, 0.1]
    neck = _smooth(rng, count, 8, 0.12, 3) + noise * 0.004 * rng.normal(size=(count, 3))
    place = _smooth(rng, count, 12, 0.02, 3) + noise * 0.001 * rng.normal(size=(count, 3))
    lids = rng.uniform(-0.2, 1.3, size=(count, 2))
    return head_params("flame2020", expression, neck=neck, jaw=jaw, translation=place, eyelids=lids)


def _frames(params: HeadParams, sequence: str = "", first: int = 0) -> list[Frame]:
    w2c = np.diag([1.0, -1, -1, 1])
    w2c[2, 3] = 1.0
    (camera,) = cameras(w2c[None], pinhole(1000, 1000, 256, 256), 512, 512)
    return [
        Frame(f"{sequence}{first + k:05d}", camera, params.rows(slice(k, k + 1)), _no_pixels, sequence, first + k)
        for k in range(len(params.expression))
    ]


def _no_pixels():
    raise AssertionError("tracking is looked at without images")


def _told(frames: list[Frame], shape: float = 3.0) -> Findings:
    findings = Findings()
    check_motion(frames, tensor(np.full((1, 300), shape)), lambda frame, what: Path(what), findings)
    return findings


@pytest.mark.parametrize("seed", range(6))
def test_a_lively_performance_is_not_accused(seed) -> None:
    found = _told(_frames(_performance(seed, noise=seed / 2)))
    assert not found.problems and not found.notes


def test_cuts_takes_and_gaps_are_not_jumps() -> None:
    one, other = (_performance(seed, 150) for seed in (10, 11))
    other = replace(other, expression=other.expression + 2, translation=other.translation + 0.05)
    cut = HeadParams.join([one, other])
    assert not _told(_frames(cut)).problems
    assert not _told(_frames(one, "a") + _frames(other, "b", 150)).problems
    sparse = [frame for k, frame in enumerate(_frames(_performance(12))) if k % 10 == 0 or k < 60]
    assert not _told(sparse).problems


def _change(params: HeadParams, row: int, field: str, change) -> HeadParams:
    values = getattr(params, field).clone()
    values[row] = change(values[row])
    return replace(params, **{field: values})


ABSURD = [
    (
        "expression of 500",
        "expression",
        lambda x: x * 1000 + 500,
        "expected coefficients within 10 or so",
        "expression",
    ),
    ("1e30", "expression", lambda x: x * 0 + 1e30, "found 1e+30", "expression"),
    ("a jaw in degrees", "jaw", lambda x: x * 0 + 20, "rotations in radians", "jaw"),
    ("a head 1.5 m aside", "translation", lambda x: x + torch.tensor([1.5, 0, 0]), "of 512 x 512 pixels", "camera"),
    ("a head behind", "translation", lambda x: x + torch.tensor([0, 0, 3.0]), "m behind", "camera"),
    ("lids of 40", "eyelids", lambda x: x * 0 + 40, "lids from 0 open to 1 closed", "eyelids"),
]


@pytest.mark.tried("damaged inputs", "tracking that exploded in one frame: coefficients, angles, camera or 1e30",
                   survives="one sentence with file and frame, in a check and before a run trains")  # fmt: skip
@pytest.mark.parametrize(
    ("field", "change", "words", "file"), [case[1:] for case in ABSURD], ids=[c[0] for c in ABSURD]
)
@pytest.mark.parametrize("row", [0, 57, COUNT - 1])
def test_what_no_tracker_gives_is_an_error_with_its_frame(field, change, words, file, row) -> None:
    (problem,) = _told(_frames(_change(_performance(1), row, field, change))).problems
    assert (problem.severity, problem.frame, str(problem.path)) == ("error", f"{row:05d}", file)
    assert words in problem.message and problem.help


def test_numbers_that_no_tracker_gives_in_all_frames_are_one_cause() -> None:
    params = _performance(1)
    (problem,) = _told(_frames(replace(params, expression=params.expression * 100))).problems
    assert problem.frame == "" and "of 400 frames" in problem.message and "another head model" in problem.help


JUMPS = [
    ("expression", lambda x: x + torch.randn(100, generator=torch.Generator().manual_seed(0)) * 4, "expression-jumps"),
    ("jaw", lambda x: x + torch.tensor([1.2, 0, 0]), "jaw-jumps"),
    ("neck", lambda x: x + torch.tensor([0, 1.5, 0]), "pose-jumps"),
    ("translation", lambda x: x + torch.tensor([0.2, 0, 0]), "camera-jumps"),
    ("translation", lambda x: x + torch.tensor([0, 0, 0.5]), "distance-jumps"),
]


@pytest.mark.tried("damaged inputs", "a frame that jumps out of its sequence within what a tracker may give",
                   survives="a warning with the frame, and a note in the table")  # fmt: skip
@pytest.mark.parametrize(("field", "change", "kind"), JUMPS, ids=[case[2] for case in JUMPS])
def test_a_frame_that_leaves_its_neighbours_is_a_warning_and_a_note(field, change, kind) -> None:
    for seed in range(3):
        found = _told(_frames(_change(_performance(seed), 123, field, change)))
        assert {(p.severity, p.frame) for p in found.problems} == {("warning", "00123")}
        assert kind in {p.kind for p in found.problems}
        assert found.notes == ["tracking jumps in single frames (00123)"]


def test_the_place_of_a_head_in_an_outer_similarity_counts() -> None:
    params = _performance(2)
    turn = axis_angle_to_matrix(params.neck).double().numpy()
    moved = params.translation.double().numpy() + np.array([0.1, 0, 0])

    def similarity(places: np.ndarray) -> list[Frame]:
        made = head_params("flame2023", params.expression.double().numpy(), similarity=(np.ones(COUNT), turn, places))
        return _frames(made)

    assert not _told(similarity(moved)).problems
    moved[77, 1] += 1.5
    (problem,) = _told(similarity(moved)).problems
    assert (problem.severity, problem.frame) == ("error", "00077") and "head in the image" in problem.message


@pytest.mark.parametrize(("size", "severity"), [(5.0, None), (20.0, "warning"), (60.0, "error")])
def test_a_monstrous_shape_is_told(size, severity) -> None:
    found = _told(_frames(_performance(3, 40)), size)
    assert [p.severity for p in found.problems] == ([severity] if severity else [])
    assert bool(found.notes) == (severity == "warning")


def test_a_head_that_is_outside_for_long_is_a_warning() -> None:
    params = _performance(4)
    shift = torch.linspace(0, 1, COUNT)[:, None] ** 4 * torch.tensor([0.7, 0, 0])
    found = _told(_frames(replace(params, translation=params.translation + shift)))
    assert {p.severity for p in found.problems} == {"warning"} and {p.kind for p in found.problems} == {"head-outside"}
    assert any("out of the image in" in note for note in found.notes)


def _calls(frames: list[Frame]) -> int:
    """Calls of Python functions that a check of frames makes."""
    calls = 0

    def count(_frame: object, event: str, _argument: object) -> None:
        nonlocal calls
        calls += event in ("call", "c_call")

    sys.setprofile(count)
    try:
        _told(frames)
    finally:
        sys.setprofile(None)
    return calls


def test_the_work_of_a_check_grows_no_faster_than_the_frames() -> None:
    _calls(_frames(_performance(5, 500)))  # imports
    few, many = (_calls(_frames(_performance(5, count))) for count in (500, 2000))
    assert many < 5 * few and many < 100 * 2000
