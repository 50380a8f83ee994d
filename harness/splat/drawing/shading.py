"""Colours by spherical harmonics by the kernels, as one autograd function; nothing in it waits for the device."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from headbench.harness.splat.drawing.library import Library, Work, zeros_like
from headbench.harness.types import Gaussians

__all__ = ["shade"]


def shade(library: Library, gaussians: Gaussians, w2c: Tensor, depths: Tensor | None) -> Tensor:
    """Return the colours of Gaussians as B cameras see them; gradients reach means, coefficients, w2c and depths.

    Args:
        library: the kernels.
        gaussians: float32, (B, N, ...), or (N, ...) where the images share a field; colours are coefficients.
        w2c: (B, 4, 4) world to camera.
        depths: (B, N) metres, as a fourth channel; None: there is none.

    Returns:
        (B, N, 3) or (B, N, 4).
    """
    found: Tensor = _Shade.apply(gaussians.means, gaussians.colours, w2c, depths, gaussians.sh_degree, library)
    return found


class _Shade(torch.autograd.Function):
    """Autograd function of `shade`."""

    @staticmethod
    def forward(
        ctx: Any, means: Tensor, coefficients: Tensor, w2c: Tensor, depths: Tensor | None, degree: int, library: Library
    ) -> Tensor:
        """Evaluate the harmonics, and keep what the way back needs.

        Args:
            ctx: autograd's context.
            means: (B, N, 3) or (N, 3) metres.
            coefficients: (B, N, K, 3) or (N, K, 3).
            w2c: (B, 4, 4) world to camera.
            depths: (B, N) metres, or None.
            degree: 0 to 3; K may be more than it needs.
            library: the kernels.
        """
        images, count, stored = len(w2c), means.shape[-2], coefficients.shape[-2]
        channels = 3 if depths is None else 4
        work = Work(
            "shading",
            images=images,
            per_image=count,
            degree=degree,
            stored=stored,
            channels=channels,
            own_means=int(means.ndim == 3),
            own_colours=int(coefficients.ndim == 4),
        )
        given = {"means": means, "coefficients": coefficients, "w2c": w2c}
        work.hold(**{name: value.detach().contiguous() for name, value in given.items()})
        if depths is not None:
            work.hold(depths=depths.detach().contiguous())
        colours = means.new_empty(images, count, channels)
        work.hold(colours=colours)
        if count:
            library.run("shade", work, means.device)
        work.release("colours", "depths")
        ctx.work, ctx.library = work, library
        return colours

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, to_colours: Tensor) -> tuple[Tensor | None, ...]:
        """Return the gradients of means, coefficients, w2c and depths; the other arguments have none.

        Args:
            ctx: autograd's context.
            to_colours: (B, N, C) gradient of the colours.
        """
        work, held = ctx.work, ctx.work.tensors
        names = ("means", "coefficients", *(("w2c",) if ctx.needs_input_grad[2] else ()))
        found = zeros_like({f"to_{name}": held[name] for name in names})
        to_w2c = found.pop("to_w2c", None)
        work.hold(to_colours=to_colours.contiguous(), **found)
        if to_w2c is not None:
            work.hold(to_cameras=to_w2c)
        if to_colours.numel():
            ctx.library.run("shade_back", work, to_colours.device)
        work.release("to_colours", "to_cameras", *found)
        to_depths = to_colours[..., 3] if ctx.needs_input_grad[3] else None
        to_means = found["to_means"] if work.table.degree else None
        return to_means, found["to_coefficients"], to_w2c, to_depths, None, None
