"""The fused frames of triangles are the plain ones, in values and gradients; on a GPU, or in triton's interpreter."""

import os

import pytest
import torch

from headbench.harness.head.frames import face_frames
from headbench.harness.kernels import SWITCH

DEVICE = "cpu" if os.environ.get("TRITON_INTERPRET") == "1" else "cuda"
NAMES = ("R", "size", "centroid", "raw_normal")


def mesh(dtype: torch.dtype) -> tuple[torch.Tensor, torch.Tensor]:
    """Two poses of 300 random triangles over 90 vertices: all branches of the quaternion, none degenerate."""
    generator = torch.Generator().manual_seed(0)
    faces = torch.stack([torch.randperm(90, generator=generator)[:3] for _ in range(300)])
    return torch.randn(2, 90, 3, generator=generator).to(DEVICE, dtype), faces.to(DEVICE)


def frames_and_gradient(dtype: torch.dtype) -> tuple[list[torch.Tensor], torch.Tensor]:
    vertices, faces = mesh(dtype)
    leaf = vertices.requires_grad_()
    frames = face_frames(leaf, faces)
    found = [*(getattr(frames, name) for name in NAMES), frames.quats()]
    generator = torch.Generator().manual_seed(1)
    weights = [torch.randn(value.shape, generator=generator, dtype=torch.float64).to(DEVICE, dtype) for value in found]
    (gradient,) = torch.autograd.grad(sum((v * w).sum() for v, w in zip(found, weights, strict=True)), leaf)
    return [value.detach() for value in found], gradient


@pytest.mark.gpu
def test_the_fused_frames_are_the_plain_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(SWITCH, "0")
    exact, slope = frames_and_gradient(torch.float64)
    plain, plain_slope = frames_and_gradient(torch.float32)
    monkeypatch.setenv(SWITCH, "+frames")
    fused, gradient = frames_and_gradient(torch.float32)
    for name, mine, theirs, true in zip((*NAMES, "quats"), fused, plain, exact, strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-4, atol=1e-5, msg=lambda text, name=name: f"{name}: {text}")
        assert (mine - true).abs().max() < 2 * (theirs - true).abs().max() + 1e-6, name
    assert (exact[-1][..., 0] < 0.1).any() and (exact[-1].abs().argmax(-1).unique().numel() == 4)
    torch.testing.assert_close(gradient.double(), slope, rtol=1e-3, atol=1e-4 * slope.abs().max().item())
    assert (gradient - slope).abs().max() < 3 * (plain_slope - slope).abs().max() + 1e-5


@pytest.mark.gpu
def test_degenerate_faces_and_determinism_stay_with_what_they_were(monkeypatch: pytest.MonkeyPatch) -> None:
    faces = torch.tensor([[0, 1, 2], [0, 0, 1]], device=DEVICE)
    vertices = torch.tensor([[[0.0, 0, 0], [1, 0, 0], [2, 0, 0]]], device=DEVICE)
    found = {}
    for switch in ("0", "+frames"):
        monkeypatch.setenv(SWITCH, switch)
        frames = face_frames(vertices, faces)
        found[switch] = [frames.R, frames.size, frames.centroid, frames.raw_normal, frames.quats()]
    for plain, fused in zip(*found.values(), strict=True):
        torch.testing.assert_close(fused, plain)
    torch.use_deterministic_algorithms(True)
    try:
        assert face_frames(vertices, faces).known_quats is None, "sums at vertices have no fixed order in the kernel"
    finally:
        torch.use_deterministic_algorithms(False)
