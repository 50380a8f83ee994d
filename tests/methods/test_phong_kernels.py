"""SplattingAvatar posed by kernels is the plain one, in values and gradients; on a GPU, or in triton's interpreter."""

import os
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from headbench.harness.kernels import SWITCH
from headbench.harness.types import HeadParams, map_tensors
from headbench.methods.splattingavatar import SplattingAvatar

DEVICE = "cpu" if os.environ.get("TRITON_INTERPRET") == "1" else "cuda"
NEAR = {torch.float32: 3e-4, torch.float64: 1e-9}
FIELDS = ("means", "quats", "scales", "opacities", "colours")
CASES = [("official", {}), ("fateavatar", {"mesh_scaling": "none"}), ("fixed", {}), ("fixed", {"units": 3.0})]


def shaken(avatar: SplattingAvatar, dtype: torch.dtype) -> SplattingAvatar:
    rng = torch.Generator().manual_seed(0)
    spread = {"displacement": 0.02, "shift": 0.1, "scaling": 0.3}
    with torch.no_grad():
        for name in avatar.table.names():
            column = avatar.table[name]
            column.add_(torch.randn(column.shape, generator=rng, dtype=column.dtype) * spread.get(name, 0.7))
    return avatar.to(DEVICE, dtype)


@pytest.fixture
def turned(tiny_params: Callable[[int], HeadParams]) -> HeadParams:
    """Two poses; in one the head has turned so far that quaternions of its faces differ in sign."""
    params = HeadParams.join([tiny_params(3), tiny_params(4)])
    params.root[1] = torch.tensor([0.0, 3.1, 0.2])
    return params


def driven(avatar: SplattingAvatar, params: HeadParams) -> list[Tensor]:
    """Gaussians, what density control reads, and the gradients of all columns."""
    gaussians = avatar.drive(params).gaussians
    found = [getattr(gaussians, name).expand(2, *getattr(gaussians, name).shape[-2:]) for name in FIELDS[:3]]
    found += [gaussians.opacities, gaussians.colours]
    rng = torch.Generator().manual_seed(1)
    weights = [torch.randn(v.shape, generator=rng, dtype=torch.float64).to(v) for v in found]
    total = sum((v * w).sum() for v, w in zip(found, weights, strict=True))
    slopes = torch.autograd.grad(total, list(avatar.table.parameters()))
    return [*(v.detach() for v in found), avatar.growth.clone(), avatar.posed.clone(), *slopes]


@pytest.mark.gpu
@pytest.mark.parametrize("dtype", NEAR, ids=str)
@pytest.mark.parametrize(("which", "changes"), CASES)
def test_gaussians_of_the_kernels_are_the_plain_ones(
    embedded: Any, turned: HeadParams, which: str, changes: dict[str, Any], dtype: torch.dtype, monkeypatch
) -> None:
    avatar = shaken(embedded(which, **changes), dtype)
    params = map_tensors(turned, lambda t: t.to(DEVICE, dtype))
    found = {}
    for switch in ("0", "+phong"):
        monkeypatch.setenv(SWITCH, switch)
        assert (avatar.mesh.pose(avatar.head.vertices(params)).module is None) == (switch == "0")
        found[switch] = driven(avatar, params)
    assert avatar.growth.std() > 0
    for number, (mine, theirs) in enumerate(zip(found["+phong"], found["0"], strict=True)):
        largest = theirs.abs().max().item()
        message = lambda text, number=number: f"{number}: {text}"  # noqa: E731
        torch.testing.assert_close(mine, theirs, rtol=NEAR[dtype], atol=0.05 * NEAR[dtype] * largest, msg=message)


@pytest.mark.gpu
def test_a_mesh_that_wants_gradients_is_left_to_torch(embedded: Any, turned: HeadParams, monkeypatch) -> None:
    monkeypatch.setenv(SWITCH, "+phong")
    avatar = embedded("official").to(DEVICE)
    params = map_tensors(turned, lambda t: t.to(DEVICE).requires_grad_())
    posed = avatar.drive(params)
    (slope,) = torch.autograd.grad(posed.gaussians.means.sum(), params.root)
    assert bool((slope != 0).any())
