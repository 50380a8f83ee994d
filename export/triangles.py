"""Format gaussianavatars: Gaussians in the frames of FLAME's triangles, as the viewer of GaussianAvatars reads them.

A folder with ``point_cloud.ply`` (local parameters and the triangle of each Gaussian), ``flame_param.npz`` (identity,
and one row of parameters per pose) and ``headbench.json``, which says of which head model they are.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from headbench.export.ply import OPAQUE, table_bytes
from headbench.export.poses import Pose, Poses, neutral_params
from headbench.export.source import Source
from headbench.export.splats import SMALLEST_SCALE
from headbench.harness.avatar import Avatar
from headbench.harness.bound import BoundGaussians, BoundToTriangles
from headbench.harness.errors import BenchError
from headbench.harness.files import atomic_folder, write_json
from headbench.harness.head import SubjectHead, face_frames, load_head, matrix_to_axis_angle, quat_multiply
from headbench.harness.head.canonical import canonical_params
from headbench.harness.rotations import axis_angle_to_matrix
from headbench.harness.surface import OnSurface
from headbench.harness.train import LoadedPortrait
from headbench.harness.types import Gaussians, HeadParams

__all__ = ["write"]

_COEFFICIENTS = 16
"""Coefficients per Gaussian that the viewer expects, whatever the degree."""
_SHAPE, _EXPRESSION = 300, 100
"""Numbers of coefficients that the viewer's FLAME takes."""
_TINY = 1e-12
"""Smallest size of a face in metres that a Gaussian is measured by."""


@dataclass
class _Carried:
    """An avatar's Gaussians and mesh in the form of the files."""

    gaussians: BoundGaussians
    offset: Tensor
    """(V, 3) metres, static offset of the mesh with teeth."""
    notes: list[str]


@torch.no_grad()
def write(source: Source, poses: Poses, out: Path) -> list[str]:
    """Write the folder; each pose is a row of ``flame_param.npz`` (see `Writer`)."""
    loaded = source.session.loaded
    portrait = loaded.portrait
    if not isinstance(portrait, Avatar) or not isinstance(portrait, OnSurface | BoundToTriangles):
        raise BenchError(
            f"Gaussians of {loaded.about['method']} are not carried by triangles, which format gaussianavatars holds.",
            help="--format ply, splat or glb for one pose or a sequence",
        )
    carried = _exactly(loaded) or _measured(loaded, portrait)
    rows, notes = _timesteps(loaded, carried.offset, poses.members)
    found = carried.gaussians
    sh = torch.nn.functional.pad(found.sh, (0, 0, 0, _COEFFICIENTS - found.sh.shape[1]))
    positions, harmonics, logits, log_scales = (
        each.cpu().double().numpy() for each in (found.positions, sh, found.opacities, found.log_scales)
    )
    quats, faces = found.quats.cpu().numpy(), found.face_index.cpu().numpy()
    content = table_bytes(positions, harmonics, logits, log_scales, quats, faces)
    about = {"head": loaded.identity.head, "method": loaded.about.get("method", ""), "poses": _names(poses)}
    with atomic_folder(out) as folder:
        (folder / "point_cloud.ply").write_bytes(content)
        np.savez_compressed(folder / "flame_param.npz", **rows)  # type: ignore[arg-type]  # no row is an option
        write_json(folder / "headbench.json", about)
    return [*carried.notes, *notes, *_strange(loaded.identity.head)]


def _names(poses: Poses) -> list[str]:
    return [pose.name for pose in poses.members]


def _strange(tag: str) -> list[str]:
    """Say where the published viewer cannot pose the head model."""
    if tag == "flame2023":
        return []
    return [f"the viewer of GaussianAvatars poses FLAME 2023, these Gaussians are of {tag}: `bench import` reads them."]


def _exactly(loaded: LoadedPortrait) -> _Carried | None:
    """Gaussians that live in frames of triangles, as they are; None where its triangles are others or it has none."""
    portrait, identity = loaded.portrait, loaded.identity
    if not isinstance(portrait, BoundToTriangles):
        return None
    head, faces = _with_teeth(loaded), _faces(portrait)
    if len(faces) > len(head.faces) or not torch.equal(faces, head.faces[: len(faces)]):
        return None
    bare = load_head(identity.head, "teeth", head.faces.device).bind(replace(identity, static_offset=None))
    base: Tensor = portrait.head.base  # type: ignore[union-attr, assignment]
    own = base - bare.base[: len(base)]
    return _Carried(portrait.bound(), torch.nn.functional.pad(own, (0, 0, 0, len(bare.base) - len(own))), [])


def _measured(loaded: LoadedPortrait, portrait: Any) -> _Carried:
    """Gaussians of any avatar on a mesh, measured in the canonical pose in the frames of the triangles they ride on."""
    identity, notes = loaded.identity, []
    bare = _with_teeth(loaded, offset=False)
    neutral = neutral_params(identity)
    carrier = portrait.carrier(neutral)[0]
    shared = min(len(carrier), len(bare.base))
    # Learned corrections of the template are part of the mesh in every pose.
    offset = torch.zeros_like(bare.base)
    offset[:shared] = carrier[:shared] - bare.vertices(neutral)[0, :shared]
    head = _with_teeth(loaded, offset=offset)
    rows = _rows_of(_faces(portrait), head.faces)[portrait.surface().face_index]
    keep = rows >= 0
    if not bool(keep.all()):
        lost = int((~keep).sum())
        notes.append(f"{lost} of {len(keep)} Gaussians on the faces that close the mouth were left out.")
    canonical = canonical_params(identity, 0.0)
    gaussians = portrait.gaussians(canonical)
    notes.append(
        "Gaussians were measured in the canonical pose (mean expression, jaw closed); what networks and learned "
        "blendshapes add in other poses was left out."
    )
    return _Carried(_local(gaussians, head.vertices(canonical), head.faces, rows, keep), offset, notes)


def _local(gaussians: Gaussians, vertices: Tensor, faces: Tensor, rows: Tensor, keep: Tensor) -> BoundGaussians:
    """Gaussians in the world in the frames of triangles.

    Args:
        gaussians: in the pose of `vertices`, B = 1.
        vertices: (1, V, 3) metres.
        faces: (F, 3).
        rows: (N,) the face of each Gaussian.
        keep: (N,) bool, Gaussians to take.
    """

    def one(value: Tensor, axes: int) -> Tensor:
        return (value[0] if value.dim() > axes else value)[keep]

    frames = face_frames(vertices, faces)
    face = rows[keep]
    R, size = frames.R[0, face], frames.size[0, face].clamp_min(_TINY)[:, None]
    apart = one(gaussians.means, 2) - frames.centroid[0, face]
    turn = frames.quats()[0, face]
    back = torch.cat([turn[:, :1], -turn[:, 1:]], dim=1)
    opacity = one(gaussians.opacities, 1).double().clamp(OPAQUE, 1 - OPAQUE)
    degree = gaussians.sh_degree
    if degree is None:
        sh = (one(gaussians.colours, 2) - 0.5)[:, None] / 0.28209479177387814
    else:
        sh = one(gaussians.colours, 3)[:, : (degree + 1) ** 2]
    quats = torch.nn.functional.normalize(one(gaussians.quats, 2), dim=1)
    return BoundGaussians(
        face_index=face,
        positions=(R.mT @ apart[:, :, None])[:, :, 0] / size,
        log_scales=(one(gaussians.scales, 2).clamp_min(SMALLEST_SCALE) / size).log(),
        quats=quat_multiply(back, quats),
        opacities=torch.logit(opacity),
        sh=sh,
    )


def _with_teeth(loaded: LoadedPortrait, offset: Tensor | bool = True) -> SubjectHead:
    """Head of a portrait's subject with teeth, without eyelids.

    Args:
        loaded: the portrait.
        offset: (V, 3) static offset; True takes the identity's, False none.
    """
    identity = loaded.identity
    if not isinstance(offset, bool):
        identity = replace(identity, static_offset=offset[None])
    elif not offset:
        identity = replace(identity, static_offset=None)
    return load_head(identity.head, "teeth", device=identity.shape.device).bind(identity, eyelids=False)


def _faces(portrait: Any) -> Tensor:
    faces: Tensor = portrait.head.faces
    return faces


def _rows_of(faces: Tensor, others: Tensor) -> Tensor:
    """Rows (F,) of `others` with the same vertices as the faces (F, 3), in any order; -1 where there is none."""
    known = {tuple(sorted(face)): row for row, face in enumerate(others.tolist())}
    found = [known.get(tuple(sorted(face)), -1) for face in faces.tolist()]
    return torch.tensor(found, device=faces.device)


def _timesteps(
    loaded: LoadedPortrait, offset: Tensor, poses: Sequence[Pose]
) -> tuple[dict[str, NDArray[np.float32]], list[str]]:
    """Arrays of ``flame_param.npz``, all float32, and what poses have that they cannot hold."""
    identity, notes = loaded.identity, []
    head = _with_teeth(loaded, offset)
    device = identity.shape.device
    members = [pose.params.to(device) for pose in poses]
    if any(params.eyelids is not None and bool(params.eyelids.any()) for params in members):
        notes.append("the format has no eyelids: their motion was left out.")
    scaled = [params for params in members if params.similarity is not None and abs(_scale(params) - 1) > 1e-6]
    if scaled:
        notes.append(f"the format has no global scale: that of {_scale(scaled[0]):.4g} was left out.")
    params = HeadParams.join([_folded(head, replace(each, eyelids=None)) for each in members])
    count = len(params.root)
    rows = {
        "shape": _sized(identity.shape, _SHAPE, "shape")[0],
        "expr": _sized(params.expression, _EXPRESSION, "expression"),
        "rotation": params.root,
        "neck_pose": params.neck,
        "jaw_pose": params.jaw,
        "eyes_pose": torch.cat([params.eye_left, params.eye_right], dim=1),
        "translation": params.translation,
        "static_offset": offset[None],
        "dynamic_offset": torch.zeros(count, *offset.shape),
    }
    return {name: value.cpu().to(torch.float32).numpy() for name, value in rows.items()}, notes


def _scale(params: HeadParams) -> float:
    return 1.0 if params.similarity is None else float(params.similarity.scale[0])


def _folded(head: SubjectHead, params: HeadParams) -> HeadParams:
    """Parameters whose global similarity, without its scale, became part of root rotation and translation."""
    similarity = params.similarity
    if similarity is None:
        return params
    root = matrix_to_axis_angle(similarity.R @ axis_angle_to_matrix(params.root))
    turned = replace(params, root=root, translation=torch.zeros_like(params.translation), similarity=None)
    wanted = head.vertices(replace(params, similarity=replace(similarity, scale=torch.ones_like(similarity.scale))))
    return replace(turned, translation=(wanted - head.vertices(turned)).mean(dim=1))


def _sized(values: Tensor, size: int, what: str) -> Tensor:
    """Coefficients (B, n) padded with zeros to `size`, or cut to it where the rest is zero.

    Raises:
        BenchError: coefficients beyond are not zero.
    """
    if bool(values[:, size:].any()):
        raise BenchError(f"format gaussianavatars holds {size} coefficients of {what}, found {values.shape[1]}.")
    return torch.nn.functional.pad(values[:, :size], (0, max(0, size - values.shape[1])))
