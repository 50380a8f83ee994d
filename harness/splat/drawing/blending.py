"""Drawing of projected Gaussians by the kernels, as one autograd function."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from headbench.harness.splat.drawing.library import BUCKET, PIXELS, TILE, Library, Work, zeros_like
from headbench.harness.splat.lists import Lists, counted
from headbench.harness.splat.rasterizer import ALPHA_CUT, TRANSMITTANCE_STOP, ScreenGradients

__all__ = ["Settings", "blend"]

_LISTS = (
    "tiles",
    "sorted_tiles",
    "ids",
    "keys",
    "sorted_keys",
    "rows",
    "sorted_rows",
    "counts",
    "ends",
    "scratch",
    "wanted",
)


@dataclass(frozen=True)
class Settings:
    """What a call does besides its tensors."""

    library: Library
    """The kernels."""
    width: int
    """Of the images in pixels."""
    height: int
    """Of the images in pixels."""
    alpha_max: float
    """Limit of a Gaussian's coverage of a pixel."""
    through: bool
    """Whether a coverage at its limit passes its gradient on."""
    screen: ScreenGradients
    """Takes the gradients of the projected means."""
    kept: bool
    """Whether a backward pass may follow."""
    lists: Lists | None = None
    """Capacity of the lists; None: as long as they have to be."""


def blend(
    means2d: Tensor,
    conics: Tensor,
    opacities: Tensor,
    colours: Tensor,
    background: Tensor,
    radii: Tensor,
    depths: Tensor,
    settings: Settings,
) -> tuple[Tensor, Tensor]:
    """Composite projected Gaussians, nearest first.

    Without a capacity of the lists one number is read back from the device, their length; with one nothing is.

    Args:
        means2d: (B, N, 2) float32 projected means in pixels.
        conics: (B, N, 3) float32 inverse 2D covariances, upper triangle (xx, xy, yy).
        opacities: (B, N) float32 in [0, 1].
        colours: (B, N, C) float32, C of 3 or 4 channels.
        background: (B, C) float32.
        radii: (B, N, 2) int32, 0 where culled; no other value of such a row is read.
        depths: (B, N) float32, positive.
        settings: sizes, limits and where gradients go.

    Returns:
        the images (B, C, H, W) and the coverage (B, H, W) by all Gaussians.
    """
    image, alpha = _Blend.apply(means2d, conics, opacities, colours, background, radii, depths, settings)
    return image, alpha


class _Blend(torch.autograd.Function):
    """Autograd function of `blend`."""

    @staticmethod
    def forward(
        ctx: Any,
        means2d: Tensor,
        conics: Tensor,
        opacities: Tensor,
        colours: Tensor,
        background: Tensor,
        radii: Tensor,
        depths: Tensor,
        settings: Settings,
    ) -> tuple[Tensor, Tensor]:
        """Draw, and keep what the way back needs; arguments as those of `blend`, and autograd's context `ctx`."""
        images, count, channels = colours.shape
        work = Work(
            "drawing",
            images=images,
            per_image=count,
            channels=channels,
            width=settings.width,
            height=settings.height,
            through=int(settings.through),
            absolute=int(settings.screen.wants_absolute),
            alpha_max=settings.alpha_max,
            cut=ALPHA_CUT,
            stop=TRANSMITTANCE_STOP,
        )
        inputs = {
            "means": means2d.detach(),
            "conics": conics.detach(),
            "opacities": opacities.detach(),
            "colours": colours.detach(),
            "background": background.detach(),
            "radii": radii,
            "depths": depths.detach(),
        }
        work.hold(**{name: tensor.contiguous() for name, tensor in inputs.items()})
        _list(work, settings)
        size = (settings.height, settings.width)
        image, alpha = colours.new_empty(images, channels, *size), colours.new_empty(images, *size)
        work.hold(image=image, alpha=alpha)
        if settings.kept:
            buckets = _most_buckets(work)
            work.hold(
                remaining=torch.empty_like(alpha),
                last=radii.new_empty(images, *size),
                state=colours.new_empty(buckets, channels + 1, PIXELS),
                bucket_tiles=radii.new_empty(buckets),
            )
        settings.library.run("blend", work, colours.device)
        # What is returned must not be kept by `ctx` itself: the two would hold each other, and all of the step's graph.
        work.release("image", "alpha")
        ctx.save_for_backward(image)
        ctx.work, ctx.settings = work, settings
        ctx.set_materialize_grads(False)
        return image, alpha

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, to_image: Tensor | None, to_alpha: Tensor | None) -> tuple[Tensor | None, ...]:
        """Return the gradients of `blend`'s arguments; those of radii, depths and settings do not exist.

        Args:
            ctx: autograd's context.
            to_image: (B, C, H, W) gradient of the images; None: zeros.
            to_alpha: (B, H, W) gradient of the coverage; None: zeros.
        """
        work, settings = ctx.work, ctx.settings
        held, (image,) = work.tensors, ctx.saved_tensors
        to_image = torch.zeros_like(image) if to_image is None else to_image
        names = ("means", "conics", "opacities", "colours", *(("absolute",) if settings.screen.wants_absolute else ()))
        found = zeros_like({f"to_{name}": held["means" if name == "absolute" else name] for name in names})
        work.hold(image=image, to_image=to_image.contiguous(), **found)
        if to_alpha is not None:
            work.hold(to_alpha=to_alpha.contiguous())
        settings.library.run("gradient", work, to_image.device)
        absolute = found.pop("to_absolute", None)
        settings.screen.fill(found["to_means"], absolute)
        to_background = (to_image * held["remaining"][:, None]).sum((2, 3)) if ctx.needs_input_grad[4] else None
        work.release("image", "to_image", "to_alpha", "to_absolute", *found)
        return *found.values(), to_background, None, None, None


def _list(work: Work, settings: Settings) -> None:
    """Make the lists of tiles and Gaussians; without a capacity the length is read back from the device in between."""
    radii = work.tensors["radii"]
    images, count = radii.shape[:2]
    device = radii.device

    def integers(*shape: int) -> Tensor:
        return torch.empty(shape, dtype=torch.int32, device=device)

    tiles = images * -(-settings.width // TILE) * -(-settings.height // TILE)
    work.hold(
        **{name: integers(images * count) for name in ("keys", "sorted_keys", "rows", "sorted_rows", "counts", "ends")}
    )
    work.hold(ranges=integers(tiles, 2), buckets=integers(1), bucket_ends=integers(tiles))
    lists = settings.lists
    if lists is not None:
        work.hold(wanted=lists.wanted)
    room = None if lists is None else lists.capacity
    work.table.capacity = room or 0
    _scratch(work, settings)
    settings.library.run("measure", work, device)
    if room is None:
        work.table.capacity = counted(int(work.tensors["ends"][-1]))
        _scratch(work, settings)
    capacity = work.table.capacity
    work.hold(**{name: integers(capacity) for name in ("tiles", "sorted_tiles", "ids", "sorted_ids")})
    settings.library.run("lists", work, device)
    work.release(*_LISTS)


def _scratch(work: Work, settings: Settings) -> None:
    """Give the kernels as much scratch memory as sorting needs for the sizes as they now are."""
    size = settings.library.scratch_bytes(work)
    work.hold(scratch=torch.empty(size, dtype=torch.uint8, device=work.tensors["radii"].device))
    work.table.scratch_bytes = size


def _most_buckets(work: Work) -> int:
    """Return a number of buckets that the lists never exceed: each tile may leave one of its own unfilled."""
    return work.table.capacity // BUCKET + len(work.tensors["ranges"])
