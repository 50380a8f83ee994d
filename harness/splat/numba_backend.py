"""Rasterizer for the CPU: numba kernels behind one autograd function."""

from __future__ import annotations

import threading
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from headbench.harness.splat import kernels, kernels_project
from headbench.harness.splat.rasterizer import (
    ALPHA_CUT,
    ALPHA_MAX,
    FRUSTUM_MARGIN,
    LOW_PASS,
    NEAR,
    RADIUS_SIGMAS,
    TRANSMITTANCE_STOP,
    Rasterizer,
    ScreenGradients,
    View,
    backdrop,
    unpack,
)
from headbench.harness.splat.sh import view_colours
from headbench.harness.types import Rendering

__all__ = ["NumbaRasterizer"]

# numba's built-in thread pool must not be entered by two threads of one process at once.
_kernels_run_alone = threading.RLock()


class NumbaRasterizer(Rasterizer):
    """Rasterizer on the CPU in float32, bit-equal for any number of threads; see `Rasterizer`.

    Every input has gradients: Gaussians, background, and the camera's w2c and K (without skew).

    Args:
        alpha_max: limit of a Gaussian's coverage of a pixel, below 1.
    """

    name = "numba"

    def __init__(self, alpha_max: float = ALPHA_MAX) -> None:
        self.alpha_max = alpha_max

    def rasterize(self, prepared: View, background: Tensor, absolute_gradient: bool = False) -> Rendering:
        """Project and composite Gaussians; see `Rasterizer.rasterize`."""
        gaussians, camera = prepared.gaussians, prepared.camera
        if gaussians.means.device.type != "cpu":
            raise ValueError(f"the numba rasterizer needs tensors on the cpu, got {gaussians.means.device}")
        scene = unpack(gaussians, camera)
        colours = view_colours(scene.means, scene.colours, gaussians.sh_degree, camera.w2c)
        screen = ScreenGradients(camera.width, camera.height, absolute_gradient)
        image, alpha, depth, radii = _Rasterize.apply(
            scene.means,
            scene.quats,
            scene.scales,
            scene.opacities,
            colours,
            backdrop(background, len(camera.w2c)),
            camera.w2c,
            camera.K,
            camera.width,
            camera.height,
            self.alpha_max,
            screen,
        )
        return Rendering(image, alpha, depth, radii > 0, screen, lambda: radii)


def _array(tensor: Tensor, dtype: Any = np.float32) -> np.ndarray:
    """Return a CPU tensor as a contiguous array of a data type, without its gradient."""
    return np.ascontiguousarray(tensor.detach().numpy(), dtype=dtype)


def _arrays(
    means: Tensor, quats: Tensor, scales: Tensor, w2c: Tensor, K: Tensor, background: Tensor
) -> tuple[tuple[np.ndarray, ...], tuple[np.ndarray, ...], np.ndarray]:
    """Convert tensors for the kernels: (means, quats, scales) in float32, (w2c, K) in float64, background in float32.

    Args:
        means: (B, N, 3) metres.
        quats: (B, N, 4) (w, x, y, z).
        scales: (B, N, 3) metres.
        w2c: (B, 4, 4) world to camera.
        K: (B, 3, 3) intrinsics in pixels.
        background: (B, 3) RGB.
    """
    cameras = _array(w2c, np.float64), _array(K, np.float64)
    return (_array(means), _array(quats), _array(scales)), cameras, _array(background)


class _Rasterize(torch.autograd.Function):
    """Autograd function that rasterizes Gaussians with RGB colours on the CPU: image, alpha, depth and radii."""

    @staticmethod
    def forward(
        ctx: Any,
        means: Tensor,
        quats: Tensor,
        scales: Tensor,
        opacities: Tensor,
        colours: Tensor,
        background: Tensor,
        w2c: Tensor,
        K: Tensor,
        width: int,
        height: int,
        alpha_max: float,
        screen: ScreenGradients,
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Rasterize, and keep what the backward pass needs.

        Args:
            ctx: autograd's context.
            means: (B, N, 3) metres.
            quats: (B, N, 4) (w, x, y, z), of any length.
            scales: (B, N, 3) metres, standard deviations.
            opacities: (B, N) in [0, 1].
            colours: (B, N, 3) RGB.
            background: (B, 3) RGB.
            w2c: (B, 4, 4) world to camera.
            K: (B, 3, 3) intrinsics in pixels.
            width: of the images in pixels.
            height: of the images in pixels.
            alpha_max: limit of a Gaussian's coverage.
            screen: filled with gradients on the screen in the backward pass.

        Returns:
            image (B, 3, H, W), alpha (B, 1, H, W), depth (B, 1, H, W), radii (B, N) in pixels.
        """
        batch, count = opacities.shape
        geometry, view, backdrop = _arrays(means, quats, scales, w2c, K, background)
        size = float(width), float(height)
        splats = np.empty((batch, count, kernels.WIDTH), np.float32)
        radii = np.empty((batch, count), np.float32)
        image = np.empty((batch, 3, height, width), np.float32)
        remaining, depth = np.empty((2, batch, height, width), np.float32)
        last = np.empty((batch, height, width), np.int32)
        tiles = (-(-width // kernels.TILE), -(-height // kernels.TILE))
        limits = np.float32(alpha_max), np.float32(ALPHA_CUT)
        with _kernels_run_alone:
            kernels_project.project(
                *geometry,
                _array(opacities),
                _array(colours),
                *view,
                *size,
                LOW_PASS,
                FRUSTUM_MARGIN,
                NEAR,
                ALPHA_CUT,
                RADIUS_SIGMAS,
                splats,
                radii,
            )
            order = np.argsort(splats[..., kernels.DEPTH], axis=1, kind="stable")
            offsets, ids = kernels.bin_tiles(splats, order, *tiles)
            kernels.blend(
                splats,
                offsets,
                ids,
                *tiles,
                backdrop,
                *limits,
                np.float32(TRANSMITTANCE_STOP),
                image,
                remaining,
                depth,
                last,
            )
        # Inputs go through autograd, which notices when one is changed in place before backward.
        ctx.save_for_backward(means, quats, scales, w2c, K, background)
        ctx.splats, ctx.pairs, ctx.tiles, ctx.size = splats, (offsets, ids), tiles, size
        ctx.ends, ctx.limits, ctx.screen = (remaining, last), limits, screen
        ctx.dtypes = [t.dtype for t in (means, quats, scales, opacities, colours, background, w2c, K)]
        marks = torch.from_numpy(radii)
        ctx.mark_non_differentiable(marks)
        outputs = (torch.from_numpy(image), torch.from_numpy(1 - remaining)[:, None], torch.from_numpy(depth)[:, None])
        return (*(t.to(means.dtype) for t in outputs), marks)  # type: ignore[return-value]

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, to_image: Tensor, to_alpha: Tensor, to_depth: Tensor, _radii: Tensor) -> tuple[Any, ...]:
        """Compute the gradients of all tensors of `forward`, and fill the gradients on the screen.

        Args:
            ctx: autograd's context.
            to_image: (B, 3, H, W) gradient of the image.
            to_alpha: (B, 1, H, W) gradient of alpha.
            to_depth: (B, 1, H, W) gradient of the depth.
            _radii: unused; radii have no gradient.
        """
        geometry, view, backdrop = _arrays(*ctx.saved_tensors)
        offsets, ids = ctx.pairs
        remaining, _ = ctx.ends
        batch, count = ctx.splats.shape[:2]
        outputs = _array(to_image), _array(to_alpha[:, 0]), _array(to_depth[:, 0])
        pairs = np.zeros((len(ids), kernels.GRADIENTS), np.float32)
        moved = [np.zeros_like(array) for array in geometry]
        chunks = -(-count // kernels_project.CHUNK)
        camera = np.zeros((batch, chunks, 16))
        with _kernels_run_alone:
            kernels.blend_backward(
                ctx.splats, offsets, ids, *ctx.tiles, backdrop, *ctx.limits, *ctx.ends, *outputs, pairs
            )
            gradients = kernels.gather_pairs(pairs, ids, batch * count).reshape(batch, count, kernels.GRADIENTS)
            kernels_project.project_backward(
                *geometry, ctx.splats, gradients, *view, *ctx.size, FRUSTUM_MARGIN, *moved, camera
            )
        flat = torch.from_numpy(gradients)
        ctx.screen.fill(flat[..., :2], flat[..., 10:] if ctx.screen.wants_absolute else None)
        to_w2c, to_K = _camera_gradients(camera.sum(1))
        to_background = (outputs[0] * remaining[:, None]).sum((2, 3), dtype=np.float64)
        results = [torch.from_numpy(array) for array in moved]
        results += [flat[..., kernels.OPACITY], flat[..., kernels.RED : kernels.BLUE + 1]]
        results += [torch.from_numpy(array) for array in (to_background, to_w2c, to_K)]
        return (*(r.to(dtype) for r, dtype in zip(results, ctx.dtypes, strict=True)), None, None, None, None)


def _camera_gradients(sums: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Convert the camera sums (B, 16) of `project_backward` to gradients of w2c (B, 4, 4) and K (B, 3, 3)."""
    to_w2c, to_K = np.zeros((len(sums), 4, 4)), np.zeros((len(sums), 3, 3))
    to_w2c[:, :3, :3], to_w2c[:, :3, 3] = sums[:, :9].reshape(-1, 3, 3), sums[:, 9:12]
    to_K[:, [0, 1, 0, 1], [0, 1, 2, 2]] = sums[:, 12:]
    return to_w2c, to_K
