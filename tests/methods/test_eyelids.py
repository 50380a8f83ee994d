"""Tracked eyelids: followed or passed over, as a method's option says."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch

from headbench.harness.head import HeadModel
from headbench.harness.types import HeadParams, Identity

MAKERS = {"FateAvatar": "fate", "GaussianAvatars": "rigged", "SplattingAvatar": "embedded", "FlashAvatar": "flash"}


@pytest.mark.parametrize("which", ["official", "fateavatar", "fixed"])
@pytest.mark.parametrize("name", MAKERS)
def test_lids_move_the_mesh_by_their_blendshapes_or_not_at_all(
    request: pytest.FixtureRequest,
    tiny_head: HeadModel,
    tiny_params: Callable[[int], HeadParams],
    name: str,
    which: str,
) -> None:
    rng = torch.Generator().manual_seed(0)
    tiny_head.eyelid_dirs = 0.01 * torch.randn(2, 42, 3, generator=rng)
    # The dome has no lids of teeth and no closed mouth, which do not matter here.
    avatar = request.getfixturevalue(MAKERS[name])(which, head_topology="open")
    opened = tiny_params(1)
    shut = replace(opened, eyelids=torch.tensor([[1.0, 0.4]]))
    moved = avatar.drive(shut).vertices - avatar.drive(opened).vertices
    followed = which == "fixed" or (name, which) == ("FlashAvatar", "official")
    assert avatar.config.eyelids is followed
    lids = 1.0 * tiny_head.eyelid_dirs[0] + 0.4 * tiny_head.eyelid_dirs[1]
    torch.testing.assert_close(moved, followed * lids[None], atol=1e-6, rtol=0)
    if not followed:
        assert torch.equal(avatar.drive(shut).gaussians.means, avatar.drive(opened).gaussians.means)


def test_a_head_bound_without_eyelids_has_no_such_blendshapes(
    tiny_head: HeadModel, tiny_identity: Identity, tiny_params: Any
) -> None:
    tiny_head.eyelid_dirs = torch.ones(2, 42, 3)
    bound = tiny_head.bind(tiny_identity, eyelids=False)
    assert bound.eyelid_dirs is None and tiny_head.bind(tiny_identity).eyelid_dirs is not None
    shut = replace(tiny_params(1), eyelids=torch.ones(1, 2))
    assert torch.equal(bound.vertices(shut), bound.vertices(tiny_params(1)))
