"""Places on the Phong surface found by the kernel are those of plain torch; on a GPU, or in triton's interpreter."""

import os
from typing import Any

import pytest
import torch
from torch import Tensor

from headbench.harness.kernels import SWITCH, kernels
from headbench.methods.splattingavatar import SplattingAvatar, phong

DEVICE = "cpu" if os.environ.get("TRITON_INTERPRET") == "1" else "cuda"
NEAR = {torch.float32: 2e-5, torch.float64: 1e-9}


def sought(avatar: SplattingAvatar, count: int, spread: float, dtype: torch.dtype) -> tuple[Tensor, ...]:
    """Arguments of a search: points, corners, normals, barycentrics and heights to start from."""
    rng = torch.Generator().manual_seed(count)
    face = torch.randint(len(avatar.head.faces), (count,), generator=rng)
    bary = torch.rand(count, 3, generator=rng, dtype=torch.float64)
    bary = bary / bary.sum(1, keepdim=True)
    corners, normals = avatar.mesh.canonical_corners(face)
    height = torch.zeros(count, dtype=torch.float64)
    points = phong.phong_point(corners, normals, bary, height)
    points = points + spread * torch.randn(count, 3, generator=rng, dtype=torch.float64)
    return tuple(t.to(DEVICE, dtype) for t in (points, corners, normals, bary, height))


def found(monkeypatch: Any, switch: str, arguments: tuple[Tensor, ...]) -> Tensor:
    monkeypatch.setenv(SWITCH, switch)
    assert (kernels("descent", arguments[0].device) is None) == (switch == "0")
    return phong._descend(*arguments)


@pytest.mark.gpu
@pytest.mark.parametrize("dtype", NEAR, ids=str)
@pytest.mark.parametrize(("count", "spread"), [(0, 0.02), (1, 0.02), (33, 0.002), (1000, 0.02)])
def test_the_kernel_finds_what_torch_finds(
    embedded: Any, count: int, spread: float, dtype: torch.dtype, monkeypatch
) -> None:
    arguments = sought(embedded(num_points=4).double(), count, spread, dtype)
    mine, theirs = (found(monkeypatch, switch, arguments) for switch in ("+descent", "0"))
    assert mine.shape == (count, 3)
    torch.testing.assert_close(mine, theirs, rtol=NEAR[dtype], atol=NEAR[dtype])
    assert count == 0 or float(mine.abs().max()) > 1e-3


@pytest.mark.gpu
@pytest.mark.parametrize("still", [1e-9, 3e-3, 1.0])
def test_the_search_ends_for_all_points_where_torch_s_ends(embedded: Any, still: float, monkeypatch) -> None:
    """One point far away keeps the others going; a step's length of 1 ends the search after its first step."""
    monkeypatch.setattr(phong, "_STILL", still)
    arguments = sought(embedded(num_points=4).double(), 70, 0.005, torch.float64)
    arguments[0][69] += 0.1
    mine, theirs = (found(monkeypatch, switch, arguments) for switch in ("+descent", "0"))
    torch.testing.assert_close(mine, theirs, rtol=1e-9, atol=1e-9)
    assert (float(mine.abs().max()) <= 0.0101) == (still == 1.0)


@pytest.mark.gpu
def test_a_point_that_is_no_number_leaves_the_others_alone(embedded: Any, monkeypatch) -> None:
    arguments = sought(embedded(num_points=4).double(), 40, 0.02, torch.float64)
    arguments[0][3, 1] = torch.nan
    mine, theirs = (found(monkeypatch, switch, arguments) for switch in ("+descent", "0"))
    assert bool(mine[3].isnan().any())
    torch.testing.assert_close(mine, theirs, rtol=1e-9, atol=1e-9, equal_nan=True)
