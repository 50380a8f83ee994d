"""Readers of exported files, written from the formats' descriptions and not from the writers."""

from __future__ import annotations

import json
import struct
from pathlib import Path
from typing import Any

import numpy as np
import torch
import trimesh

from headbench.harness.types import Gaussians


def _gaussians(means, quats, scales, opacities, sh) -> Gaussians:
    """Gaussians (N, .) of arrays, with spherical harmonics (N, K, 3)."""
    fields = (torch.tensor(np.ascontiguousarray(array), dtype=torch.float32) for array in (means, quats, scales))
    degree = int(np.sqrt(sh.shape[1])) - 1
    return Gaussians(
        *fields,
        torch.tensor(np.ascontiguousarray(opacities), dtype=torch.float32),
        torch.tensor(np.ascontiguousarray(sh), dtype=torch.float32),
        degree,
    )


def ply_columns(path: Path) -> dict[str, np.ndarray]:
    """Properties of a PLY file's vertices by name, in the file's order, as trimesh reads them."""
    with path.open("rb") as file:
        raw = trimesh.exchange.ply.load_ply(file)["metadata"]["_ply_raw"]
    data = raw["vertex"]["data"]
    return {name: np.asarray(data[name]).reshape(-1) for name in raw["vertex"]["properties"]}


def read_ply(path: Path) -> Gaussians:
    """Gaussians of a PLY file of 3D Gaussian splatting."""
    columns = ply_columns(path)
    rest = sorted((name for name in columns if name.startswith("f_rest_")), key=lambda name: int(name[7:]))
    many = np.stack([columns[name] for name in rest], 1).reshape(-1, 3, len(rest) // 3) if rest else None
    first = np.stack([columns[f"f_dc_{k}"] for k in range(3)], 1)[:, None]
    sh = first if many is None else np.concatenate([first, many.transpose(0, 2, 1)], 1)
    return _gaussians(
        np.stack([columns[name] for name in "xyz"], 1),
        np.stack([columns[f"rot_{k}"] for k in range(4)], 1),
        np.exp(np.stack([columns[f"scale_{k}"] for k in range(3)], 1)),
        1 / (1 + np.exp(-columns["opacity"])),
        sh,
    )


def read_splat(path: Path) -> Gaussians:
    """Gaussians of a .splat file: 32 bytes each, the colour as one of degree 0."""
    content = path.read_bytes()
    assert len(content) % 32 == 0
    rows = [struct.unpack("<6f8B", content[at : at + 32]) for at in range(0, len(content), 32)]
    table = np.array(rows)
    rgb, alpha = table[:, 6:9] / 255, table[:, 9] / 255
    sh = (rgb - 0.5)[:, None] / 0.28209479177387814
    return _gaussians(table[:, :3], (table[:, 10:14] - 128) / 128, table[:, 3:6], alpha, sh)


def glb_document(path: Path) -> tuple[dict[str, Any], bytes]:
    """JSON and binary chunk of a GLB file, whose sizes and padding are checked."""
    content = path.read_bytes()
    magic, version, size = struct.unpack_from("<4sII", content)
    assert (magic, version, size) == (b"glTF", 2, len(content))
    chunks, at = [], 12
    while at < size:
        length, kind = struct.unpack_from("<I4s", content, at)
        assert length % 4 == 0
        chunks.append((kind, content[at + 8 : at + 8 + length]))
        at += 8 + length
    (first, text), (second, body) = chunks
    assert (first, second) == (b"JSON", b"BIN\0")
    return json.loads(text), body


def read_glb(path: Path) -> Gaussians:
    """Gaussians of the primitive of a GLB file that has the extension KHR_gaussian_splatting."""
    document, body = glb_document(path)
    assert document["extensionsUsed"] == ["KHR_gaussian_splatting"] and "extensionsRequired" not in document
    (primitive,) = document["meshes"][0]["primitives"]
    extension = primitive["extensions"]["KHR_gaussian_splatting"]
    assert (primitive["mode"], extension) == (0, {"kernel": "ellipse", "colorSpace": "srgb_rec709_display"})

    def values(number: int) -> np.ndarray:
        accessor = document["accessors"][number]
        view = document["bufferViews"][accessor["bufferView"]]
        width = {"SCALAR": 1, "VEC3": 3, "VEC4": 4}[accessor["type"]]
        assert accessor["componentType"] == 5126 and view["byteLength"] == 4 * width * accessor["count"]
        found = np.frombuffer(body, "<f4", width * accessor["count"], view["byteOffset"]).reshape(-1, width)
        for bound, seen in (("min", found.min(0)), ("max", found.max(0))):
            assert bound not in accessor or np.allclose(accessor[bound], seen)
        return found

    named = {name: values(number) for name, number in primitive["attributes"].items()}
    own = {name.partition(":")[2]: array for name, array in named.items() if ":" in name}
    sh, degree = [], 0
    while f"SH_DEGREE_{degree}_COEF_0" in own:
        sh += [own.pop(f"SH_DEGREE_{degree}_COEF_{k}") for k in range(2 * degree + 1)]
        degree += 1
    assert set(own) == {"ROTATION", "SCALE", "OPACITY"} and set(named) - {f"KHR_gaussian_splatting:{n}" for n in own}
    assert (own["SCALE"] >= 0).all() and ((own["OPACITY"] >= 0) & (own["OPACITY"] <= 1)).all()
    assert np.allclose(np.linalg.norm(own["ROTATION"], axis=1), 1, atol=1e-5)
    assert np.allclose(named["COLOR_0"][:, 3:], own["OPACITY"])
    turned = own["ROTATION"][:, [3, 0, 1, 2]]
    return _gaussians(named["POSITION"], turned, own["SCALE"], own["OPACITY"][:, 0], np.stack(sh, 1))
