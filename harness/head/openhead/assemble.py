"""Assembly of the open head from MakeHuman's base mesh: vertices, frame, joints, skinning, regions, one UV atlas.

Decimetres and MakeHuman's indices come in; metres and the head's own indices go out. Build time only.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import nnls

from headbench.harness.head.openhead import UNIT
from headbench.harness.head.openhead.atlas import pack_atlas
from headbench.harness.head.openhead.regions import name_regions
from headbench.harness.head.topology import boundary_loops, strip_between

__all__ = ["PARTS", "assemble"]

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Mask = NDArray[np.bool_]

PARTS = ("skin", "eye_left", "eye_right", "bag", "upper_teeth", "lower_teeth", "tongue")
"""Parts of the head in the order of their vertices; the last four are in the topology with teeth only."""
BONES_OF_NECK = {"neck01": 0.35, "neck02": 0.7, "neck03": 0.9}
"""MakeHuman bone -> share that turns with the neck joint; the head turns fully, spine and shoulders do not."""
JOINT_CLOUD = 120
"""Number of skin vertices, the nearest to a joint, from which it is regressed."""


def assemble(
    vertices: Floats,
    uvs: Floats,
    quads: Ints,
    uv_quads: Ints,
    parts: Mapping[str, Mask],
    identities: Mapping[str, Floats],
    expressions: Mapping[str, Floats],
    bone_weights: Mapping[str, list[tuple[int, float]]],
    bone_parents: Mapping[str, str],
    joints: Mapping[str, Floats],
    markers: Mapping[str, Floats],
) -> dict[str, NDArray[Any]]:
    """Compute the arrays of ``openhead.npz``.

    Args:
        vertices: (N, 3) of the mean person, decimetres.
        uvs: (U, 2) texture coordinates.
        quads: (Q, 4) vertices of each face; a triangle repeats a corner.
        uv_quads: (Q, 4) texture coordinates of each face's corners.
        parts: each of PARTS -> (Q,) bool, its quads.
        identities: name -> (N, 3) displacement, decimetres.
        expressions: name -> (N, 3) displacement, decimetres.
        bone_weights: MakeHuman bone -> pairs of a vertex and its weight.
        bone_parents: MakeHuman bone -> the bone above it, or empty.
        joints: neck and jaw -> (3,) decimetres, in the frame of `vertices`; eyes and root are computed.
        markers: region -> (N, 3) a displacement that moves that region most.
    """
    order = _vertex_order(quads, parts)
    place = np.full(len(vertices), -1)
    place[order] = np.arange(len(order))
    part_of = {name: place[np.unique(quads[parts[name]])] for name in PARTS}
    origin = _origin(vertices, quads, parts)
    points = (vertices[order] - origin) / 10
    pieces = {name: place[_triangles(quads[parts[name]])] for name in PARTS}
    open_faces = np.concatenate([pieces[name] for name in PARTS[:3]])
    loops = boundary_loops(pieces["skin"])
    mouth = min(loops, key=lambda loop: float(np.linalg.norm(points[loop].mean(0) - points[part_of["tongue"]].mean(0))))
    neck = min(loops, key=lambda loop: float(points[loop][:, 1].mean()))
    cap = strip_between(mouth, points)
    uv, uv_pieces = pack_atlas(uvs, {n: _triangles(uv_quads[parts[n]]) for n in PARTS}, points[mouth])
    cap_uv = _cap_corners(cap, mouth, uv_pieces["cap_loop"])
    weights = _skinning(len(vertices), bone_weights, bone_parents)[order]
    for name, joint in (("eye_left", 3), ("eye_right", 4), ("upper_teeth", 1), ("lower_teeth", 2), ("tongue", 2)):
        weights[part_of[name]] = np.eye(5)[joint]
    where = {
        "root": points[neck].mean(0),
        **{name: (position - origin) / 10 for name, position in joints.items()},
    }
    regressor = np.zeros((5, len(points)))
    for row, name in enumerate(("root", "neck", "jaw")):
        regressor[row] = _regress(points, part_of["skin"], where[name])
    for row, name in ((3, "eye_left"), (4, "eye_right")):
        regressor[row, part_of[name]] = 1 / len(part_of[name])
    moved = {name: field[order] / 10 for name, field in expressions.items()}
    for name, field in moved.items():
        if name.startswith("eyeLook"):
            # The eyeballs turn with their joints; the unit keeps what the lids do.
            field[np.concatenate([part_of["eye_left"], part_of["eye_right"]])] = 0
    regions = name_regions(points, part_of, {n: m[order] for n, m in markers.items()}, mouth, neck, open_faces)
    return {
        "template": points.astype(np.float32),
        "shape": _quantise(np.stack([_in_place(f[order] / 10, part_of["skin"]) for f in identities.values()])),
        "shape_names": np.array(list(identities)),
        "expression": _quantise(np.stack(list(moved.values()))),
        "expression_names": np.array(list(moved)),
        "joint_regressor": regressor.astype(np.float32),
        "weights": weights.astype(np.float32),
        "open_vertices": np.array(sum(len(part_of[name]) for name in PARTS[:3])),
        "faces_open": open_faces.astype(np.uint16),
        "faces_cap": cap.astype(np.uint16),
        "faces_inside": np.concatenate([pieces[name] for name in PARTS[3:]]).astype(np.uint16),
        "inside_names": np.array(PARTS[3:]),
        "inside_counts": np.array([len(pieces[name]) for name in PARTS[3:]]),
        "uvs": uv.astype(np.float32),
        "uv_open": np.concatenate([uv_pieces[name] for name in PARTS[:3]]).astype(np.uint16),
        "uv_cap": cap_uv.astype(np.uint16),
        "uv_inside": np.concatenate([uv_pieces[name] for name in PARTS[3:]]).astype(np.uint16),
        **{f"region_{name}": mask for name, mask in regions.items()},
    }


def _vertex_order(quads: Ints, parts: Mapping[str, Mask]) -> Ints:
    """Return MakeHuman's vertices that are kept, part by part, each once."""
    seen: list[int] = []
    known: set[int] = set()
    for name in PARTS:
        fresh = [int(v) for v in np.unique(quads[parts[name]]) if int(v) not in known]
        seen += fresh
        known.update(fresh)
    return np.array(seen)


def _origin(vertices: Floats, quads: Ints, parts: Mapping[str, Mask]) -> Floats:
    """Return the head's origin (3,) in decimetres: a little below the eyes, midway through the skull, near FLAME's."""
    skin = vertices[np.unique(quads[parts["skin"]])]
    eyes = vertices[np.unique(quads[parts["eye_left"] | parts["eye_right"]])].mean(0)
    skull = skin[skin[:, 1] > eyes[1] - 0.2]
    return np.array([0.0, eyes[1] - 0.35, (skull[:, 2].min() + skull[:, 2].max()) / 2 + 0.15])


def _triangles(quads: Ints) -> Ints:
    """Split quads (Q, 4) into triangles (F, 3); one that repeats a corner gives one triangle, others two."""
    both = np.stack([quads[:, [0, 1, 2]], quads[:, [0, 2, 3]]], 1).reshape(-1, 3)
    return both[(both != np.roll(both, 1, axis=1)).all(1)]


def _cap_corners(cap: Ints, mouth: Ints, loop_uvs: Ints) -> Ints:
    """Return the texture coordinates (F, 3) of the mouth cap's corners, given those of the mouth loop (L,)."""
    corner = {int(vertex): int(uv) for vertex, uv in zip(mouth, loop_uvs, strict=True)}
    return np.array([[corner[int(v)] for v in face] for face in cap])


def _skinning(count: int, bones: Mapping[str, list[tuple[int, float]]], parents: Mapping[str, str]) -> Floats:
    """Sum MakeHuman's bone weights into skinning weights (count, 5) of root, neck, jaw and eyes."""

    def line(bone: str) -> list[str]:
        above = [bone]
        while parents.get(above[-1]):
            above.append(parents[above[-1]])
        return above

    weights = np.zeros((count, 5))
    for bone, entries in bones.items():
        if not entries:
            continue
        rows, values = np.array([int(e[0]) for e in entries]), np.array([float(e[1]) for e in entries])
        share = np.zeros(5)
        if "jaw" in line(bone):
            share[2] = 1
        elif "head" in line(bone):
            share[1] = 1
        else:
            share[1] = BONES_OF_NECK.get(bone, 0.0)
            share[0] = 1 - share[1]
        np.add.at(weights, rows, values[:, None] * share)
    empty = weights.sum(1) < 1e-6
    weights[empty, 0] = 1
    return weights / weights.sum(1, keepdims=True)


def _regress(points: Floats, candidates: Ints, target: Floats) -> Floats:
    """Find weights (V,) >= 0 with sum 1 of the candidate vertices nearest to `target` (3,) that reproduce it."""
    near = candidates[np.argsort(np.linalg.norm(points[candidates] - target, axis=1), kind="stable")[:JOINT_CLOUD]]
    # The ridge spreads the weights over many vertices, so that no single one carries a joint.
    system = np.concatenate([points[near].T * 10, np.ones((1, len(near))), 1e-3 * np.eye(len(near))])
    wanted = np.concatenate([target * 10, [1.0], np.zeros(len(near))])
    found, _ = nnls(system, wanted)
    weights = np.zeros(len(points))
    weights[near] = found / found.sum()
    return weights


def _in_place(field: Floats, skin: Ints) -> Floats:
    """Remove from a displacement (V, 3) its mean over the skin, the shift that a change of body height brings."""
    return field - field[skin].mean(0)


def _quantise(fields: Floats) -> NDArray[np.int16]:
    """Round displacements in metres to whole multiples of UNIT."""
    steps = np.round(fields / UNIT)
    if np.abs(steps).max() > np.iinfo(np.int16).max:
        raise ValueError(f"a displacement of {np.abs(fields).max():.3f} m does not fit 16 bits of {UNIT} m")
    return steps.astype(np.int16)
