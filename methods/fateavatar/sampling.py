"""First places of FateAvatar's Gaussians on the mesh: a raster of the UV atlas, padded to a fixed number."""

from __future__ import annotations

import torch
from torch import Tensor

from headbench.harness.blocks.placement import random_barycentrics, uv_places
from headbench.harness.head import HeadModel, SubjectHead, face_frames
from headbench.harness.types import TrainView

from .config import FateAvatarConfig

__all__ = ["place", "seen_faces"]

_VIEWS = 64
"""Number of training frames, evenly spaced, that decide which faces are seen."""


def place(
    head: HeadModel, config: FateAvatarConfig, generator: torch.Generator, seen: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """Places of the first Gaussians on the mesh.

    Filled UV pixels come first in row-major order; faces of `seen` that no pixel hit follow at their centroids; then,
    with `config.fill`, points on the faces of uniformly sampled filled pixels, up to a full square. Faces of `seen` are
    never left out, so N is above the square where they need it.

    Args:
        head: its UV atlas is rasterized.
        config: number and distribution of the points.
        generator: on the CPU.
        seen: (F,) bool, faces that must get a Gaussian; None: none must.

    Returns:
        (face_index (N,), barycentrics (N, 3)), on the CPU.

    Raises:
        BenchError: the head model has no UV atlas.
    """
    side = int(config.num_points**0.5)
    faces, bary = uv_places(head, side, "FateAvatar")
    filled = faces
    if seen is not None:
        missed = (seen.cpu() & (torch.bincount(faces, minlength=len(seen)) == 0)).nonzero()[:, 0]
        faces, bary = torch.cat([faces, missed]), torch.cat([bary, bary.new_full((len(missed), 3), 1 / 3)])
    if not config.fill:
        return faces, bary
    missing = max(side * side - len(faces), 0)
    drawn = torch.randint(len(filled), (missing,), generator=generator)
    padding = random_barycentrics(missing, config.barycentrics, generator)
    return torch.cat([faces, filled[drawn]]), torch.cat([bary, padding])


def seen_faces(head: SubjectHead, train: TrainView) -> Tensor:
    """Faces that turn towards the camera, inside the image, in a sample of the training frames, (F,) bool.

    Occlusion is ignored, so the result holds every visible face and some more.

    Args:
        head: the head model bound to the subject.
        train: the training frames, up to 64 of which are sampled evenly.
    """
    step = max(len(train.frames) // _VIEWS, 1)
    seen = torch.zeros(len(head.faces), dtype=torch.bool, device=head.faces.device)
    for frame in train.frames[::step]:
        camera, params = frame.camera.to(seen.device), frame.params.to(seen.device)
        frames = face_frames(head.vertices(params), head.faces)
        R, t = camera.w2c[:, :3, :3], camera.w2c[:, :3, 3]
        centre = frames.centroid @ R.mT + t[:, None]
        normal = frames.raw_normal @ R.mT
        pixel = centre @ camera.K.mT
        pixel = pixel[..., :2] / pixel[..., 2:]
        size = pixel.new_tensor([camera.width, camera.height])
        inside = ((pixel >= 0) & (pixel <= size)).all(-1) & (centre[..., 2] > 0)
        seen |= (inside & ((normal * centre).sum(-1) < 0))[0]
    return seen
