"""Checks for a mesh that lies on the head and overlaps poorly: hair explains that, and so may a mistake."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from headbench.datasets.common.findings import Findings
from headbench.datasets.common.mesh import ProjectedMesh
from headbench.harness.types import Subject
from headbench.inspection.rest import TORN, stretch
from headbench.inspection.scale import motion_scale
from headbench.inspection.trials import describe, tried, zoomed
from headbench.inspection.views import View

__all__ = ["check_scale", "moves_alike", "torn"]


def torn(
    subject: Subject, mesh: ProjectedMesh, shown: Sequence[View], bad: bool, folder: Path, findings: Findings
) -> bool:
    """Tell whether the head at rest is torn, which then explains everything and is reported.

    Args:
        subject: the subject.
        mesh: its head mesh.
        shown: views in which the mesh fits badly, at least one.
        bad: whether the mesh is beside the head in them, which makes it an error instead of a warning.
        folder: the subject's, for messages.
        findings: receives the problem.
    """
    times = stretch(subject, mesh)
    if times < TORN:
        return False
    message = f"{describe(shown)}; at rest, edges of the mesh are {times:.1f} times as long as the template's"
    help = f"shape coefficients multiplied, or of another model than {subject.head}? Take them as the tracker gave them"
    (findings.error if bad else findings.warning)(folder, message, shown[0].frame.id, help, "shape-torn")
    return True


def moves_alike(subject: Subject, mesh: ProjectedMesh) -> bool:
    """Tell whether images and mesh move alike beyond doubt, so that the mesh has the right size."""
    scale = motion_scale(subject, mesh)
    return scale is not None and scale.right


def check_scale(subject: Subject, mesh: ProjectedMesh, shown: Sequence[View], folder: Path, findings: Findings) -> None:
    """Warn where images move much farther than the mesh, or less far.

    Args:
        subject: the subject.
        mesh: its head mesh.
        shown: views in which the mesh fits badly, at least one.
        folder: the subject's, for messages.
        findings: receives the warning.
    """
    scale = motion_scale(subject, mesh)
    if scale is None or not scale.sure:
        return
    iou = float(np.mean([tried(view, zoomed(view, scale.factor)).iou for view in shown]))
    short = scale.factor > 1
    findings.warning(
        folder,
        f"{describe(shown)}; images move {scale.factor:.2f} times as far as the mesh ({scale.pairs} pairs of frames): "
        f"a focal length that is too {'short' if short else 'long'}, or a head that is too "
        f"{'far' if short else 'near'}? With {scale.factor:.2f} times the focal length the IoU is {iou:.2f}",
        shown[0].frame.id,
        "images resized or cropped without their intrinsics? Scale focal length and principal point with the images",
        "motion-scale",
    )
