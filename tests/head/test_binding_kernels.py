"""Gaussians that kernels bind to triangles are the plain ones, in values and gradients; on a GPU, or interpreted."""

import os
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from headbench.harness.blocks.binding import in_frames, on_faces
from headbench.harness.kernels import SWITCH

DEVICE = "cpu" if os.environ.get("TRITON_INTERPRET") == "1" else "cuda"
GAUSSIANS, FACES, VERTICES = 300, 150, 90
NEAR = {torch.float32: 2e-4, torch.float64: 1e-9}
RULES = [(bound, raw, grows) for bound in (None, 0.3) for raw in (False, True) for grows in (False, True)]


def mesh(batch: int, dtype: torch.dtype) -> tuple[Tensor, Tensor, Tensor]:
    """Random vertices, triangles, and the triangle of each Gaussian: some have none, some have several."""
    rng = torch.Generator().manual_seed(0)
    faces = torch.stack([torch.randperm(VERTICES, generator=rng)[:3] for _ in range(FACES)])
    index = torch.randint(FACES, (GAUSSIANS,), generator=rng)
    vertices = torch.randn(batch, VERTICES, 3, generator=rng, dtype=torch.float64)
    return vertices.to(DEVICE, dtype), faces.to(DEVICE), index.to(DEVICE)


def columns(dtype: torch.dtype, *shapes: tuple[int, ...]) -> list[Tensor]:
    rng = torch.Generator().manual_seed(1)
    return [torch.randn(GAUSSIANS, *tail, generator=rng, dtype=torch.float64).to(DEVICE, dtype) for tail in shapes]


def values_and_gradients(work: Callable[..., list[Tensor]], leaves: list[Tensor], fixed: int) -> list[Tensor]:
    """What `work` makes of the leaves, and the gradient of a random sum of it; the first `fixed` leaves have none."""
    own = [leaf.clone().requires_grad_(number >= fixed) for number, leaf in enumerate(leaves)]
    found = work(*own)
    rng = torch.Generator().manual_seed(2)
    weights = [torch.randn(v.shape, generator=rng, dtype=torch.float64).to(v) for v in found]
    total = sum((v * w).sum() for v, w in zip(found, weights, strict=True))
    return [*(v.detach() for v in found), *torch.autograd.grad(total, own[fixed:])]


def assert_near(fused: list[Tensor], plain: list[Tensor], near: float) -> None:
    for number, (mine, theirs) in enumerate(zip(fused, plain, strict=True)):
        largest = theirs.abs().max().item()
        message = lambda text, number=number: f"{number}: {text}"  # noqa: E731
        torch.testing.assert_close(mine, theirs, rtol=near, atol=0.05 * near * largest, msg=message)


@pytest.mark.gpu
@pytest.mark.parametrize("dtype", NEAR)
@pytest.mark.parametrize("batch", [1, 3])
@pytest.mark.parametrize("fixed", [0, 1], ids=["mesh", "columns"])
def test_gaussians_in_frames(dtype: torch.dtype, batch: int, fixed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    vertices, faces, index = mesh(batch, dtype)
    leaves = [vertices, *columns(dtype, (3,), (3,), (4,), ())]
    sizes, found = {}, {}
    for switch in ("0", "+binding"):
        monkeypatch.setenv(SWITCH, switch)
        sizes[switch] = torch.zeros(FACES, dtype=dtype, device=DEVICE)

        def work(vertices: Tensor, *table: Tensor, size: Tensor = sizes[switch]) -> list[Tensor]:
            bound, metres = in_frames(vertices, faces, index, *table, size)
            return [*bound, metres]

        found[switch] = values_and_gradients(work, leaves, fixed)
    assert_near(found["+binding"], found["0"], NEAR[dtype])
    assert_near([sizes["+binding"]], [sizes["0"]], NEAR[dtype])
    assert sizes["0"].min() > 0


@pytest.mark.gpu
@pytest.mark.parametrize("dtype", NEAR)
@pytest.mark.parametrize("fixed", [0, 1], ids=["mesh", "columns"])
@pytest.mark.parametrize(("bound", "raw", "grows"), RULES)
def test_gaussians_on_faces(
    dtype: torch.dtype, fixed: int, bound: float | None, raw: bool, grows: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    vertices, faces, index = mesh(2, dtype)
    height, logs, quats, logits = columns(dtype, (), (3,), (4,), ())
    height[:20] *= 0.01
    bary = columns(dtype, (3,))[0].softmax(1)
    sizes = 1 + torch.rand(FACES, dtype=torch.float64).to(DEVICE, dtype)
    found = {}
    for switch in ("0", "+binding"):
        monkeypatch.setenv(SWITCH, switch)

        def work(vertices: Tensor, *table: Tensor) -> list[Tensor]:
            made = on_faces(vertices, faces, index, bary, *table, sizes, bound=bound, raw=raw, grows=grows)
            return [made.means, made.quats, made.scales.expand_as(made.means), made.opacities]

        found[switch] = values_and_gradients(work, [vertices, height, logs, quats, logits], fixed)
    assert_near(found["+binding"], found["0"], NEAR[dtype])


@pytest.mark.gpu
def test_degenerate_faces_zero_quaternions_and_results_that_nothing_reads(monkeypatch: pytest.MonkeyPatch) -> None:
    faces = torch.tensor([[0, 1, 2], [0, 0, 1]], device=DEVICE)
    vertices = torch.tensor([[[0.0, 0, 0], [1, 0, 0], [2, 0, 0]]], device=DEVICE)
    index = torch.arange(GAUSSIANS, device=DEVICE) % 2
    position, logs, quats, logits = columns(torch.float32, (3,), (3,), (4,), ())
    quats[0] = 0
    sizes = torch.tensor([0.0, 1.0], device=DEVICE)
    bary = torch.full((GAUSSIANS, 3), 1 / 3, device=DEVICE)
    found: dict[str, list[Tensor]] = {}
    for switch in ("0", "+binding"):
        monkeypatch.setenv(SWITCH, switch)
        leaf = quats.clone().requires_grad_()
        bound, _ = in_frames(vertices, faces, index, position, logs, leaf, logits)
        placed = on_faces(vertices, faces, index, bary, logits, logs, leaf, logits, sizes, bound=0.1)
        values = [*bound, *placed]
        (slope,) = torch.autograd.grad(bound.quats[0, :, 0].sum() + placed.quats[0, :, 1].sum(), leaf)
        found[switch] = [*(value.detach() for value in values), slope[1:]]
        assert bool(torch.isfinite(slope).all())
    assert_near(found["+binding"], found["0"], 1e-5)


@pytest.mark.gpu
def test_sums_at_vertices_have_no_fixed_order_so_determinism_takes_the_plain_ones(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv(SWITCH, "+binding")
    vertices, faces, index = mesh(1, torch.float32)
    table = columns(torch.float32, (3,), (3,), (4,), ())
    torch.use_deterministic_algorithms(True)
    try:
        moved = in_frames(vertices.clone().requires_grad_(), faces, index, *table)[0].means
        still = in_frames(vertices, faces, index, *(t.requires_grad_() for t in table))[0].means
    finally:
        torch.use_deterministic_algorithms(False)
    assert "InFrames" not in moved.grad_fn.name()
    assert "InFrames" in still.grad_fn.name()
