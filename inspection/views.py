"""Views: frames with the projected mesh on them, first, middle and last of a subject, and one per sequence."""

from __future__ import annotations

from collections.abc import Container, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from headbench.datasets.common.findings import Findings
from headbench.datasets.common.mesh import ProjectedMesh
from headbench.datasets.common.probes import probes
from headbench.harness.errors import DataError
from headbench.harness.types import Frame, Pixels, Subject
from headbench.inspection.coarse import opaque
from headbench.inspection.overlap import INSIDE, Overlap, overlap
from headbench.inspection.shots import all_frames, shots

__all__ = ["View", "sequence_views", "take_views"]

_POOR = 0.8
"""IoU below which causes are searched for even where the mesh is on the head: hair and shoulders explain much."""
_HOPELESS = 0.3
"""IoU below which nothing but a wrong mesh is an explanation."""


@dataclass(frozen=True)
class View:
    """Image of one frame with the projected mesh on it."""

    frame: Frame
    pixels: Pixels
    points: NDArray[np.float64]
    """(V, 2) pixels, where the vertices fall; NaN behind the camera."""
    vertices: NDArray[np.float64]
    """(V, 3) vertices of the mesh in the world, metres."""
    faces: NDArray[np.int64]
    """(F, 3) triangles of the mesh, as vertex indices."""
    silhouette: NDArray[np.bool_]
    """(H, W) of the mesh."""
    overlap: Overlap
    """How the mesh and the image's opaque pixels fit."""

    @property
    def fits(self) -> bool:
        """Whether the mesh lies on the head and is not far too small for it."""
        return self.overlap.inside >= INSIDE and self.overlap.iou >= _HOPELESS

    @property
    def poor(self) -> bool:
        """Whether the mesh may be wrong although it lies on the head."""
        return self.overlap.iou < _POOR


def take_views(subject: Subject, mesh: ProjectedMesh, folder: Path, findings: Findings) -> tuple[View, ...]:
    """Project the mesh into the first, the middle and the last frame; their overlaps become a remark.

    Frames whose image cannot be decoded are reported and left out; coefficients that are of another head are reported,
    and there are no views then.

    Args:
        subject: the subject.
        mesh: its head mesh.
        folder: the subject's, for messages.
        findings: receives the problems and the remark.

    Raises:
        MissingAsset: the head model's file is not registered.
    """
    frames = all_frames(subject)
    views = []
    for row in probes(len(frames)):
        frame = frames[row]
        try:
            pixels = frame.pixels()
        except DataError as error:
            findings.error(folder, str(error.args[0]), frame.id, error.help)
            continue
        try:
            views.append(_view(frame, pixels, mesh))
        except DataError as error:
            findings.error(folder, f"the head cannot be posed: {error.args[0]}", frame.id, error.help)
            return ()
    if views:
        overlaps = ", ".join(f"{view.overlap.iou:.2f} (frame {view.frame.id})" for view in views)
        findings.remark(folder, f"mesh and alpha overlap: IoU {overlaps}")
    return tuple(views)


def sequence_views(subject: Subject, mesh: ProjectedMesh, seen: Container[str]) -> Iterator[View]:
    """Project the mesh into the middle frame of every sequence, by one camera, where there are several sequences.

    Frames that cannot be decoded are passed over.

    Args:
        subject: the subject.
        mesh: its head mesh.
        seen: ids of frames to leave out.

    Raises:
        MissingAsset: the head model's file is not registered.
        DataError: the coefficients are of another head.
    """
    longest: dict[str, list[Frame]] = {}
    for shot in shots(subject):
        longest.setdefault(shot[0].sequence, shot)
    for shot in longest.values() if len(longest) > 1 else ():
        frame = shot[len(shot) // 2]
        if frame.id in seen:
            continue
        try:
            pixels = frame.pixels()
        except DataError:  # the reader's own checks decode every image
            continue
        yield _view(frame, pixels, mesh)


def _view(frame: Frame, pixels: Pixels, mesh: ProjectedMesh) -> View:
    """Make the view of a decoded frame."""
    points, silhouette = mesh.points(frame.params, frame.camera), mesh.silhouette(frame.params, frame.camera)
    found = overlap(points, silhouette, opaque(pixels))
    return View(frame, pixels, points, mesh.vertices(frame.params), mesh.faces(frame.params), silhouette, found)
