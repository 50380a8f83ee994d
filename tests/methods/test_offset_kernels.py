"""Gaussians changed by a network's outputs in kernels are the plain ones; on a GPU, or in triton's interpreter."""

import os
from typing import Any

import pytest
import torch

from headbench.harness.kernels import SWITCH, kernels
from headbench.harness.types import HeadParams, map_tensors
from headbench.methods.flashavatar import FlashAvatar

DEVICE = "cpu" if os.environ.get("TRITON_INTERPRET") == "1" else "cuda"
NEAR = {torch.float32: 3e-4, torch.float64: 1e-9}
FIELDS = ("means", "quats", "scales", "opacities")


@pytest.mark.gpu
@pytest.mark.parametrize("dtype", NEAR, ids=str)
@pytest.mark.parametrize(("change", "poses"), [("exponent", (3, 4)), ("factor", (3, 4)), ("exponent", (3,))])
def test_the_kernels_change_gaussians_as_plain_torch(
    flash: Any,
    tiny_params: Any,
    change: str,
    poses: tuple[int, ...],
    dtype: torch.dtype,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    avatar: FlashAvatar = flash(scale_change=change).to(DEVICE, dtype)
    params: HeadParams = map_tensors(
        HeadParams.join([tiny_params(pose) for pose in poses]), lambda t: t.to(DEVICE, dtype).requires_grad_()
    )
    rng = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in avatar.parameters():
            noise = torch.randn(parameter.shape, generator=rng, dtype=torch.float64)
            parameter.add_(0.1 * noise.to(parameter))
    found = {}
    for switch in ("0", "+offsets,+activation"):
        monkeypatch.setenv(SWITCH, switch)
        assert (kernels("offsets", torch.device(DEVICE)) is None) == (switch == "0")
        gaussians = avatar.drive(params).gaussians
        values = [getattr(gaussians, name) for name in FIELDS]
        weights = torch.Generator().manual_seed(1)
        total = sum((v * torch.randn(v.shape, generator=weights, dtype=torch.float64).to(v)).sum() for v in values)
        asked = [avatar.table[name] for name in ("rotation", "scaling", "opacity")]
        asked += [*avatar.network.parameters(), params.root, params.expression]
        found[switch] = [*values, *torch.autograd.grad(total, asked)]
    for number, (mine, theirs) in enumerate(zip(found["+offsets,+activation"], found["0"], strict=True)):
        assert bool((theirs != 0).any()), number
        largest = theirs.abs().max().item()
        torch.testing.assert_close(mine, theirs, rtol=NEAR[dtype], atol=0.05 * NEAR[dtype] * largest)


@pytest.mark.gpu
def test_offsets_in_the_frame_of_the_head_are_left_to_torch(
    flash: Any, tiny_params: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    avatar: FlashAvatar = flash(offset_frame="head").to(DEVICE)
    params = map_tensors(tiny_params(3), lambda t: t.to(DEVICE))
    found = []
    for switch in ("-offsets", "+offsets"):
        monkeypatch.setenv(SWITCH, switch)
        found.append(avatar.drive(params).gaussians.means.detach())
    torch.testing.assert_close(found[0], found[1], rtol=0, atol=0)
