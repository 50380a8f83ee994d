"""How much of a view counts: what the training frames did not show, seen steeply enough."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch
from scipy.ndimage import distance_transform_edt
from torch import Tensor
from torch.nn import functional

from headbench.harness.view_prior import PseudoView
from headbench.stages.complete.seen import eye_of, hits_of, vertex_normals

__all__ = ["weigh"]

_FLAT = 0.1
"""Cosine between normal and view below which a pixel counts less."""
_EDGE = 0.15
"""Height of the lower border of a view, as a share of it, in which what is below the jaw counts half."""


def weigh(views: Sequence[PseudoView], vertices: Tensor, faces: Tensor, seen: Tensor, jaw: float) -> list[PseudoView]:
    """Lower the confidences of views where training frames know better, and where a view is not to be trusted.

    On the head a pixel counts by one minus how far its place was seen, and less where the surface is seen at a steep
    angle; pixels of hair beside the mesh count as the mesh's nearest pixel. Beside the head the prior's confidence
    stays.

    Args:
        views: what the prior made.
        vertices: (V, 3) the carrier in the pose of the views, metres.
        faces: (F, 3) of the carrier.
        seen: (V,) how far each vertex was seen, 0 to 1.
        jaw: height y in metres below which is the neck.
    """
    fields = torch.cat([vertices, vertex_normals(vertices, faces), seen[:, None]], 1)
    return [_weigh(view, vertices, fields, faces, jaw) for view in views]


def _weigh(view: PseudoView, vertices: Tensor, fields: Tensor, faces: Tensor, jaw: float) -> PseudoView:
    """One view of `weigh`; `fields` (V, 7) are places, normals and how far they were seen."""
    camera = view.camera.to(vertices.device)
    hits = hits_of(vertices, faces, camera)
    hit = hits.face_index >= 0
    if not bool(hit.any()):
        return view
    corners = fields[faces[hits.face_index.clamp(min=0)]]
    place, normal, seen = (corners * hits.bary[:, :, None]).sum(1).split([3, 3, 1], dim=1)
    ways = functional.normalize(eye_of(camera) - place, dim=1)
    unseen = 1 - seen[:, 0]
    factor = unseen * ((functional.normalize(normal, dim=1) * ways).sum(1).abs() / _FLAT).clamp(max=1)
    rows = torch.arange(camera.height, device=factor.device).repeat_interleave(camera.width)
    low = (rows >= (1 - _EDGE) * camera.height) & (place[:, 1] < jaw)
    factor = torch.where(low, 0.5 * factor, factor)
    # Hair stands beside the mesh: the nearest pixel of the mesh says whether it was seen.
    beside = ~hit.reshape(camera.height, camera.width).cpu().numpy()
    row, column = distance_transform_edt(beside, return_distances=False, return_indices=True)
    nearest = torch.from_numpy((row * camera.width + column).ravel()).to(factor.device)
    factor = torch.where(hit, factor, unseen[nearest]).reshape(1, camera.height, camera.width).cpu()
    kept = view.matte.cpu() * factor + (1 - view.matte.cpu())
    return replace(view, confidence=(view.confidence.cpu() * kept).clamp(0, 1))
