"""Loss of a page's Gaussians against the avatar's own pictures, in dB."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import torch

from headbench.export.poses import Pose
from headbench.export.source import Source
from headbench.export.splats import Splats
from headbench.harness.types import Gaussians, map_tensors

__all__ = ["drawable", "least_psnr"]

_SIDE = 256
"""Side in pixels of the pictures that are compared."""
_PICTURES = 5


@torch.no_grad()
def least_psnr(source: Source, frames: Sequence[Pose], gaussians: Callable[[int], Gaussians]) -> float:
    """PSNR in dB of pictures of `gaussians` against the avatar's in the same frames: the least of at most five.

    Args:
        source: the avatar.
        frames: T of them.
        gaussians: gives those of a frame by its number.
    """
    count, session = len(frames), source.session
    found = []
    for number in sorted({k * (count - 1) // (_PICTURES - 1) for k in range(_PICTURES)}):
        pose, white = frames[number], torch.ones(1, 3, device=session.device)
        camera = pose.camera.resized(_SIDE, _SIDE).to(session.device)
        own = session.render(pose.params, camera, "white", "float32").clamp(0, 1)
        page = session.rasterizer(
            map_tensors(gaussians(number), lambda t: t.to(session.device)), camera, white
        ).image.clamp(0, 1)
        found.append(float((own - page).square().mean()))
    return -10 * math.log10(max(*found, 1e-12))


def drawable(splats: Splats) -> Gaussians:
    """Splats as a rasterizer takes them."""

    def on(array: object) -> torch.Tensor:
        return torch.as_tensor(array, dtype=torch.float32)

    return Gaussians(
        on(splats.means),
        on(splats.quats),
        on(splats.log_scales).exp(),
        on(splats.opacities),
        on(splats.sh),
        splats.degree,
    )
