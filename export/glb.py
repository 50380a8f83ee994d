"""Format glb: glTF 2.0 in one binary file with the extension KHR_gaussian_splatting, written from its specification.

The extension's scales are linear and opacities are in [0, 1]; drafts had logarithms. It knows no animation.
"""

from __future__ import annotations

import json
import struct
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from headbench.export.places import each_pose
from headbench.export.poses import Poses
from headbench.export.source import Source
from headbench.export.splats import Splats, plain_colours, splats_at

__all__ = ["EXTENSION", "encoded", "write"]

EXTENSION = "KHR_gaussian_splatting"
_FLOAT, _ARRAY_BUFFER, _POINTS = 5126, 34962, 0
_KINDS = {1: "SCALAR", 3: "VEC3", 4: "VEC4"}
"""Number of components -> type of an accessor."""


def write(source: Source, poses: Poses, out: Path) -> list[str]:
    """Write a file of Gaussians per pose (see `Writer`)."""
    return each_pose(poses, out, ".glb", lambda pose, path: path.write_bytes(encoded(splats_at(source, pose))))


def encoded(splats: Splats) -> bytes:
    """Bytes of a GLB file with one primitive of points, whose attributes are the Gaussians'."""
    attributes = _attributes(splats)
    body = b"".join(array.astype("<f4").tobytes() for array in attributes.values())
    views, accessors, offset = [], [], 0
    for name, array in attributes.items():
        size = 4 * array.size
        views.append({"buffer": 0, "byteOffset": offset, "byteLength": size, "target": _ARRAY_BUFFER})
        components = 1 if array.ndim == 1 else array.shape[1]
        accessor: dict[str, Any] = {
            "bufferView": len(views) - 1,
            "componentType": _FLOAT,
            "count": len(array),
            "type": _KINDS[components],
        }
        if name == "POSITION":
            accessor |= {"min": array.min(0).tolist(), "max": array.max(0).tolist()}
        accessors.append(accessor)
        offset += size
    primitive = {
        "attributes": {name: number for number, name in enumerate(attributes)},
        "mode": _POINTS,
        "extensions": {EXTENSION: {"kernel": "ellipse", "colorSpace": "srgb_rec709_display"}},
    }
    document = {
        "asset": {"version": "2.0", "generator": "headbench"},
        "extensionsUsed": [EXTENSION],
        "scene": 0,
        "scenes": [{"nodes": [0]}],
        "nodes": [{"mesh": 0}],
        "meshes": [{"primitives": [primitive]}],
        "accessors": accessors,
        "bufferViews": views,
        "buffers": [{"byteLength": len(body)}],
    }
    return _packed(json.dumps(document, separators=(",", ":")).encode(), body)


def _attributes(splats: Splats) -> dict[str, NDArray[np.float32]]:
    """Attributes of the points in their order; quaternions are (x, y, z, w)."""
    colours = np.concatenate([plain_colours(splats), splats.opacities[:, None]], axis=1)
    found = {
        "POSITION": splats.means,
        "COLOR_0": colours,
        f"{EXTENSION}:ROTATION": splats.quats[:, [1, 2, 3, 0]],
        f"{EXTENSION}:SCALE": np.exp(splats.log_scales),
        f"{EXTENSION}:OPACITY": splats.opacities,
    }
    for degree in range(splats.degree + 1):
        for number in range(2 * degree + 1):
            found[f"{EXTENSION}:SH_DEGREE_{degree}_COEF_{number}"] = splats.sh[:, degree**2 + number]
    return found


def _packed(text: bytes, body: bytes) -> bytes:
    """Bytes of a GLB container with its two chunks, each padded to four bytes."""
    text += b" " * (-len(text) % 4)
    body += b"\0" * (-len(body) % 4)
    size = 12 + 8 + len(text) + 8 + len(body)
    header = struct.pack("<4sII", b"glTF", 2, size)
    return header + struct.pack("<I4s", len(text), b"JSON") + text + struct.pack("<I4s", len(body), b"BIN\0") + body
