"""Hair of synthetic people: thin curved ribbons rooted on the scalp, so that the silhouette is fuzzy."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from headbench.datasets.synthetic.person import Person

__all__ = ["STRANDS", "Hair", "grow_hair", "pose_hair"]

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

STRANDS = 5000
"""Strands on a head."""
JOINTS = 4
"""Number of segments of a strand."""
WIDTH = 0.0011
"""Width of a strand in metres, at the root; it thins out to a third of it."""


@dataclass(frozen=True)
class Hair:
    """Ribbons in the frames of the faces that they grow from."""

    root: Ints
    """(K,) face that each strand grows from."""
    local: Floats
    """(K, 2 (JOINTS + 1), 3) vertices in the root face's frame, metres."""
    faces: Ints
    """(M, 3) triangles, as indices into the flattened vertices."""
    tint: Floats
    """(K,) brightness of each strand, about 1."""


def grow_hair(person: Person, frames: Floats, centres: Floats, scalp: Ints, areas: Floats) -> Hair:
    """Grow strands on a head at rest.

    Args:
        person: seed, and length of the hair.
        frames: (F, 3, 3) frame of each face at rest as columns, the second its normal.
        centres: (F, 3) its centroid.
        scalp: faces that bear hair.
        areas: (F,) square metres.
    """
    rng = np.random.default_rng([person.seed, 2])
    share = areas[scalp] / areas[scalp].sum()
    root = rng.choice(scalp, size=STRANDS, p=share)
    normal, centre = frames[root][:, :, 1], centres[root]
    spread = np.sqrt(areas[root])[:, None] * rng.normal(scale=0.6, size=(STRANDS, 3))
    start = centre + spread - (spread * normal).sum(1, keepdims=True) * normal
    down = np.array([0.0, -1.0, -0.55]) + rng.normal(scale=0.25, size=(STRANDS, 3))
    length = person.hair_length * rng.uniform(0.6, 1.15, size=(STRANDS, 1))
    side = np.cross(normal, down)
    side /= np.maximum(np.linalg.norm(side, axis=1, keepdims=True), 1e-9)
    points = [start + 0.0005 * normal]
    for k in range(JOINTS):
        lean = 0.25 + 0.9 * (k / JOINTS)
        direction = (1.15 - lean) * normal + lean * down / 1.2 + rng.normal(scale=0.10, size=(STRANDS, 3))
        inward = np.minimum((direction * normal).sum(1, keepdims=True) + 0.12 * lean, 0)
        direction = direction - inward * normal  # strands lie on the head, they do not enter it
        points.append(points[-1] + length / JOINTS * direction / np.linalg.norm(direction, axis=1, keepdims=True))
    vertices = []
    for k, point in enumerate(points):
        half = 0.5 * WIDTH * (1 - 0.67 * k / JOINTS) * side
        vertices += [point - half, point + half]
    world = np.stack(vertices, 1)
    local = np.einsum("kji,kvj->kvi", frames[root], world - centre[:, None])
    rows = 2 * (JOINTS + 1)
    strip = np.array([t for k in range(0, 2 * JOINTS, 2) for t in ((k, k + 1, k + 2), (k + 1, k + 3, k + 2))])
    faces = (strip[None] + rows * np.arange(STRANDS)[:, None, None]).reshape(-1, 3)
    return Hair(root, local, faces, np.clip(rng.normal(1.0, 0.22, size=STRANDS), 0.5, 1.7))


def pose_hair(hair: Hair, frames: Floats, centres: Floats) -> Floats:
    """Pose hair on a head: vertices (K 2 (JOINTS + 1), 3), in metres.

    Args:
        hair: strands in the frames of their faces.
        frames: (F, 3, 3) frame of each face of the posed head, as columns.
        centres: (F, 3) its centroid.
    """
    world = np.einsum("kij,kvj->kvi", frames[hair.root], hair.local) + centres[hair.root][:, None]
    return np.asarray(world.reshape(-1, 3))
