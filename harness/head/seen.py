"""Which of a head's surface some frames show, and which pixels of other views show such surface."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from headbench.harness.head.sight import first_hits, visible
from headbench.harness.head.subject import SubjectHead
from headbench.harness.types import Camera, Frame, HeadParams

__all__ = ["GRAZING", "seen_pixels", "seen_vertices"]

GRAZING = 70.0
"""Largest angle in degrees between a surface's normal and the way to the camera at which it counts as seen."""
_SLACK = 2e-3
"""Depth in metres by which a vertex may lie behind the mesh and still be seen."""
_POSED = 16
"""Number of frames posed at a time."""


@torch.no_grad()
def seen_vertices(head: SubjectHead, frames: Sequence[Frame]) -> Tensor:
    """Find which vertices of a head at least one frame shows, (V,) bool.

    A frame shows a vertex that lies in the image, is not behind the mesh, and whose normal is at most `GRAZING` degrees
    from the way to the camera. Images are not read, so hair hides nothing.

    Args:
        head: the subject's head, on any device.
        frames: frames with their parameters and cameras, on the CPU.
    """
    faces, device = head.faces, head.faces.device
    seen = torch.zeros(int(faces.max()) + 1, dtype=torch.bool, device=device)
    for start in range(0, len(frames), _POSED):
        chosen = frames[start : start + _POSED]
        posed = head.vertices(HeadParams.join([frame.params for frame in chosen]).to(device))[:, : len(seen)]
        for vertices, frame in zip(posed, chosen, strict=True):
            camera = frame.camera.to(device)
            steep = facing(vertices, _normals(vertices, faces), camera) >= math.cos(math.radians(GRAZING))
            rows = (steep & ~seen).nonzero()[:, 0]
            seen[rows] = visible(vertices[rows], vertices, faces, camera, _SLACK).visible
    return seen


@torch.no_grad()
def seen_pixels(head: SubjectHead, frame: Frame, seen: Tensor) -> Tensor:
    """Find which pixels of a frame show surface whose vertices were seen, (1, H, W) bool on the CPU.

    A pixel beside the mesh, such as one of hair, is as the nearest pixel on the mesh. The inside of a surface was never
    seen. All is False where the mesh is not in the image.

    Args:
        head: the subject's head.
        frame: parameters and camera of the pixels; its image is not read.
        seen: (V,) bool, of `seen_vertices`.
    """
    from scipy.ndimage import distance_transform_edt

    camera = frame.camera.to(head.faces.device)
    vertices = head.vertices(frame.params.to(head.faces.device))[0]
    height, width = camera.height, camera.width
    y, x = torch.meshgrid(torch.arange(height) + 0.5, torch.arange(width) + 0.5, indexing="ij")
    hits = first_hits(torch.stack((x, y), -1).reshape(-1, 2).to(vertices), vertices, head.faces, camera)
    corners = head.faces[hits.face_index.clamp_min(0)]
    points = (hits.bary[..., None] * vertices[corners]).sum(1)
    outside = facing(points, _face_normals(vertices, corners), camera) > 0
    share = (hits.bary * seen[corners]).sum(1)
    label = ((share >= 0.5) & outside).reshape(height, width).cpu()
    beside = (hits.face_index < 0).reshape(height, width).cpu().numpy()
    if beside.all():
        return torch.zeros(1, height, width, dtype=torch.bool)
    nearest = distance_transform_edt(beside, return_distances=False, return_indices=True)
    rows, columns = (torch.from_numpy(index).long() for index in nearest)
    return label[rows, columns][None]


def facing(points: Tensor, normals: Tensor, camera: Camera) -> Tensor:
    """Cosines (N,) between normals (N, 3) at points (N, 3) and the way to a camera of B = 1."""
    rotation, shift = camera.w2c[0, :3, :3], camera.w2c[0, :3, 3]
    eye = -(rotation.T @ shift)
    return (torch.nn.functional.normalize(eye - points, dim=-1) * normals).sum(-1)


def _face_normals(vertices: Tensor, corners: Tensor) -> Tensor:
    """Unit normals (N, 3) of faces given by their vertex rows (N, 3)."""
    a, b, c = vertices[corners].unbind(1)
    return torch.nn.functional.normalize(torch.linalg.cross(b - a, c - a), dim=-1)


def _normals(vertices: Tensor, faces: Tensor) -> Tensor:
    """Unit normals (V, 3) of vertices (V, 3), weighted by the areas of their faces (F, 3)."""
    a, b, c = vertices[faces].unbind(1)
    across = torch.linalg.cross(b - a, c - a)
    total = torch.zeros_like(vertices).index_add_(0, faces.reshape(-1), across.repeat_interleave(3, dim=0))
    return torch.nn.functional.normalize(total, dim=-1)
