"""Checks of every frame's tracking without images and without a head model: cheap enough for each reading."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from headbench.datasets.common.findings import Findings, ranges
from headbench.datasets.common.jumps import jumps
from headbench.harness.rotations import axis_angle_to_matrix
from headbench.harness.types import Frame

__all__ = ["check_motion"]

_Floats = NDArray[np.float64]
_Where = Callable[[Frame, str], Path]
_COEFFICIENT = 50.0
"""Largest expression or shape coefficient that any tracker gives, in standard deviations, of which 5 is a lot."""
_SHAPE = 15.0
"""Shape coefficient beyond which a head looks like none."""
_TURN = 2 * math.pi
"""Largest rotation of a joint, in radians; one that turns further was written in degrees, or exploded."""
_LIDS = 10.0
"""Largest eyelid coefficient; 0 is open, 1 closed."""
_OUTSIDE = 0.5
"""Distance from the image's edge, in sides of the image, beyond which nothing of a head can be in it."""
_FLOORS = {
    "camera": (0.06, "sides of the image that the head moves"),
    "distance": (0.2, "of the distance (as a logarithm)"),
    "pose": (0.35, "radians that the head turns (20 degrees)"),
    "jaw": (0.5, "radians"),
    "expression": (2.0, "standard deviations over all coefficients"),
}
"""Quantity -> smallest jump in one frame that is reported, and its unit.

A quick nod moves a head by 0.02 of the image from frame to frame, a shout opens the jaw by 0.3; and these are smooth,
jumps are not."""
_MANY = 0.5
"""Share of the frames from which on a fault is reported once for the file, not for each frame."""
_FOREIGN = "coefficients of another head model or in another unit? They are not interchangeable"
_AGAIN = "track this frame again, or leave it out of the split"


@dataclass(frozen=True)
class _Stack:
    """Tracking of all frames, one row per frame."""

    pixel: _Floats
    """(T, 2) image position of the head's origin, in sides of the image."""
    depth: _Floats
    """(T,) metres from the camera along its axis."""
    turn: _Floats
    """(T, 9) rotation matrices of the head as the camera sees it, flattened."""
    jaw: _Floats
    """(T, 3) rotation of the jaw, axis-angle radians."""
    expression: _Floats
    """(T, E) expression coefficients."""


def check_motion(frames: Sequence[Frame], shape: Tensor, where: _Where, findings: Findings) -> None:
    """Check that numbers are such as trackers give, that the head is in every image, and that no frame jumps.

    Errors are what cannot be a head: coefficients or angles beyond any tracker, a head that is behind the camera, or
    out of the image in one frame. Odd jumps are warnings, and noted for tables.

    Args:
        frames: all frames of a subject, in any order; sequences and cameras are told apart by their fields.
        shape: (1, S) identity coefficients.
        where: gives the file that a quantity (expression, jaw, pose, camera, eyelids, shape) of a frame was read from.
        findings: receives the problems and the note.
    """
    if not frames:
        return
    _check_shape(shape, where(frames[0], "shape"), findings)
    stack = _stack(frames)
    if not _check_ranges(frames, stack, where, findings):
        return
    odd: set[str] = set()
    seen: set[str] = set()
    for rows in _tracks(frames):
        first = frames[rows[0]].sequence not in seen
        seen.add(frames[rows[0]].sequence)
        # Cameras that see the same moments share the head's coefficients.
        odd |= _check_track(frames, stack, rows, ("jaw", "expression") if first else (), where, findings)
    _check_outside(frames, stack, odd, where, findings)
    if odd:
        findings.note(f"tracking jumps in single frames ({ranges(sorted(odd))})")


def _stack(frames: Sequence[Frame]) -> _Stack:
    """Stack the frames' tracking: the head's place as the camera sees it, jaw and expression."""

    def joined(part: Callable[[Frame], Tensor]) -> Tensor:
        return torch.cat([part(frame) for frame in frames]).double()

    w2c, K = joined(lambda f: f.camera.w2c), joined(lambda f: f.camera.K)
    place = joined(lambda f: f.params.translation)
    turn = axis_angle_to_matrix(joined(lambda f: f.params.root)) @ axis_angle_to_matrix(joined(lambda f: f.params.neck))
    if all(frame.params.similarity is not None for frame in frames):
        scale = joined(lambda f: f.params.similarity.scale)  # type: ignore[union-attr]
        R, t = joined(lambda f: f.params.similarity.R), joined(lambda f: f.params.similarity.t)  # type: ignore[union-attr]
        place = scale[:, None] * (R @ place[..., None])[..., 0] + t
        turn = R @ turn
    seen = (w2c[:, :3, :3] @ place[..., None])[..., 0] + w2c[:, :3, 3]
    image = (K @ seen[..., None])[..., 0]
    sides = torch.tensor([[frame.camera.width, frame.camera.height] for frame in frames], dtype=torch.float64)
    pixel = image[:, :2] / image[:, 2:].clamp(min=1e-6) / sides
    return _Stack(
        pixel.numpy(),
        seen[:, 2].numpy(),
        (w2c[:, :3, :3] @ turn).flatten(1).numpy(),
        joined(lambda f: f.params.jaw).numpy(),
        joined(lambda f: f.params.expression).numpy(),
    )


def _check_shape(shape: Tensor, path: Path, findings: Findings) -> None:
    """Report identity coefficients (1, S) that no head has."""
    largest = float(shape.abs().max()) if shape.numel() else 0.0
    message = (
        f"`shape`: expected coefficients within 5 or so, found {largest:.3g}: multiplied, or of another head model?"
    )
    help = "take the shape as the tracker gave it, in standard deviations"
    if not largest <= _COEFFICIENT:
        findings.error(path, message, help=help, kind="shape-absurd")
    elif largest > _SHAPE:
        findings.warning(path, message, help=help, kind="shape-odd")
        findings.note(f"shape coefficients up to {largest:.3g}: no such head")


def _check_ranges(frames: Sequence[Frame], stack: _Stack, where: _Where, findings: Findings) -> bool:
    """Tell whether all numbers are such as some tracker gives; those that are not are errors.

    Args:
        frames: all frames of a subject.
        stack: their tracking, in the same order.
        where: gives the file that a quantity of a frame was read from.
        findings: receives the errors.
    """
    before = len(findings.errors())

    def report(what: str, rows: _Floats, limit: float, expected: str) -> None:
        """Report the rows of a quantity that are beyond a limit: once if they are most frames, else one by one.

        Args:
            what: name of the quantity.
            rows: (T,) its largest value in each frame.
            limit: largest value that is accepted.
            expected: what was expected, for the message.
        """
        wrong = np.flatnonzero(~(rows <= limit))
        if len(wrong) > _MANY * len(rows):
            found = f"found up to {rows[wrong].max():.3g} in {len(wrong)} of {len(rows)} frames"
            path, message = where(frames[int(wrong[0])], what), f"`{what}`: expected {expected}, {found}"
            findings.error(path, message, help=_FOREIGN, kind=f"{what}-absurd")
            return
        for row in wrong:
            frame = frames[int(row)]
            message = f"`{what}`: expected {expected}, found {rows[row]:.3g}"
            findings.error(where(frame, what), message, frame.id, _AGAIN, f"{what}-absurd")

    report("expression", np.abs(stack.expression).max(axis=1, initial=0), _COEFFICIENT, "coefficients within 10 or so")
    for what, fields in (("jaw", ("jaw",)), ("pose", ("root", "neck"))):
        angles = torch.cat([torch.cat([getattr(f.params, name) for name in fields])[None] for f in frames])
        largest = torch.linalg.vector_norm(angles.double(), dim=2).amax(1).numpy()
        report(what, largest, _TURN, "rotations in radians, less than a full turn")
    if all(frame.params.eyelids is not None for frame in frames):
        lids = torch.cat([frame.params.eyelids for frame in frames])  # type: ignore[misc]
        report("eyelids", lids.abs().amax(1).double().numpy(), _LIDS, "lids from 0 open to 1 closed")
    for row in np.flatnonzero(~(stack.depth > 0)):
        frame = frames[int(row)]
        message = f"expected the head before the camera, found it {-stack.depth[row]:.3g} m behind"
        findings.error(where(frame, "camera"), message, frame.id, _AGAIN, "head-behind-camera")
    return len(findings.errors()) == before


def _tracks(frames: Sequence[Frame]) -> list[list[int]]:
    """Rows of frames grouped by sequence and camera, each group in the order of time, each frame once."""
    found: dict[tuple[str, str], dict[str, int]] = {}
    for row, frame in enumerate(frames):
        found.setdefault((frame.sequence, frame.camera_id), {}).setdefault(frame.id, row)
    return [sorted(rows.values(), key=lambda row: frames[row].timestep) for rows in found.values()]


def _check_track(
    frames: Sequence[Frame],
    stack: _Stack,
    rows: list[int],
    coefficients: Sequence[str],
    where: _Where,
    findings: Findings,
) -> set[str]:
    """Find the frames of one track that jump, and return their ids.

    A jump out of the image is an error and is not among them; others are warnings.

    Args:
        frames: all frames of a subject.
        stack: their tracking, in the same order.
        rows: rows of one sequence and camera, in the order of time.
        coefficients: fields of `stack` to check besides the head's place: jaw, expression, or none.
        where: gives the file that a quantity of a frame was read from.
        findings: receives the problems.
    """
    values = {
        "camera": stack.pixel[rows],
        "distance": np.log(stack.depth[rows])[:, None],
        "pose": stack.turn[rows] / math.sqrt(2),
        **{what: getattr(stack, what)[rows] for what in coefficients},
    }
    odd = set()
    for what, track in values.items():
        floor, unit = _FLOORS[what]
        for jump in jumps(track, floor):
            row = rows[jump.row]
            frame, path = frames[row], where(frames[row], "camera" if what == "distance" else what)
            x, y = stack.pixel[row]
            if what == "camera" and not (0 <= x <= 1 and 0 <= y <= 1):
                message = f"expected the head in the image as in the frames around, found it at {_place(frame, x, y)}"
                findings.error(path, message, frame.id, _AGAIN, "head-jumps-out")
                continue
            message = (
                f"`{what}`: expected frames that go on from those around (9 of 10 within {jump.usual:.2g}), found "
                f"one that is off by {jump.off:.2g} {unit}"
            )
            findings.warning(path, message, frame.id, _AGAIN, f"{what}-jumps")
            odd.add(frame.id)
    return odd


def _check_outside(
    frames: Sequence[Frame], stack: _Stack, reported: set[str], where: _Where, findings: Findings
) -> None:
    """Warn where nothing of the head can be in the image, and no jump explains it.

    Args:
        frames: all frames of a subject.
        stack: their tracking, in the same order.
        reported: ids of the frames whose jumps were reported.
        where: gives the file that a quantity of a frame was read from.
        findings: receives the warnings and a note.
    """
    known = reported | {problem.frame for problem in findings.errors()}
    far = ((stack.pixel < -_OUTSIDE) | (stack.pixel > 1 + _OUTSIDE)).any(axis=1)
    lost = [int(row) for row in np.flatnonzero(far) if frames[int(row)].id not in known]
    for row in lost:
        frame = frames[row]
        message = f"expected the head in the image, found it at {_place(frame, *stack.pixel[row])}"
        findings.warning(where(frame, "camera"), message, frame.id, _AGAIN, "head-outside")
    if lost:
        findings.note(f"the head is out of the image in {len(lost)} frames")


def _place(frame: Frame, x: float, y: float) -> str:
    """An image position in words, in pixels; `x` and `y` are in sides of the frame's image."""
    width, height = frame.camera.width, frame.camera.height
    return f"({x * width:.0f}, {y * height:.0f}) of {width} x {height} pixels"
