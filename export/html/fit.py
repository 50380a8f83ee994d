"""A page's avatar as a fit: final Gaussians as a linear function of the head's parameters, of few bases.

In the frame of the head (root, neck and global similarity undone) every number of every Gaussian is its mean plus the
sum of basis · coefficient, and coefficients are linear in expression, neck, jaw, eyes and eyelids: a ridge regression
of reduced rank.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from headbench.export.html.pack import Packer
from headbench.export.html.recording import row_of
from headbench.export.poses import Pose
from headbench.export.source import Source
from headbench.export.splats import Splats, splats_at
from headbench.harness.head import SubjectHead, matrix_to_quat, quat_multiply
from headbench.harness.rotations import axis_angle_to_matrix
from headbench.harness.types import HeadParams

__all__ = ["BASES", "Fit", "fitted", "put_fit"]

BASES = 20
"""Number of bases."""
FRAMES = 96
"""Number of training frames that are fitted, at most."""
_RIDGES = tuple(10.0**power for power in (-4, -3, -2, -1, 0, 1))
"""Strengths of the ridge that are tried, per frame."""
_STILL = 1e-6
"""Standard deviation of a parameter below which it does not vary."""
_GEOMETRY = 11
"""Numbers per Gaussian besides colours: centre 3, quaternion 4, log-scales 3, opacity 1."""


@dataclass(frozen=True)
class Fit:
    """Gaussians as a linear function of head parameters."""

    joints: Tensor
    """(2, 3) metres, root and neck of the head without expression."""
    middle: Tensor
    """(P,) means of the parameters."""
    mix: Tensor
    """(P, R) coefficients per unit of a parameter; 0 where it did not vary."""
    mean: Tensor
    """(C, N) numbers of the Gaussians: centre, quaternion, log-scales, opacity, harmonics; in the frame of the head."""
    bases: Tensor
    """(R, C, N)."""

    def cut(self, rank: int) -> Fit:
        """The same fit with the first `rank` of its bases, which matter most."""
        return replace(self, mix=self.mix[:, :rank], bases=self.bases[:rank])

    def moving(self, expressions: int) -> set[tuple[str, int]]:
        """Parameters (field, index) that varied in the frames of the fit."""
        sizes = {"expression": expressions, "neck": 3, "jaw": 3, "eye_left": 3, "eye_right": 3, "eyelids": 2}
        names = [(name, index) for name, size in sizes.items() for index in range(size)]
        return {name for name, row in zip(names, self.mix, strict=True) if bool(row.any())}

    def at(self, pose: Pose, expressions: int) -> Splats:
        """Gaussians of a pose."""
        x = torch.tensor(_driving(pose.params, expressions))
        values = self.mean + ((x - self.middle) @ self.mix)[:, None, None].mul(self.bases).sum(0)
        means, quats, log_scales, opacities, sh = values.split([3, 4, 3, 1, len(values) - _GEOMETRY])
        scale, R, t = head_frame(pose.params.to("cpu"), self.joints)
        turn = matrix_to_quat(R)[None].expand(means.shape[1], -1)
        return Splats(
            (scale * R @ means + t[:, None]).T.numpy(),
            torch.nn.functional.normalize(quat_multiply(turn, quats.T), dim=1).numpy(),
            (log_scales.T + scale.log()).numpy(),
            opacities[0].clamp(0, 1).numpy(),
            sh.T.unflatten(1, (-1, 3)).numpy(),
        )


def head_frame(params: HeadParams, joints: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Scale (), rotation (3, 3) and translation (3,) of the head, by root, neck and similarity of a pose.

    Args:
        params: the pose, B = 1.
        joints: (2, 3) root and neck.
    """
    root = axis_angle_to_matrix(params.root[0])
    whole = root @ axis_angle_to_matrix(params.neck[0])
    t = joints[0] - root @ joints[0] + (root - whole) @ joints[1] + params.translation[0]
    similarity = params.similarity
    if similarity is None:
        return torch.ones(()), whole, t
    scale, R = similarity.scale[0], similarity.R[0]
    return scale, R @ whole, scale * (R @ t) + similarity.t[0]


def fitted(source: Source, head: SubjectHead, frames: Sequence[Pose], bases: int = BASES) -> Fit:
    """Fit the Gaussians of frames.

    Args:
        source: the avatar.
        head: of the subject.
        frames: T of them, not more than `FRAMES`.
        bases: number of bases, fewer where there are fewer frames.
    """
    joints = head.base_joints.cpu().view(-1, 3)[:2]
    rows = [_numbers(splats_at(source, pose), pose, joints) for pose in frames]
    first = rows[0][3:7]
    for row in rows:  # quaternions on the side of the first frame's
        row[3:7] *= torch.where((row[3:7] * first).sum(0) < 0, -1.0, 1.0)
    Y = torch.stack(rows)
    X = torch.tensor(np.stack([_driving(pose.params, head.expression_size) for pose in frames]))
    mean, middle = Y.mean(0), X.mean(0)
    spread = X.std(0, correction=0)
    used = spread > _STILL
    X = (X - middle) / torch.where(used, spread, torch.inf)
    mix, along = _regression(X.double(), _gram(Y - mean, _weights(mean)), min(bases, len(frames)))
    shape = Y.shape[1:]
    found = (along @ (Y - mean).flatten(1)).unflatten(1, shape)
    return Fit(joints, middle, (mix / torch.where(used, spread, 1.0)[:, None]).float(), mean, found)


def put_fit(packer: Packer, fit: Fit) -> tuple[dict[str, Any], Fit]:
    """Add the arrays of a fit; return what the page's script must know besides, and the fit as it is read back."""
    mean = torch.tensor(packer.rows("fit/mean", fit.mean.numpy())[0])
    # What no basis moves by more than rounding stays out.
    moves = fit.bases.abs().amax(dim=(0, 2)) > 1e-7
    count, (rank, _, size) = int(moves.sum()), fit.bases.shape
    kept = fit.bases[:, moves].reshape(rank * count, size).numpy()
    read = torch.zeros_like(fit.bases)
    if count:
        read[:, moves] = torch.tensor(packer.rows("fit/bases", kept, bits=8, exact_zero=True)[0]).view(
            rank, count, size
        )
    packer.floats("fit/middle", fit.middle.numpy())
    packer.floats("fit/mix", fit.mix.numpy())
    about = {"rank": rank, "moving": moves.nonzero()[:, 0].tolist(), "joints": fit.joints.flatten().tolist()}
    return about, replace(fit, mean=mean, bases=read)


def _driving(params: HeadParams, expressions: int) -> np.ndarray:
    """Parameters (P,) that the fit reads: expression, neck, jaw, eyes, eyelids."""
    row = row_of(params, expressions)
    joints = row[expressions + 3 : expressions + 15]
    return np.concatenate([row[:expressions], joints, row[expressions + 18 : expressions + 20]])


def _numbers(splats: Splats, pose: Pose, joints: Tensor) -> Tensor:
    """All numbers (C, N) of Gaussians in the frame of the head."""
    scale, R, t = head_frame(pose.params.to("cpu"), joints)
    back = matrix_to_quat(R.T)[None].expand(len(splats), -1)
    parts = (
        (torch.from_numpy(splats.means) - t) @ R / scale,
        quat_multiply(back, torch.from_numpy(splats.quats)),
        torch.from_numpy(splats.log_scales) - scale.log(),
        torch.from_numpy(splats.opacities)[:, None],
        torch.from_numpy(splats.sh).flatten(1),
    )
    return torch.cat(parts, dim=1).T.contiguous()


def _weights(mean: Tensor) -> Tensor:
    """Weights (C, N) of deviations: centres in standard deviations, all by the share that a Gaussian covers."""
    weights = torch.ones_like(mean)
    weights[:3] = torch.exp(-mean[7:10].mean(0))
    return weights * mean[10].clamp(0, 1)


def _gram(deviations: Tensor, weights: Tensor) -> Tensor:
    """Products (T, T) of weighted deviations (T, C, N), in float64."""
    flat = (deviations * weights).flatten(1)
    return (flat @ flat.T).double()


def _regression(X: Tensor, gram: Tensor, rank: int) -> tuple[Tensor, Tensor]:
    """Ridge regression of reduced rank, its strength chosen by generalised cross-validation.

    Args:
        X: (T, P) parameters, standardised.
        gram: (T, T) products of the deviations from the mean.
        rank: number R of bases.

    Returns:
        (mix (P, R), along (R, T)): a basis is `along` @ deviations, its coefficient x @ mix.
    """
    count, unit = len(X), torch.eye(len(X), dtype=torch.float64)
    inner = X @ X.T
    best, chosen = math.inf, unit
    for ridge in _RIDGES:
        inverse = torch.linalg.inv(inner + ridge * count * unit)
        left = unit - inner @ inverse
        score = float(torch.trace(left @ gram @ left.T) / (torch.trace(left) / count) ** 2)
        if score < best:
            best, chosen = score, inverse
    hat = inner @ chosen
    values, vectors = torch.linalg.eigh(hat @ gram @ hat.T)
    top = torch.arange(count - 1, count - 1 - rank, -1)
    U = vectors[:, top]
    mix = X.T @ chosen @ gram @ hat.T @ U / values[top].clamp_min(1e-30)
    return mix, (U.T @ hat).float()
