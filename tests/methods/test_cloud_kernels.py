"""Clouds that kernels move and activate are the plain ones, with their gradients; on a GPU, or interpreted."""

import os
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from headbench.harness.kernels import SWITCH
from headbench.methods.monogaussianavatar.deform import looks_of, pose_points

DEVICE = "cpu" if os.environ.get("TRITON_INTERPRET") == "1" else "cuda"
NEAR = {torch.float32: 2e-4, torch.float64: 1e-10}


def both(work: Callable[..., Tensor | tuple[Tensor, ...]], given: list[Tensor], patch: pytest.MonkeyPatch) -> None:
    found = []
    for switch in ("0", "+cloud"):
        patch.setenv(SWITCH, switch)
        inputs = [t.clone().requires_grad_() for t in given]
        out = work(*inputs)
        out = out if isinstance(out, tuple) else (out,)
        fused = out[0].grad_fn.name() in ("_LooksBackward", "_MoveBackward")
        assert fused == (switch != "0"), out[0].grad_fn.name()
        rng = torch.Generator().manual_seed(9)
        pull = [torch.randn(t.shape, generator=rng, dtype=torch.float64).to(t) for t in out]
        found.append([*(t.detach() for t in out), *torch.autograd.grad(out, inputs, pull)])
    for mine, plain in zip(found[1], found[0], strict=True):
        near = NEAR[plain.dtype]
        torch.testing.assert_close(mine, plain, rtol=near, atol=near * float(plain.abs().max()))


@pytest.mark.gpu
@pytest.mark.parametrize("dtype", NEAR, ids=str)
@pytest.mark.parametrize("over", [True, False])
@pytest.mark.parametrize("batch", [1, 3])
def test_looks(batch: int, over: bool, dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = torch.Generator().manual_seed(0)
    given = [torch.randn(batch, 150, n, generator=rng, dtype=torch.float64).to(DEVICE, dtype) for n in (3, 4, 1, 3)]
    # Some are long among the points, so that what the matrix shrinks to is not small.
    given[1][:, :3] *= 6
    radius = torch.tensor(0.08, device=DEVICE, dtype=dtype)
    both(lambda *inputs: looks_of(*inputs, radius, 0.025, 4.0, over), given, monkeypatch)


@pytest.mark.gpu
@pytest.mark.parametrize("dtype", NEAR, ids=str)
@pytest.mark.parametrize("batch", [1, 3])
def test_points_that_move(batch: int, dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = torch.Generator().manual_seed(0)

    def draw(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=rng, dtype=torch.float64).to(DEVICE, dtype)

    weights = draw(150, 6).softmax(-1)
    still = torch.eye(3, 4, device=DEVICE, dtype=dtype)
    rest, bones = still + 0.2 * draw(1, 6, 3, 4), still + 0.3 * draw(batch, 6, 3, 4)
    given = [draw(150, 3), 0.1 * draw(150, 24), draw(24, 3 * batch), weights, rest, bones]
    both(pose_points, given, monkeypatch)
