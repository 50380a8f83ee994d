"""A page's avatar as a rig: the head model's bases, and the Gaussians in the frames of its faces."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from headbench.export.html.pack import Packer
from headbench.export.html.posed import canonical_mesh, canonical_size
from headbench.export.poses import Pose
from headbench.harness.avatar import Avatar
from headbench.harness.bound import BoundToTriangles
from headbench.harness.head import SubjectHead
from headbench.harness.rigged import Rig, Rigged

__all__ = ["put_rig", "rig_of"]

_FINEST = 1e-3
"""Coarsest step of places and heights that is stored in 16 bits: a thousandth of a triangle's size, or of a unit."""
_APART = 2e-5
"""Largest distance in metres between an avatar's own mesh and that of its rig."""


@torch.no_grad()
def rig_of(portrait: Avatar, poses: tuple[Pose, ...]) -> tuple[Rig, SubjectHead] | None:
    """Rig of an avatar and its head; None where a network moves it, or its mesh is not what the rig says.

    Args:
        portrait: the avatar.
        poses: in which the mesh is compared.
    """
    head: Any = getattr(portrait, "head", None)
    if not isinstance(head, SubjectHead):
        return None
    if isinstance(portrait, Rigged):
        rig = portrait.rig()
    elif isinstance(portrait, BoundToTriangles):
        found = portrait.bound()
        values = (found.face_index, found.positions, found.log_scales, found.quats, found.opacities, found.sh)
        rig = Rig("triangle", *values)
    else:
        return None
    if rig is None:
        return None
    for pose in (poses[0], poses[len(poses) // 2], poses[-1]):
        params = pose.params.to(head.base.device)
        own = portrait.drive(params).vertices
        mesh = head.vertices(params, rig.corrections)
        if own.shape != mesh.shape or not bool(((own - mesh).abs() < _APART).all()):
            return None
    return rig, head


@torch.no_grad()
def put_rig(packer: Packer, rig: Rig, head: SubjectHead) -> tuple[dict[str, Any], Rig]:
    """Add the arrays of a rig; return what the page's script must know besides, and the rig as it is read back."""
    _put_head(packer, rig, head)
    faces = head.faces
    packer.indices("rig/face", _plain(rig.face_index))
    height = torch.zeros_like(rig.opacities) if rig.height is None else rig.height
    quats = torch.nn.functional.normalize(rig.quats, dim=1)
    quats = quats * torch.where(quats[:, :1] < 0, -1.0, 1.0)
    columns = {
        "place": rig.place,
        "height": height[:, None],
        "quats": quats,
        "log_scales": rig.log_scales,
        "opacities": rig.opacities.sigmoid()[:, None],
        "sh": rig.sh.flatten(1),
    }
    # One far Gaussian must not make the places of all others coarse.
    finest = {"place": _FINEST, "height": _FINEST}
    read = {}
    for name, value in columns.items():
        rows = packer.rows(f"rig/{name}", _plain(value).T, finest=finest.get(name, math.inf))[0]
        read[name] = torch.tensor(rows).to(value).T
    if rig.formula == "phong":
        packer.floats("rig/canonical", _plain(canonical_mesh(rig)))
    elif rig.grows == "size":
        packer.floats("rig/canonical_size", _plain(canonical_size(rig, faces)))
    named = ("formula", "grows", "normal", "units", "damping", "aligned")
    about = {**{name: getattr(rig, name) for name in named}, "parents": list(head.parents)}
    return about, replace(
        rig,
        place=read["place"],
        height=read["height"][:, 0],
        quats=read["quats"],
        log_scales=read["log_scales"],
        opacities=torch.logit(read["opacities"][:, 0]),
        sh=read["sh"].unflatten(1, (-1, 3)),
    )


def _put_head(packer: Packer, rig: Rig, head: SubjectHead) -> None:
    """Add the bases of a head with its learned corrections folded in."""
    vertices, joints, width = len(head.base), len(head.parents), head.expression_size
    base, directions = head.base, head.expression_dirs.unflatten(0, (vertices, 3))
    regressor, correctives, learned = head.joint_regressor, head.pose_dirs, rig.corrections
    if learned is not None:
        base = base if learned.template is None else base + learned.template
        if learned.expression is not None:
            directions = directions.clone()
            used = min(width, learned.expression.shape[2])
            directions[..., :used] += learned.expression[..., :used]
        correctives = correctives if learned.pose is None else correctives + learned.pose
    packer.floats("head/base", _plain(base))
    packer.floats("head/joints", _plain(regressor @ base))
    moved = torch.einsum("jv,vce->ejc", regressor, directions).reshape(width, 3 * joints)
    packer.floats("head/joint_motion", _plain(moved))
    packer.rows("head/expression", _plain(directions.reshape(3 * vertices, width).T), exact_zero=True)
    packer.rows("head/weights", _plain(head.weights.T), exact_zero=True)
    packer.indices("head/faces", _plain(head.faces))
    if bool(correctives.any()):
        packer.rows("head/correctives", _plain(correctives), exact_zero=True)
    if head.eyelid_dirs is not None:
        packer.rows("head/eyelids", _plain(head.eyelid_dirs.flatten(1)), exact_zero=True)


def _plain(tensor: Tensor) -> np.ndarray:
    return tensor.detach().cpu().numpy()
