"""Diagnosis of a mesh that does not lie on the head: common mistakes are corrected one at a time until it does."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from headbench.datasets.common.findings import Findings
from headbench.datasets.common.mesh import ProjectedMesh
from headbench.harness.errors import BenchError
from headbench.harness.head import TAGS
from headbench.harness.types import Camera, Subject
from headbench.inspection.coarse import opaque
from headbench.inspection.overlap import INSIDE
from headbench.inspection.shots import neighbour
from headbench.inspection.suspicions import check_scale, moves_alike, torn
from headbench.inspection.trials import describe, tried, zoomed
from headbench.inspection.views import View, sequence_views

__all__ = ["Cause", "check_sequences", "diagnose"]

_Floats = NDArray[np.float64]
_BETTER = 0.1
"""Gain in IoU from which on a cause counts."""
_CLEAR = 0.75
"""IoU that a cause must reach where the mesh as it is already lies on the head."""
_EQUAL = 0.03
"""Difference of IoU within which the cause that is tried first is named."""
_EXTENT = (0.12, 0.6)
"""Range of the longest side of a head model's box, neck included, in metres."""
_FLIPS = {
    "OpenGL axes (y up, z backward)": ((1.0, -1.0, -1.0), "negate the second and third column of camera to world"),
    "PyTorch3D axes (x left, y up)": ((-1.0, -1.0, 1.0), "negate the first and second column of camera to world"),
    "a camera whose x and z point the other way": ((-1.0, 1.0, -1.0), "negate the first and third column"),
    "an image that is upside down": ((1.0, -1.0, 1.0), "flip the images, or fl_y and the principal point"),
    "an image that is mirrored": ((-1.0, 1.0, 1.0), "flip the images, or fl_x and the principal point"),
}
"""Mistake in the axes -> signs of the camera's axes that correct it, and what helps."""
_UNKNOWN = "images and tracking are not of the same frame, or of another camera or head model"
_UNITS = {4.0: "a head 4 times as large", 0.25: "a quarter of the head", 1000.0: "millimetres", 0.001: "kilometres"}
"""Factor on the mesh that makes it fit -> unit or size that explains it."""


@dataclass(frozen=True)
class Cause:
    """Something that may be wrong, and where the mesh would lie if it were put right."""

    message: str
    """Sentence for the error; ``{iou}`` stands for the overlap that is reached."""
    help: str
    place: Callable[[View], _Floats | None]
    """Pixel positions (V, 2) of the corrected mesh in a view; None where the cause says nothing about it."""
    faces: NDArray[np.int64] | None = None
    """(F, 3) faces where the corrected mesh is another one."""


def diagnose(subject: Subject, mesh: ProjectedMesh, views: Sequence[View], folder: Path, findings: Findings) -> None:
    """Report an error that names the likeliest cause, where the mesh is beside the head in some of `views`.

    Where it lies on the head and overlaps poorly, which long hair or shoulders explain, only a cause that puts it
    right is an error. One that would only make the mesh larger is not tried, for hair would look like it: there the
    motion of the images decides, and gives a warning. Motion also decides where the mesh lies on the head and is far
    too small for the opaque pixels: if both move alike, it is hair, and nothing is reported.

    Args:
        subject: the subject.
        mesh: its head mesh.
        views: some of its frames with the mesh on them.
        folder: the subject's, for messages.
        findings: receives the error or the warning.
    """
    bad = [view for view in views if not view.fits]
    poor = [view for view in views if view.poor]
    shown = bad or poor
    if not shown or torn(subject, mesh, shown, bool(bad), folder, findings):
        return
    if bad and all(view.overlap.inside >= INSIDE for view in bad) and moves_alike(subject, mesh):
        return
    extent = _extent(shown[0])
    odd = not _EXTENT[0] < extent < _EXTENT[1]
    causes = _exact_causes(subject, mesh, shown)
    if bad:
        causes = itertools.chain(causes, _measured_causes(bad))
    cause = None if odd else _likeliest(causes, shown, 0.0 if bad else _CLEAR)
    if not bad and not odd and cause is None:
        check_scale(subject, mesh, shown, folder, findings)
        return
    first, found = shown[0], describe(shown)
    if odd:
        why = f"; the mesh is {extent:.2f} m large: coefficients of another head model?"
        help = f"read as {subject.head}; coefficients of other FLAME versions and trackers are not interchangeable"
    elif cause is not None:
        why, help = f"; {cause.message}", cause.help
    else:
        why = ""
        help = f"{_UNKNOWN}; --sheet shows it"
    findings.error(folder, found + why, first.frame.id, help)


def check_sequences(
    subject: Subject, mesh: ProjectedMesh, views: Sequence[View], folder: Path, findings: Findings
) -> None:
    """Report an error for each sequence in whose middle frame the mesh is beside the head.

    Sequences are tracked one by one, so one may be wrong alone. Of causes only a shift by a frame is tried: what is
    true of the camera or the head would have been seen in `views`.

    Args:
        subject: the subject.
        mesh: its head mesh.
        views: frames in which the mesh lies on the head, which are not checked again.
        folder: the subject's, for messages.
        findings: receives the errors.
    """
    for view in sequence_views(subject, mesh, {view.frame.id for view in views}):
        if view.overlap.inside >= INSIDE:
            continue
        cause = _likeliest(_shifts(subject, mesh, [view]), [view], 0.0)
        why, help = (f"; {cause.message}", cause.help) if cause else ("", _UNKNOWN)
        findings.error(folder, view.overlap.describe() + why, view.frame.id, help)


def _extent(view: View) -> float:
    """Longest side of the mesh's box in a view, in metres, without the global similarity's scale."""
    scale = 1.0 if view.frame.params.similarity is None else float(view.frame.params.similarity.scale[0])
    sides = view.vertices.max(axis=0) - view.vertices.min(axis=0)
    return float(sides.max()) / scale


def _likeliest(causes: Iterable[Cause], shown: Sequence[View], least: float) -> Cause | None:
    """Find the first of the causes that fit best and bring the IoU to `least`; None where no cause does.

    Args:
        causes: in the order in which they are preferred.
        shown: views to try them on.
        least: IoU to reach.
    """
    before = {view.frame.id: tried(view, view.points).iou for view in shown}
    fitting = []
    for cause in causes:
        places = {view.frame.id: cause.place(view) for view in shown}
        fits = [tried(view, points, cause.faces) for view in shown if (points := places[view.frame.id]) is not None]
        base = float(np.mean([before[name] for name, points in places.items() if points is not None]))
        # A head that leaves the image has few vertices on it even where all is well.
        on_head = sum(fit.inside >= INSIDE for fit in fits) * 2 >= len(fits)
        iou = float(np.mean([fit.iou for fit in fits]))
        if on_head and iou > max(base + _BETTER, least):
            fitting.append((iou, cause))
    if not fitting:
        return None
    best = max(iou for iou, _ in fitting)
    iou, cause = next((iou, cause) for iou, cause in fitting if iou > best - _EQUAL)
    return replace(cause, message=cause.message.replace("{iou}", f"{iou:.2f}"))


def _exact_causes(subject: Subject, mesh: ProjectedMesh, bad: Sequence[View]) -> Iterator[Cause]:
    """Causes that leave no freedom, surest first: shifts by a frame, axes, an inverted camera, another head model."""
    yield from _shifts(subject, mesh, bad)
    for name, (signs, help) in _FLIPS.items():
        yield Cause(f"with {name} it fits (IoU {{iou}})", help, _flipped(signs))
    yield Cause(
        "with the camera's matrix inverted it fits (IoU {iou}): world to camera and camera to world exchanged",
        "invert the matrices",
        lambda view: _seen(view.vertices, replace(view.frame.camera, w2c=torch.linalg.inv(view.frame.camera.w2c))),
    )
    yield from _other_heads(subject)


def _measured_causes(bad: Sequence[View]) -> Iterator[Cause]:
    """Causes with a free number (unit, focal length, offset), which can bend a mesh to any outline.

    They are the last to be named.
    """
    for scale, name in _UNITS.items():
        yield Cause(
            f"the mesh {scale:g} times as large fits (IoU {{iou}}): {name}?",
            "bring mesh and camera to one unit, metres",
            lambda view, scale=scale: _seen(view.vertices * scale, view.frame.camera),  # type: ignore[misc]
        )
    factor = _best_zoom(bad)
    yield Cause(
        f"a focal length about {factor:.2g} times as long fits (IoU {{iou}}): images resized or cropped without their "
        "intrinsics?",
        "scale focal length and principal point with the images",
        lambda view: zoomed(view, factor),
    )
    x, y = _best_offset(bad)
    yield Cause(
        f"moved by ({x:+.0f}, {y:+.0f}) pixels it fits (IoU {{iou}}): principal point or crop?",
        "take the principal point of the cropped image",
        lambda view: view.points + np.array([x, y]),
    )


def _shifts(subject: Subject, mesh: ProjectedMesh, bad: Sequence[View]) -> Iterator[Cause]:
    """Causes: the tracking of the frame before, or of the frame after."""
    for shift in (-1, 1):
        others = {view.frame.id: neighbour(subject, view.frame, shift) for view in bad}
        # The first frame has none before it.
        there = {name: other for name, other in others.items() if other is not None}
        if there:
            place = next(iter(there.values()))
            yield Cause(
                f"the tracking of frame {place.id} fits (IoU {{iou}}): shifted by {shift:+d}?",
                "trackers count from 0, ffmpeg's images from 1; pair images and tracking again",
                lambda view, there=there: (  # type: ignore[misc]
                    mesh.points(there[view.frame.id].params, there[view.frame.id].camera)
                    if view.frame.id in there
                    else None
                ),
            )


def _other_heads(subject: Subject) -> Iterator[Cause]:
    """Causes: another head model with the same coefficients."""
    for tag in TAGS:
        if tag == subject.head:
            continue
        other = ProjectedMesh(tag, subject.shape, subject.static_offset)
        try:
            faces = other.faces(replace(subject.train[0].params, head=tag))
        except BenchError:
            continue  # not registered, or it has not these coefficients
        yield Cause(
            f"posed as {tag} it fits (IoU {{iou}}): tracked with another head model than {subject.head}?",
            "coefficients of different FLAME versions are not interchangeable; track again or name the right head",
            lambda view, other=other, tag=tag: other.points(  # type: ignore[misc]
                replace(view.frame.params, head=tag), view.frame.camera
            ),
            faces,
        )


def _seen(vertices: _Floats, camera: Camera) -> _Floats:
    """Project vertices (V, 3) in the world to pixels (V, 2); NaN behind the camera."""
    w2c, K = camera.w2c[0].double().numpy(), camera.K[0].double().numpy()
    seen = vertices @ w2c[:3, :3].T + w2c[:3, 3]
    image = seen @ K.T
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.asarray(np.where(seen[:, 2:] > 1e-3, image[:, :2] / image[:, 2:], np.nan))


def _flipped(signs: tuple[float, float, float]) -> Callable[[View], _Floats]:
    """Function that projects the mesh of a view with some of the camera's axes turned."""

    def place(view: View) -> _Floats:
        camera = view.frame.camera
        turned = torch.diag(torch.tensor([*signs, 1.0])) @ camera.w2c
        return _seen(view.vertices, replace(camera, w2c=turned))

    return place


def _best_zoom(bad: Sequence[View]) -> float:
    """Factor on the focal length that brings most overlap."""
    factors = np.geomspace(0.25, 4.0, 33)
    scores = [np.mean([tried(view, zoomed(view, factor)).iou for view in bad]) for factor in factors]
    return float(factors[int(np.argmax(scores))])


def _best_offset(bad: Sequence[View]) -> tuple[float, float]:
    """Offset of the mesh in pixels that brings most overlap.

    It starts from the middle of the mesh to that of the opaque pixels, and goes on by trying.
    """
    moves = []
    for view in bad:
        points = view.points[np.isfinite(view.points).all(axis=1)]
        rows, columns = np.nonzero(opaque(view.pixels))
        if len(points) and len(rows):
            moves.append((columns.mean() - points[:, 0].mean(), rows.mean() - points[:, 1].mean()))
    if not moves:
        return 0.0, 0.0

    def score(move: _Floats) -> float:
        return float(np.mean([tried(view, view.points + move).iou for view in bad]))

    place = np.median(np.array(moves), axis=0)
    best = score(place)
    side = bad[0].frame.camera.width
    for reach in (side / 16, side / 32, side / 64, side / 128):
        for direction in ((1, 0), (-1, 0), (0, 1), (0, -1)):
            while (value := score(place + reach * np.array(direction))) > best:
                place, best = place + reach * np.array(direction), value
    return float(place[0]), float(place[1])
