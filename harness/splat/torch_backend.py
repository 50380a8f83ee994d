"""Reference rasterizer in plain torch, which evaluates every Gaussian at every pixel.

Slow and memory-hungry (B x pixels x N), for small scenes only. It runs in float32 or float64, and every input has
gradients: Gaussians, background, and the camera's w2c and K.
"""

from __future__ import annotations

import torch
from torch import Tensor

from headbench.harness.splat.project import Projected, project
from headbench.harness.splat.rasterizer import (
    ALPHA_CUT,
    ALPHA_MAX,
    TRANSMITTANCE_STOP,
    Rasterizer,
    ScreenGradients,
    View,
    backdrop,
    unpack,
)
from headbench.harness.splat.sh import view_colours
from headbench.harness.types import Rendering

__all__ = ["TorchRasterizer"]


class TorchRasterizer(Rasterizer):
    """Reference rasterizer in plain torch, for tests and small scenes; see `Rasterizer`.

    Args:
        alpha_max: limit of a Gaussian's coverage of a pixel, below 1.
        through: whether a coverage at its limit passes its gradient on, as in the 2023 rasterizer; the derivative is 0.
    """

    name = "torch"

    def __init__(self, alpha_max: float = ALPHA_MAX, through: bool = False) -> None:
        self.alpha_max = alpha_max
        self.through = through

    def rasterize(self, prepared: View, background: Tensor, absolute_gradient: bool = False) -> Rendering:
        """Project and composite Gaussians; see `Rasterizer.rasterize`."""
        gaussians, camera = prepared.gaussians, prepared.camera
        scene = unpack(gaussians, camera)
        width, height = camera.width, camera.height
        seen = project(scene.means, scene.quats, scene.scales, scene.opacities, camera.w2c, camera.K, width, height)
        colours = view_colours(scene.means, scene.colours, gaussians.sh_degree, camera.w2c)
        screen = ScreenGradients(width, height, absolute_gradient)

        order = torch.argsort(seen.depths.detach(), dim=1, stable=True)
        weights, left = self._weights(seen, scene.opacities, order, width, height, screen)
        values = torch.cat([colours, seen.depths[..., None]], -1)
        values = torch.gather(values, 1, order[..., None].expand_as(values))
        blended = weights @ values
        image = blended[..., :3] + left[..., None] * backdrop(background, len(camera.w2c))[:, None]

        def planes(pixels: Tensor) -> Tensor:
            return pixels.transpose(1, 2).unflatten(2, (height, width))

        return Rendering(
            image=planes(image),
            alpha=planes(1 - left[..., None]),
            depth=planes(blended[..., 3:]),
            visible=seen.visible,
            screen=screen,
            measure=lambda: seen.radii,
        )

    def _weights(
        self, seen: Projected, opacities: Tensor, order: Tensor, width: int, height: int, screen: ScreenGradients
    ) -> tuple[Tensor, Tensor]:
        """Return blending weights (B, pixels, N), Gaussians in `order`, and the transmittance left (B, pixels).

        Args:
            seen: the projected Gaussians.
            opacities: (B, N) in [0, 1].
            order: (B, N) int64, Gaussians by depth.
            width: of the images in pixels.
            height: of the images in pixels.
            screen: filled with gradients on the screen in the backward pass.
        """
        means2d = _copy_per_pixel(seen.means2d, width * height, screen)
        means2d = means2d.gather(2, order[:, None, :, None].expand_as(means2d))
        a, b, c = seen.conics.gather(1, order[..., None].expand_as(seen.conics))[:, None].unbind(-1)
        opacity = torch.where(seen.visible, opacities, torch.zeros_like(opacities)).gather(1, order)[:, None]

        v, u = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
        pixels = (torch.stack([u, v], -1).reshape(1, -1, 1, 2) + 0.5).to(means2d)
        dx, dy = (pixels - means2d).unbind(-1)
        falloff = torch.exp(-0.5 * (a * dx * dx + c * dy * dy) - b * dx * dy)
        raw = opacity * falloff
        alpha = raw.clamp_max(self.alpha_max)
        if self.through:
            alpha = raw + (alpha - raw).detach()
        alpha = torch.where(alpha >= ALPHA_CUT, alpha, torch.zeros_like(alpha))

        with torch.no_grad():
            live = torch.cumprod(1 - alpha, -1) > TRANSMITTANCE_STOP
        alpha = torch.where(live, alpha, torch.zeros_like(alpha))
        after = torch.cumprod(1 - alpha, -1)
        before = torch.cat([after.new_ones(*after.shape[:-1], 1), after], -1)
        return alpha * before[..., :-1], before[..., -1]


def _copy_per_pixel(means2d: Tensor, pixels: int, screen: ScreenGradients) -> Tensor:
    """Return copies (B, pixels, N, 2) of the projected means, so that gradients can be read pixel by pixel."""
    copies = means2d[:, None].expand(-1, pixels, -1, -1)
    if torch.is_grad_enabled():
        copies = copies.clone() if copies.requires_grad else copies.clone().requires_grad_()
        copies.register_hook(lambda g: screen.fill(g.sum(1), g.abs().sum(1) if screen.wants_absolute else None))
    return copies
