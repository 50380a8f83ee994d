"""Canonical pose of a subject: mean expression, jaw opened, all else at rest."""

from __future__ import annotations

import torch

from headbench.harness.types import HeadParams, Identity

__all__ = ["CANONICAL_JAW", "canonical_params"]

CANONICAL_JAW = 0.2
"""Opening of the jaw, radians, of methods that have no canonical pose of their own: FateAvatar's."""


def canonical_params(identity: Identity, jaw: float) -> HeadParams:
    """Return head parameters of the mean training expression with the jaw opened by `jaw` radians, all else at rest."""
    zero = torch.zeros_like(identity.first.jaw)
    opened = zero.clone()
    opened[:, 0] = jaw
    return HeadParams(
        head=identity.head,
        expression=identity.mean_expression,
        root=zero,
        neck=zero,
        jaw=opened,
        eye_left=zero,
        eye_right=zero,
        translation=zero,
    )
