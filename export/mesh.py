"""Format mesh: the posed head as Wavefront OBJ or as PLY, with texture coordinates."""

from __future__ import annotations

import io
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from headbench.export.places import each_pose
from headbench.export.poses import Pose, Poses
from headbench.export.source import Source
from headbench.harness.avatar import Avatar
from headbench.harness.head import load_head
from headbench.harness.image import to_uint8

__all__ = ["Mesh", "as_obj", "as_ply", "mesh_at", "write"]

_MATERIAL = """newmtl head
Ka 0 0 0
Kd 1 1 1
map_Kd {picture}
"""
"""Material of a baked avatar's mesh."""


@dataclass(frozen=True)
class Mesh:
    """Posed mesh of a head."""

    vertices: NDArray[np.float32]
    """(V, 3) metres, in the world."""
    faces: NDArray[np.int64]
    """(F, 3) vertices."""
    uvs: NDArray[np.float32] | None
    """(U, 2) texture coordinates in [0, 1], v up; None where the head model has none."""
    uv_faces: NDArray[np.int64] | None
    """(F, 3) rows of `uvs`."""


def write(source: Source, poses: Poses, out: Path) -> list[str]:
    """Write a mesh per pose (see `Writer`): PLY where `out` ends in .ply, OBJ otherwise, with a baked texture."""
    is_ply = out.suffix.lower() == ".ply" and not poses.is_sequence
    texture = None if is_ply else _texture(source)
    stem = "head" if poses.is_sequence else out.stem
    picture, material = f"{stem}.texture.png", f"{stem}.mtl"
    beside = {}
    if texture is not None:
        beside = {picture: texture, material: _MATERIAL.format(picture=picture).encode()}

    def one(pose: Pose, path: Path) -> list[str]:
        mesh = mesh_at(source, pose)
        path.write_bytes(as_ply(mesh) if is_ply else as_obj(mesh, material if beside else ""))
        return [] if mesh.uvs is not None else ["the head model has no texture coordinates, so the mesh has none."]

    return each_pose(poses, out, ".obj", one, beside)


def _texture(source: Source) -> bytes | None:
    """Colours of a baked avatar as the bytes of a PNG whose top row is v = 1; None of an avatar without maps."""
    portrait: Any = source.session.loaded.portrait
    if not hasattr(portrait, "maps"):
        return None
    colour = portrait.maps.colour
    pixels = to_uint8(colour.flip(1) if portrait.config.rows == "v_up" else colour).permute(1, 2, 0)
    content = io.BytesIO()
    Image.fromarray(pixels.cpu().contiguous().numpy()).save(content, format="PNG")
    return content.getvalue()


@torch.no_grad()
def mesh_at(source: Source, pose: Pose) -> Mesh:
    """Mesh of the head in a pose: the one that carries the Gaussians, with learned corrections, where there is one."""
    loaded, device = source.session.loaded, source.session.device
    head = load_head(loaded.identity.head, loaded.config.topology(), device=device)
    params = pose.params.to(device)
    vertices = head.bind(loaded.identity).vertices(params)
    if isinstance(loaded.portrait, Avatar):
        carrier = loaded.portrait.drive(params).vertices
        vertices = carrier if carrier.shape == vertices.shape else vertices

    def plain(tensor: torch.Tensor | None) -> NDArray[np.int64] | None:
        return None if tensor is None else tensor.cpu().numpy()

    uvs = None if head.uvs is None else head.uvs.cpu().numpy()
    faces = head.faces.cpu().numpy()
    return Mesh(vertices[0].cpu().numpy(), faces, uvs, plain(head.uv_faces))


def as_obj(mesh: Mesh, material: str = "") -> bytes:
    """Bytes of an OBJ file; its indices count from 1.

    Args:
        mesh: to write.
        material: name of the file beside it that names the texture; empty for none.
    """
    lines = [f"mtllib {material}", "usemtl head"] if material else []
    lines += [f"v {x:.7g} {y:.7g} {z:.7g}" for x, y, z in mesh.vertices.tolist()]
    if mesh.uvs is None or mesh.uv_faces is None:
        lines += [f"f {a} {b} {c}" for a, b, c in (mesh.faces + 1).tolist()]
    else:
        lines += [f"vt {u:.7g} {v:.7g}" for u, v in mesh.uvs.tolist()]
        corners = np.stack([mesh.faces, mesh.uv_faces], axis=2).reshape(-1, 6) + 1
        lines += ["f {}/{} {}/{} {}/{}".format(*row) for row in corners.tolist()]
    return ("\n".join(lines) + "\n").encode()


def as_ply(mesh: Mesh) -> bytes:
    """Bytes of a binary PLY file; vertices on a seam of the texture are there once for each side, with s and t."""
    names, vertices, faces = ["x", "y", "z"], mesh.vertices, mesh.faces
    if mesh.uvs is not None and mesh.uv_faces is not None:
        corners = np.stack([mesh.faces, mesh.uv_faces], axis=2).reshape(-1, 2)
        pairs, rows = np.unique(corners, axis=0, return_inverse=True)
        names = [*names, "s", "t"]
        vertices = np.concatenate([mesh.vertices[pairs[:, 0]], mesh.uvs[pairs[:, 1]]], axis=1)
        faces = rows.reshape(-1, 3)
    head = ["ply", "format binary_little_endian 1.0", f"element vertex {len(vertices)}"]
    head += [f"property float {name}" for name in names]
    head += [f"element face {len(faces)}", "property list uchar int vertex_indices", "end_header", ""]
    records = np.empty(len(faces), np.dtype([("count", "u1"), ("corners", "<i4", 3)]))
    records["count"], records["corners"] = 3, faces
    return "\n".join(head).encode("ascii") + vertices.astype("<f4").tobytes() + records.tobytes()
