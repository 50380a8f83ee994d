"""The pose that several methods measure a subject's mesh in."""

from __future__ import annotations

import torch

from headbench.harness.types import HeadParams, Identity

__all__ = ["canonical_params"]


def canonical_params(identity: Identity, jaw: float) -> HeadParams:
    """The mean training expression with the jaw opened by `jaw` radians, everything else at rest."""
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
