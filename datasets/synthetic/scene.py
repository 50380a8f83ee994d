"""Mesh of a synthetic person: head, eyes, teeth and hair as one triangle mesh with what shading needs to know."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from headbench.datasets.synthetic.hair import Hair, grow_hair, pose_hair
from headbench.datasets.synthetic.motion import Motion
from headbench.datasets.synthetic.person import PARTS, Person, make_person
from headbench.harness.head import HeadModel, SubjectHead, face_frames, load_head
from headbench.harness.head.openhead import part_faces
from headbench.harness.types import Camera, HeadParams, Identity

__all__ = ["TAG", "Scene", "head_params", "make_rest_offset", "make_scene", "params_of"]

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

TAG = "openhead"
TONGUE = 2.6
"""Brightness of the tongue relative to the rest of the mouth."""


@dataclass(frozen=True)
class Scene:
    """A synthetic person at rest, ready to be posed."""

    person: Person
    head: SubjectHead
    hair: Hair
    rest: Floats
    """(V, 3) head and hair at rest, in metres: texture is painted on this."""
    faces: Ints
    """(F, 3) triangles of head and hair, as vertex indices."""
    part: Ints
    """(F,) part that each face belongs to, an index into PARTS."""
    tint: Floats
    """(F,) brightness of hair strands and of the tongue, 1 elsewhere."""
    scalp: Floats
    """(V,) cover of the skin by hair, 0 to 1, soft at the hairline."""
    lips: Floats
    """(V,) share of lips in the skin, 0 to 1, soft at the lips' edge."""
    eyes: Floats
    """(2, 3) centres of the left and the right eyeball at rest."""

    def vertices(self, params: HeadParams) -> Floats:
        """Vertices (V, 3) of the head without its hair in metres, for B = 1 parameters: the first that `pose` gives."""
        with torch.no_grad():
            return np.asarray(self.head.vertices(params)[0].double().numpy())

    def pose(self, params: HeadParams) -> tuple[Floats, Floats]:
        """Vertices (V, 3) of head and hair in metres, and their unit normals, for B = 1 parameters."""
        vertices, frames, centres = _posed(self.head, params)
        hair = pose_hair(self.hair, frames, centres)
        normals = _normals(vertices, self.head.faces.numpy())
        # Strands are lit by the head below them; a ribbon's own normal would make them glitter.
        rooted = np.repeat(frames[self.hair.root][:, :, 1], self.hair.local.shape[1], axis=0)
        return np.concatenate([vertices, hair]), np.concatenate([normals, rooted])


def make_scene(seed: int) -> Scene:
    """Make the person of a seed, with hair, at rest."""
    model = load_head(TAG, "teeth")
    person = make_person(seed, model.sizes[0])
    head = model.bind(_identity(person, model.sizes[1]))
    vertices, frames, centres = _posed(head, head_params(np.zeros((1, model.sizes[1])), *np.zeros((3, 1, 3))))
    regions = {name: mask.numpy() for name, mask in head.regions.items()}
    faces = head.faces.numpy()
    corners = vertices[faces]
    areas = np.linalg.norm(np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]), axis=1) / 2
    hair = grow_hair(person, frames, centres, np.nonzero(regions["scalp"][faces].all(1))[0], areas)
    grown = pose_hair(hair, frames, centres)
    strands = len(hair.faces) // len(hair.root)
    return Scene(
        person=person,
        head=head,
        hair=hair,
        rest=np.concatenate([vertices, grown]),
        faces=np.concatenate([faces, hair.faces + len(vertices)]),
        part=np.concatenate([_parts(model, faces, regions), np.full(len(hair.faces), PARTS.index("hair"))]),
        tint=np.concatenate([_own_tint(len(faces)), np.repeat(hair.tint, strands)]),
        scalp=np.concatenate([_soft(regions["scalp"], faces), np.ones(len(grown))]),
        lips=np.concatenate(
            [_soft(regions["lips"] | (regions["mouth_interior"] & regions["face"]), faces), np.zeros(len(grown))]
        ),
        eyes=np.stack([vertices[regions[f"{side}_eye"]].mean(0) for side in ("left", "right")]),
    )


def head_params(expression: Floats, jaw: Floats, eye_left: Floats, eye_right: Floats) -> HeadParams:
    """Parameters (T, .) of the open head; root, neck and translation are zero, as INSTA has them.

    Args:
        expression: (T, E) face units.
        jaw, eye_left, eye_right: (T, 3) axis-angle radians.
    """

    def tensor(values: Floats) -> Tensor:
        return torch.tensor(values, dtype=torch.float32)

    zeros = torch.zeros(len(expression), 3)
    return HeadParams(
        TAG, tensor(expression), zeros, zeros, tensor(jaw), tensor(eye_left), tensor(eye_right), translation=zeros
    )


def params_of(motion: Motion) -> HeadParams:
    """Parameters of a whole performance, B = T."""
    return head_params(motion.expression, motion.jaw, motion.eye_left, motion.eye_right)


def make_rest_offset(scene: Scene, first: int) -> NDArray[np.float32]:
    """Offset (V, 3) in metres that identity coefficients from `first` on add to the template, without hair."""
    model = load_head(TAG, "teeth")
    kept = torch.tensor(scene.person.shape[first:], dtype=torch.float32)
    return np.asarray((model.shape_dirs[..., first:] @ kept).numpy())


def _identity(person: Person, expressions: int) -> Identity:
    """Identity of a person on the open head; `expressions` is the head's number of expression coefficients."""
    neutral = head_params(np.zeros((1, expressions)), *np.zeros((3, 1, 3)))
    nowhere = Camera(torch.eye(4)[None], torch.eye(3)[None], 1, 1)
    zeros = torch.zeros(1, expressions)
    return Identity(TAG, torch.tensor(person.shape, dtype=torch.float32)[None], zeros, zeros, neutral, nowhere)


def _posed(head: SubjectHead, params: HeadParams) -> tuple[Floats, Floats, Floats]:
    """Vertices (V, 3) of a posed head, and frames (F, 3, 3) and centroids (F, 3) of its faces."""
    with torch.no_grad():
        vertices = head.vertices(params)
        frames = face_frames(vertices, head.faces)
    return vertices[0].double().numpy(), frames.R[0].double().numpy(), frames.centroid[0].double().numpy()


def _normals(vertices: Floats, faces: Ints) -> Floats:
    """Unit normals (V, 3) of vertices, weighted by the area of their faces."""
    corners = vertices[faces]
    across = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    total = np.stack([np.bincount(faces.ravel(), np.repeat(across[:, k], 3), len(vertices)) for k in range(3)], 1)
    return np.asarray(total / np.maximum(np.linalg.norm(total, axis=1, keepdims=True), 1e-12))


def _own_tint(count: int) -> Floats:
    """Brightness (F,) of the head's own faces: `TONGUE` on the tongue, 1 elsewhere."""
    tint = np.ones(count)
    tint[part_faces("tongue")] = TONGUE
    return tint


def _soft(region: NDArray[np.bool_], faces: Ints) -> Floats:
    """Values (V,) of a region whose edge is spread over a ring of neighbours on either side."""
    value = region.astype(float)
    start, end = faces.ravel(), np.roll(faces, 1, axis=1).ravel()
    degree = np.bincount(start, minlength=len(region)) + np.bincount(end, minlength=len(region))
    for _ in range(2):
        near = np.bincount(start, value[end], len(region)) + np.bincount(end, value[start], len(region))
        value = 0.5 * value + 0.5 * near / np.maximum(degree, 1)
    return np.asarray(value)


def _parts(model: HeadModel, faces: Ints, regions: dict[str, NDArray[np.bool_]]) -> Ints:
    """Part (F,) that each of the head's own faces belongs to, an index into PARTS.

    Behind the lips, what turns rigidly with neck or jaw is teeth or tongue.
    """
    part = np.zeros(len(faces), dtype=np.int64)
    part[regions["lips"][faces].sum(1) >= 2] = PARTS.index("lips")
    part[regions["left_eye"][faces].all(1)] = PARTS.index("eye_left")
    part[regions["right_eye"][faces].all(1)] = PARTS.index("eye_right")
    inside = np.arange(len(faces)) >= len(load_head(TAG, "open").faces)
    part[inside] = PARTS.index("mouth")
    for name in ("upper_teeth", "lower_teeth"):
        part[part_faces(name)] = PARTS.index("teeth")
    return part
