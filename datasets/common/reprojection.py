"""Does the tracked head fall where the image shows one? Catches shifts, wrong axes and wrong heads at once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from headbench.datasets.common.findings import Findings
from headbench.datasets.common.mesh import ProjectedMesh
from headbench.harness.errors import DataError, MissingAsset
from headbench.harness.plugins import Problem
from headbench.harness.types import Frame

__all__ = ["INSIDE", "Overlap", "check_reprojection", "is_overlap", "measure", "opaque_pixels", "overlap", "probes"]

INSIDE = 0.6
"""Share of vertices that must fall on opaque pixels; the rim of the neck is under clothing, which is removed."""


_BESIDE = "expected the head mesh on the head"
_MEASURED = "mesh and alpha overlap: IoU"
_UNCHECKED = "overlap of mesh and images not checked"
_UNPOSED = "the head cannot be posed"


@dataclass(frozen=True)
class Overlap:
    """How a projected mesh and an alpha mask fit."""

    inside: float
    """Share of the vertices on opaque pixels."""
    iou: float
    """Intersection over union of the mesh's silhouette and the opaque pixels; hair keeps it below 1."""


def overlap(points: NDArray[np.float64], silhouette: NDArray[np.bool_], opaque: NDArray[np.bool_]) -> Overlap:
    """Of vertices (V, 2) in pixels, the silhouette (H, W) of their mesh, and the image's opaque pixels (H, W)."""
    height, width = opaque.shape
    x, y = np.floor(np.nan_to_num(points, nan=-1.0).clip(-1, 1e6)).astype(np.int64).T
    seen = (x >= 0) & (x < width) & (y >= 0) & (y < height)
    inside = opaque[y[seen], x[seen]].sum() / len(points)
    union = (silhouette | opaque).sum()
    return Overlap(float(inside), float((silhouette & opaque).sum() / union) if union else 0.0)


def probes(count: int) -> list[int]:
    """Rows of the first, the middle and the last of `count` frames."""
    return sorted({0, count // 2, count - 1}) if count else []


def measure(frame: Frame, mesh: ProjectedMesh, opaque: NDArray[np.bool_]) -> Overlap:
    """The overlap of a frame's mesh with opaque pixels (H, W), which may be another frame's."""
    return overlap(mesh.points(frame.params, frame.camera), mesh.silhouette(frame.params, frame.camera), opaque)


def opaque_pixels(frame: Frame) -> NDArray[np.bool_] | None:
    """(H, W), None where the image cannot be decoded."""
    try:
        return np.asarray(frame.pixels().alpha[0].numpy() > 127)
    except DataError:
        return None


def check_reprojection(
    path: Path, frames: Sequence[Frame], rows: Sequence[int], mesh: ProjectedMesh, findings: Findings
) -> None:
    """Compare mesh and alpha in the frames of `rows`; the overlap is a note, a mesh beside the head a problem.

    Args:
        path: the subject's folder, which the findings name.
    """
    measured: list[str] = []
    for row in rows:
        frame = frames[row]
        opaque = opaque_pixels(frame)
        if opaque is None:
            continue
        try:
            found = measure(frame, mesh, opaque)
            near = "" if found.inside >= INSIDE else _neighbour(frames, row, mesh, opaque, found)
        except MissingAsset as error:
            findings.remark(path, f"{_UNCHECKED}: {error.args[0]}", help=error.help)
            return
        except DataError as error:
            findings.error(path, f"{_UNPOSED}: {error.args[0]}", frame.id, error.help)
            return
        measured.append(f"{found.iou:.2f} (frame {frame.id})")
        if found.inside < INSIDE:
            findings.error(
                path,
                f"{_BESIDE}, found {found.inside:.0%} of its vertices on opaque pixels, IoU {found.iou:.2f}{near}",
                frame.id,
                "images and tracking are not of the same frame, or of another camera or head model",
            )
    if measured:
        findings.remark(path, f"{_MEASURED} {', '.join(measured)}")


def is_overlap(problem: Problem) -> bool:
    """Whether a problem is of `check_reprojection`, which `bench data check` repeats with a cause."""
    return problem.message.startswith((_BESIDE, _MEASURED, _UNCHECKED, _UNPOSED))


def _neighbour(
    frames: Sequence[Frame], row: int, mesh: ProjectedMesh, opaque: NDArray[np.bool_], found: Overlap
) -> str:
    for shift in (-1, 1):
        if 0 <= row + shift < len(frames):
            other = frames[row + shift]
            better = measure(other, mesh, opaque)
            if better.inside >= INSIDE and better.iou > found.iou + 0.1:
                return f"; the tracking of frame {other.id} fits (IoU {better.iou:.2f}): shifted by {shift:+d}?"
    return ""
