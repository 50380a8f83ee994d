"""Regions of a person in the image, from the posed head mesh: which pixel belongs to which, each to one."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from headbench.harness.head.seen import facing
from headbench.harness.head.sight import first_hits
from headbench.harness.head.subject import SubjectHead
from headbench.harness.types import Frame

__all__ = ["COUNTED", "REGIONS", "Region", "lacking", "region_labels"]

_Labels = NDArray[np.uint8]


class Region(NamedTuple):
    """Region of a person in the image."""

    name: str
    needs: tuple[str, ...]
    """Regions of the head model's mesh that it is made of."""
    colour: tuple[int, int, int]
    """Colour in pictures of the regions, sRGB from 0 to 255."""


REGIONS = (
    Region("face", ("face",), (246, 178, 107)),
    Region("eyes", ("eyes",), (61, 133, 198)),
    Region("mouth", ("lips",), (204, 65, 65)),
    Region("ears", ("ears",), (142, 124, 195)),
    Region("hair", ("scalp",), (106, 168, 79)),
    Region("bare-neck", ("neck", "boundary"), (160, 160, 160)),
    Region("cloth", ("boundary",), (120, 63, 4)),
)
"""Regions in the order of their labels, which are counted from 1."""
COUNTED: Mapping[str, tuple[str, ...]] = {"neck": ("bare-neck", "cloth")} | {
    each.name: (each.name,) for each in REGIONS
}
"""Region that scores are of -> regions of the image that it consists of; neck is neck and clothing together."""
_LABEL = {region.name: number for number, region in enumerate(REGIONS, 1)}
_OF_MESH = (
    ("face", "face"),
    ("face", "nose"),
    ("face", "forehead"),
    ("hair", "scalp"),
    ("bare-neck", "neck"),
    ("cloth", "boundary"),
    ("ears", "ears"),
    ("mouth", "lips"),
    ("mouth", "mouth_interior"),
    ("eyes", "eyes"),
)
"""Region of the image, and region of the mesh that belongs to it; later ones win where a vertex is in several."""
_LIDS = 0.015
"""Depth in metres by which skin may lie before an eyeball and still be of the eyes, as lids are."""


def lacking(regions: Collection[str]) -> dict[str, str]:
    """Region that scores are of -> region of the mesh that it needs and that a head model does not name.

    Args:
        regions: names of the head model's regions.

    Example:
        >>> lacking(["eyes", "mouth_interior"])["mouth"], "eyes" in lacking(["eyes"])
        ('lips', False)
    """
    needs = {each.name: each.needs for each in REGIONS} | {"neck": ("neck",)}
    return {name: need for name, each in needs.items() for need in each if need not in regions}


@torch.no_grad()
def region_labels(head: SubjectHead, frame: Frame) -> _Labels:
    """Label every pixel of a frame with its region, (H, W): 1 + its place in `REGIONS`, or 0.

    - A pixel has the region of the face of the mesh that its centre meets first, if that face is seen from outside.
    - eyes: besides eyeballs, all skin of the face that lies less than 15 mm before an eyeball: lids, open or closed.
    - mouth: besides lips, what is enclosed by them: teeth and the open mouth.
    - cloth: the strip along the mesh's lower end.
    - Beside the mesh, and where only its inside is seen, a pixel is as the nearest one on it where that is bare neck or
      cloth, so shoulders and clothing are cloth, and otherwise hair.

    What belongs to no person is for alpha to say, and images are not read: hair that falls before the face is face, as
    no parser is asked. A pixel is 0 where the mesh is not in the image, or has a region that the head model lacks.

    Args:
        head: the subject's head, of topology teeth, so that open mouths show some.
        frame: parameters and camera of the pixels.
    """
    from scipy.ndimage import binary_fill_holes, distance_transform_edt

    camera = frame.camera.to(head.faces.device)
    vertices = head.vertices(frame.params.to(head.faces.device))[0]
    height, width = camera.height, camera.width
    y, x = torch.meshgrid(torch.arange(height) + 0.5, torch.arange(width) + 0.5, indexing="ij")
    rays = torch.stack((x, y), -1).reshape(-1, 2).to(vertices)
    hits = first_hits(rays, vertices, head.faces, camera)
    met = hits.face_index.clamp_min(0)
    a, b, c = vertices[head.faces[met]].unbind(1)
    points = (hits.bary[..., None] * torch.stack((a, b, c), 1)).sum(1)
    outside = (hits.face_index >= 0) & (facing(points, torch.linalg.cross(b - a, c - a), camera) > 0)
    of_face = _face_labels(head.regions, head.faces)
    labels = torch.where(outside, of_face[met], 0)
    skin = (labels == _LABEL["face"]) | (labels == _LABEL["eyes"]) if "face" in head.regions else outside
    rows = skin.nonzero()[:, 0]
    balls = first_hits(rays[rows], vertices, head.faces[of_face == _LABEL["eyes"]], camera)
    labels[rows[balls.depth - hits.depth[rows] < _LIDS]] = _LABEL["eyes"]
    found: _Labels = labels.reshape(height, width).to(torch.uint8).cpu().numpy()
    on_mesh = outside.reshape(height, width).cpu().numpy()
    if not on_mesh.any():
        return np.zeros_like(found)
    mouth = binary_fill_holes(found == _LABEL["mouth"])
    found[mouth], on_mesh = _LABEL["mouth"], on_mesh | mouth
    rows, columns = distance_transform_edt(~on_mesh, return_distances=False, return_indices=True)
    nearest = found[rows, columns]
    below = np.isin(nearest, (0, _LABEL["bare-neck"], _LABEL["cloth"]))
    beside = np.where(below, nearest, _LABEL["hair"])
    return np.where(on_mesh, found, beside).astype(np.uint8)


def _face_labels(regions: Mapping[str, Tensor], faces: Tensor) -> Tensor:
    """Label of each face (F,): that of most of its vertices, the largest of three that differ."""
    of_vertex = faces.new_zeros(int(faces.max()) + 1)
    for image, mesh in _OF_MESH:
        if mesh in regions:
            of_vertex[regions[mesh][: len(of_vertex)]] = _LABEL[image]
    corners = of_vertex[faces].sort(dim=1).values
    middle, largest = corners[:, 1], corners[:, 2]
    return torch.where((corners[:, 0] == middle) | (middle == largest), middle, largest)
