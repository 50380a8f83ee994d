"""Interface of all rasterizers, and the constants of 3D Gaussian splatting that the back ends share."""

from __future__ import annotations

import abc
from dataclasses import dataclass
from typing import Any, Final

import torch
from torch import Tensor

from headbench.harness.errors import BenchError
from headbench.harness.splat.lists import Lists
from headbench.harness.types import Camera, Gaussians, Rendering, ScreenStatistics

__all__ = [
    "ALPHA_CUT",
    "ALPHA_MAX",
    "FRUSTUM_MARGIN",
    "GSPLAT_ALPHA_MAX",
    "LOW_PASS",
    "NEAR",
    "RADIUS_SIGMAS",
    "TRANSMITTANCE_STOP",
    "Rasterizer",
    "Scene",
    "ScreenGradients",
    "View",
    "backdrop",
    "unpack",
]

LOW_PASS: Final = 0.3
"""Low-pass filter: added to the diagonal of each projected covariance, in pixels squared."""
ALPHA_MAX: Final = 0.99
"""Limit of a Gaussian's coverage of a pixel: min(0.99, opacity * falloff) in the 2023 rasterizer."""
GSPLAT_ALPHA_MAX: Final = 0.999
"""Limit of a Gaussian's coverage that gsplat 1.5 has compiled in; it cannot be set, so that back end differs."""
ALPHA_CUT: Final = 1.0 / 255.0
"""Coverage below which a Gaussian is skipped at a pixel; it also bounds how far a Gaussian reaches."""
TRANSMITTANCE_STOP: Final = 1e-4
"""Transmittance at which a pixel is finished: the Gaussian that would leave this or less is left out."""
NEAR: Final = 0.2
"""Depth below which Gaussians are culled by their centre, in metres along the optical axis."""
FRUSTUM_MARGIN: Final = 0.3
"""Limit of where the projection's Jacobian is taken: this share of tan(fov / 2) beyond the image's edges.

With a centred principal point this is the 2023 rasterizer's limit of 1.3 tan(fov / 2); off centre it is gsplat's.
"""
RADIUS_SIGMAS: Final = 3.0
"""Standard deviations of the longer axis that `Rendering.radii` has, rounded up, as in the 2023 rasterizer."""


class Rasterizer(abc.ABC):
    """Rasterizer of 3D Gaussians, differentiable; `make_rasterizer` returns one.

    Example:
        >>> from headbench.harness.types import Gaussians
        >>> size, white = torch.full((1, 3), 0.05), torch.ones(1, 3)
        >>> one = Gaussians(torch.zeros(1, 3), torch.eye(4)[:1], size, torch.ones(1), white)
        >>> rendering = make_rasterizer("torch")(one, frame.camera, background=torch.zeros(3))
        >>> rendering.image.shape, bool(rendering.visible.all())
        (torch.Size([1, 3, 32, 32]), True)
    """

    name: str
    """Name of the back end: torch, numba or gsplat."""
    alpha_max: float
    """Limit of a Gaussian's coverage of a pixel that this back end applies."""
    recordable: bool = False
    """True if `rasterize_within` and its gradient never wait for the device, so that a CUDA graph can record them."""
    collects: bool = False
    """True if `prepare_collecting` has the way back add to statistics."""

    def __call__(
        self, gaussians: Gaussians, camera: Camera, background: Tensor, absolute_gradient: bool = False
    ) -> Rendering:
        """Render Gaussians as B cameras see them.

        Args:
            gaussians: (B, N, ...), or (N, ...) shared by the batch; N may be 0.
            camera: B cameras of one image size.
            background: (B, 3) or (3,) in [0, 1].
            absolute_gradient: also collect `Rendering.screen.absolute()`.

        Raises:
            ValueError: a shape does not fit the others.
        """
        return self.rasterize(self.prepare(gaussians, camera), background, absolute_gradient)

    def prepare(self, gaussians: Gaussians, camera: Camera) -> Any:
        """Do the part of rendering that never waits for the device, so that a CUDA graph can record it.

        Args:
            gaussians: (B, N, ...), or (N, ...) shared by the batch.
            camera: B cameras of one image size.

        Returns:
            a dataclass of tensors for `rasterize`, differentiable: by default a `View`, on gsplat projected Gaussians.
        """
        return View(gaussians, camera)

    def prepare_collecting(self, gaussians: Gaussians, camera: Camera, statistics: ScreenStatistics | None) -> Any:
        """Prepare as `prepare` does, and have the way back add to statistics; only a back end that `collects` can.

        Args:
            gaussians: (B, N, ...), or (N, ...) shared by the batch.
            camera: B cameras of one image size.
            statistics: of the N Gaussians; None: nothing is added.
        """
        if statistics is None:
            return self.prepare(gaussians, camera)
        raise NotImplementedError(f"the {self.name} rasterizer collects no statistics")

    @abc.abstractmethod
    def rasterize(self, prepared: Any, background: Tensor, absolute_gradient: bool = False) -> Rendering:
        """Composite prepared Gaussians into images.

        Args:
            prepared: what `prepare` returned.
            background: (B, 3) or (3,) in [0, 1].
            absolute_gradient: also collect `Rendering.screen.absolute()`.
        """

    def rasterize_within(
        self, prepared: Any, background: Tensor, lists: Lists, absolute_gradient: bool = False
    ) -> Rendering:
        """Composite prepared Gaussians by lists of a given capacity; only a `recordable` back end can.

        Args:
            prepared: what `prepare` returned.
            background: (B, 3) or (3,) in [0, 1].
            lists: their capacity; learns what was wanted of them, and the picture counts only if that was there.
            absolute_gradient: also collect `Rendering.screen.absolute()`.
        """
        raise NotImplementedError(f"the {self.name} rasterizer is not recordable")


@dataclass(frozen=True)
class View:
    """Gaussians and the cameras that see them, not projected yet."""

    gaussians: Gaussians
    camera: Camera


@dataclass(frozen=True)
class Scene:
    """Gaussians whose every field has the batch dimension (views, not copies)."""

    means: Tensor
    """(B, N, 3) centres in metres."""
    quats: Tensor
    """(B, N, 4) rotations as quaternions (w, x, y, z)."""
    scales: Tensor
    """(B, N, 3) standard deviations in metres."""
    opacities: Tensor
    """(B, N) opacities in [0, 1]."""
    colours: Tensor
    """(B, N, 3) RGB, or (B, N, K, 3) spherical-harmonics coefficients."""


def backdrop(background: Tensor, batch: int) -> Tensor:
    """Return a background colour (B, 3) or (3,) as (B, 3), a view.

    Raises:
        ValueError: its shape does not fit the batch.
    """
    if background.ndim == 1:
        background = background.expand(batch, -1)
    _expect("background", background, (batch, 3))
    return background


def unpack(gaussians: Gaussians, camera: Camera) -> Scene:
    """Check the shapes of Gaussians and cameras against each other, and expand fields that the batch shares.

    Raises:
        ValueError: a shape does not fit the others; names the field, what was expected and what was got.
    """
    batch = camera.w2c.shape[0]
    count = gaussians.means.shape[-2]
    _expect("camera.w2c", camera.w2c, (batch, 4, 4))
    _expect("camera.K", camera.K, (batch, 3, 3))

    def batched(name: str, value: Tensor, tail: tuple[int, ...]) -> Tensor:
        if value.ndim == 1 + len(tail):
            value = value.expand(batch, *value.shape)
        _expect(f"gaussians.{name}", value, (batch, count, *tail))
        return value

    if gaussians.sh_degree is None:
        colour_tail: tuple[int, ...] = (3,)
    else:
        coefficients = gaussians.colours.shape[-2] if gaussians.colours.ndim >= 3 else 0
        needed = (gaussians.sh_degree + 1) ** 2
        if not 0 <= gaussians.sh_degree <= 3 or coefficients < needed:
            raise ValueError(
                f"sh_degree {gaussians.sh_degree} needs 0 to 3 and gaussians.colours of shape (..., N, K, 3) with"
                f" K >= {needed}, got {tuple(gaussians.colours.shape)}"
            )
        colour_tail = (coefficients, 3)
    return Scene(
        means=batched("means", gaussians.means, (3,)),
        quats=batched("quats", gaussians.quats, (4,)),
        scales=batched("scales", gaussians.scales, (3,)),
        opacities=batched("opacities", gaussians.opacities, ()),
        colours=batched("colours", gaussians.colours, colour_tail),
    )


def _expect(name: str, value: Tensor, shape: tuple[int, ...]) -> None:
    """Raise ValueError where a tensor does not have the shape; `name` is for the message."""
    if tuple(value.shape) != shape:
        raise ValueError(f"{name} must have shape {shape}, got {tuple(value.shape)}")


class ScreenGradients:
    """Gradients with respect to projected means, which a back end fills in during backward; see `ScreenGradient`.

    Args:
        width: of the image in pixels.
        height: of the image in pixels.
        wants_absolute: whether absolute gradients are collected, too.
    """

    def __init__(self, width: int, height: int, wants_absolute: bool) -> None:
        self.wants_absolute = wants_absolute
        self._unit = (width / 2.0, height / 2.0)
        self._plain: Tensor | None = None
        self._absolute: Tensor | None = None

    def fill(self, plain: Tensor, absolute: Tensor | None) -> None:
        """Store the gradients (B, N, 2) per pixel of one backward pass; a later pass replaces them."""
        self._plain, self._absolute = plain, absolute

    def per_pixel(self) -> tuple[Tensor | None, Tensor | None]:
        """Return plain and absolute gradients (B, N, 2) per pixel; None for what is not there yet."""
        return self._plain, self._absolute

    def plain(self) -> Tensor:
        """Return the gradients (B, N, 2) as the signed sum over pixels; zero where not visible.

        Raises:
            BenchError: no backward has reached this rendering yet.
        """
        return self._in_upstream_unit(self.per_pixel()[0])

    def absolute(self) -> Tensor:
        """Return the gradients (B, N, 2) as the sum over pixels of absolute values.

        Raises:
            BenchError: it was not asked for, or no backward has reached this rendering yet.
        """
        if not self.wants_absolute:
            raise BenchError(
                "Absolute screen gradients were not collected.", help="call the rasterizer with absolute_gradient=True"
            )
        return self._in_upstream_unit(self.per_pixel()[1])

    def _in_upstream_unit(self, gradient: Tensor | None) -> Tensor:
        """Convert gradients (B, N, 2) per pixel to the 2023 rasterizer's unit: times (W / 2, H / 2)."""
        if gradient is None:
            raise BenchError(
                "Screen gradients were read before backward.", help="call backward on a loss of this rendering first"
            )
        # By numbers, not by a tensor of them: that would be a copy from the host, which waits for a GPU.
        x, y = gradient.detach().unbind(-1)
        return torch.stack([x * self._unit[0], y * self._unit[1]], -1)
