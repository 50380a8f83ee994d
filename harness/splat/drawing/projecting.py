"""Projection of 3D Gaussians by the kernels, as one autograd function; nothing in it waits for the device."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from headbench.harness.splat.drawing.library import Library, Work, zeros_like
from headbench.harness.splat.rasterizer import ALPHA_CUT, FRUSTUM_MARGIN, LOW_PASS, NEAR
from headbench.harness.types import Camera, Gaussians, ScreenStatistics

__all__ = ["project"]

_FIELDS = {"means": 3, "quats": 3, "scales": 3, "opacities": 2}
"""Name of a field -> its number of dimensions where each image has its own."""


def project(
    library: Library, gaussians: Gaussians, camera: Camera, statistics: ScreenStatistics | None = None
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Project N Gaussians into B images; gradients reach means, quats, scales and w2c.

    Args:
        library: the kernels.
        gaussians: float32, (B, N, ...), or (N, ...) where the images share a field.
        camera: B cameras of one image size.
        statistics: contiguous float32, to which the way back adds; None: it adds to none.

    Returns:
        means2d (B, N, 2) in pixels, depths (B, N) in metres, conics (B, N, 3) and radii (B, N, 2) int32; all are 0
        where a Gaussian is culled.
    """
    found: tuple[Tensor, Tensor, Tensor, Tensor] = _Project.apply(
        gaussians.means, gaussians.quats, gaussians.scales, gaussians.opacities, camera.w2c, camera.K,
        camera.width, camera.height, library, statistics,
    )  # fmt: skip
    return found


class _Project(torch.autograd.Function):
    """Autograd function of `project`."""

    @staticmethod
    def forward(
        ctx: Any,
        means: Tensor,
        quats: Tensor,
        scales: Tensor,
        opacities: Tensor,
        w2c: Tensor,
        K: Tensor,
        width: int,
        height: int,
        library: Library,
        statistics: ScreenStatistics | None,
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Project, and keep what the way back needs.

        Args:
            ctx: autograd's context.
            means: (B, N, 3) or (N, 3) metres.
            quats: (B, N, 4) or (N, 4) (w, x, y, z), of any length.
            scales: (B, N, 3) or (N, 3) metres.
            opacities: (B, N) or (N,) in [0, 1]; they count for what is culled, and get no gradient here.
            w2c: (B, 4, 4) world to camera.
            K: (B, 3, 3) intrinsics in pixels.
            width: of the images in pixels.
            height: of the images in pixels.
            library: the kernels.
            statistics: as in `project`.
        """
        images, count = len(w2c), means.shape[-2]
        fields = {"means": means, "quats": quats, "scales": scales, "opacities": opacities}
        work = Work(
            "projection",
            images=images,
            per_image=count,
            width=width,
            height=height,
            margin=FRUSTUM_MARGIN,
            low_pass=LOW_PASS,
            near=NEAR,
            cut=ALPHA_CUT,
            **{f"own_{name}": int(fields[name].ndim == own) for name, own in _FIELDS.items()},
        )
        work.hold(**{name: value.detach().contiguous() for name, value in fields.items()})
        work.hold(w2c=w2c.detach().contiguous(), K=K.detach().contiguous())
        radii = torch.empty((images, count, 2), dtype=torch.int32, device=means.device)
        means2d, depths, conics = (means.new_empty((images, count, *tail)) for tail in ((2,), (), (3,)))
        work.hold(radii=radii, means2d=means2d, depths=depths, conics=conics)
        library.run("project", work, means.device)
        work.release("means2d", "depths", "conics")
        ctx.work, ctx.library, ctx.statistics = work, library, statistics
        ctx.mark_non_differentiable(radii)
        return means2d, depths, conics, radii

    @staticmethod
    @once_differentiable
    def backward(
        ctx: Any, to_means2d: Tensor, to_depths: Tensor, to_conics: Tensor, _to_radii: Tensor
    ) -> tuple[Tensor | None, ...]:
        """Return the gradients of means, quats, scales and w2c; the other arguments have none.

        Args:
            ctx: autograd's context.
            to_means2d: (B, N, 2) gradient of the screen positions.
            to_depths: (B, N) gradient of the depths.
            to_conics: (B, N, 3) gradient of the conics.
        """
        work, held = ctx.work, ctx.work.tensors
        names = ("means", "quats", "scales", *(("w2c",) if ctx.needs_input_grad[4] else ()))
        found = zeros_like({f"to_{name}": held[name] for name in names})
        to_w2c = found.pop("to_w2c", None)
        work.hold(
            to_means2d=to_means2d.contiguous(),
            to_depths=to_depths.contiguous(),
            to_conics=to_conics.contiguous(),
            **found,
        )
        if to_w2c is not None:
            work.hold(to_cameras=to_w2c)
        if ctx.statistics is not None:
            work.hold(gradient_sums=ctx.statistics.gradient, visits=ctx.statistics.visits)
        ctx.library.run("project_back", work, to_means2d.device)
        work.release("to_means2d", "to_depths", "to_conics", "to_cameras", "gradient_sums", "visits", *found)
        return *found.values(), None, to_w2c, None, None, None, None, None
