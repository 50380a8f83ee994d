"""A synthetic subject in memory: coloured discs as images, random poses of a head model as tracking."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from headbench.harness.head import HeadModel
from headbench.harness.types import Batch, Camera, Frame, HeadParams, Pixels, Similarity, Subject

__all__ = ["SIZE", "Watch", "batch_of", "facing", "made_subject", "posed"]

SIZE = 32
"""Side of the square images in pixels."""
GIVEN = 60
"""Largest number of expression coefficients that the tracking has; FLAME has more."""


@dataclass
class Watch:
    """Notes the ids of test frames whose images somebody opened."""

    opened: list[str] = field(default_factory=list)


def posed(head: HeadModel, seed: int, lids: float | None = None, shift: Tensor | None = None) -> HeadParams:
    """Random pose of a head, B = 1: a random expression and small rotations.

    Args:
        head: whose tag and number of coefficients to take.
        seed: of the random numbers.
        lids: how far both eyelids are closed, 0 to 1; None: the tracker gives none.
        shift: (1, 3) metres that the posed head is moved by as a whole; None: not at all.
    """
    rng = torch.Generator().manual_seed(seed)
    expression = 0.3 * torch.randn(1, min(head.sizes[1], GIVEN), generator=rng)
    pose = {n: 0.1 * torch.randn(1, 3, generator=rng) for n in ("root", "neck", "jaw", "eye_left", "eye_right")}
    similarity = None if shift is None else Similarity(torch.ones(1), torch.eye(3)[None], shift)
    eyelids = None if lids is None else torch.full((1, 2), lids)
    return HeadParams(
        head.tag, expression, translation=torch.zeros(1, 3), eyelids=eyelids, similarity=similarity, **pose
    )


def facing(head: HeadModel, size: int = SIZE) -> Camera:
    """A camera one metre in front of the middle of a head, which fills the image of `size` x `size` pixels."""
    low, high = head.template.detach().cpu().amin(0), head.template.detach().cpu().amax(0)
    w2c = torch.diag(torch.tensor([1.0, -1.0, -1.0, 1.0]))
    w2c[:3, 3] = -w2c[:3, :3] @ ((low + high) / 2 + torch.tensor([0.0, 0.0, 1.0]))
    focal = 0.8 * size / float((high - low)[1])
    K = torch.tensor([[focal, 0.0, size / 2], [0.0, focal, size / 2], [0.0, 0.0, 1.0]])
    return Camera(w2c[None], K[None], size, size)


def made_subject(head: HeadModel, watch: Watch | None = None, frames: int = 3, size: int = SIZE) -> Subject:
    """Make a subject on a head model: training frames and one test frame, with masks for mouth and head.

    Args:
        head: drives it.
        watch: notes when the test frame's image is opened, which raises an error; None: it may be opened.
        frames: number of training frames.
        size: side of the images in pixels.
    """
    camera = facing(head, size)
    made = [
        Frame(f"{k:05d}", camera, posed(head, k + 1), _image(k, size), timestep=k, sequence="a")
        for k in range(frames + 1)
    ]
    last = made.pop()
    if watch is not None:
        last = replace(last, pixels=_forbidden(watch, last.id))
    return Subject("synthetic", "synthetic", head.tag, torch.zeros(1, head.sizes[0]), tuple(made), (last,))


def batch_of(params: HeadParams, camera: Camera, background: Tensor) -> Batch:
    """A training batch of one image of noise with masks for mouth and head.

    Args:
        params: B = 1.
        camera: B = 1; it has the image's size.
        background: (1, 3); its device is the batch's.
    """
    rng = torch.Generator().manual_seed(0)
    device = background.device
    image = torch.rand(1, 3, camera.height, camera.width, generator=rng).to(device)
    alpha = torch.ones(1, 1, camera.height, camera.width, device=device)
    return Batch(params, camera, image, alpha, background, ("a",), {"mouth": alpha, "head": alpha})


def _image(number: int, size: int) -> Callable[[], Pixels]:
    """Make a function that returns the image of a frame: a disc whose colour changes from side to side."""

    def read() -> Pixels:
        y, x = torch.meshgrid(torch.arange(size), torch.arange(size), indexing="ij")
        inside = (x - size / 2) ** 2 + (y - size / 2) ** 2 < (size / 2.6) ** 2
        red, green = 255 * x / size, 255 * y / size
        colour = torch.stack([red, green, torch.full_like(red, 40.0 + 20 * number)]).to(torch.uint8)
        alpha = (inside * 255).to(torch.uint8)[None]
        mouth = alpha * ((y > 0.6 * size) & (y < 0.8 * size))
        return Pixels(colour, alpha, {"mouth": mouth.to(torch.uint8), "head": alpha})

    return read


def _forbidden(watch: Watch, name: str) -> Callable[[], Pixels]:
    def read() -> Pixels:
        watch.opened.append(name)
        raise PermissionError(f"the image of test frame {name} is nobody's to open in training and rendering")

    return read
