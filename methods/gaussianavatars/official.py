"""Importer of the pair of files that GaussianAvatars' code writes: point_cloud.ply and flame_param.npz."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from headbench.harness.arrays import read_npz
from headbench.harness.head import HeadModel, load_head
from headbench.harness.importing import Foreign, Imported, Importer
from headbench.harness.names import quoted
from headbench.harness.ply import read_ply_vertices
from headbench.harness.reading import Unreadable
from headbench.harness.types import Camera, HeadParams, Identity

__all__ = ["OfficialPair"]

_SCALARS = ("x", "y", "z", "opacity", *(f"scale_{k}" for k in range(3)), *(f"rot_{k}" for k in range(4)))
_DYNAMIC = {"expr": 0, "rotation": 3, "neck_pose": 3, "jaw_pose": 3, "eyes_pose": 6, "translation": 3}
"""Array with a row per timestep -> its number of columns; 0 for any."""
_SIZE, _DISTANCE, _ANGLE = (802, 550), 1.0, math.radians(20.0)
"""Height and width in pixels, distance and vertical field of view of the camera where no dataset gives one: those of
the published code's demonstration."""
_Table = Mapping[str, NDArray[np.float64]]


class OfficialPair(Importer):
    """Reads point_cloud.ply with flame_param.npz."""

    suffixes = (".ply",)
    head = "flame2023"
    parameters = "flame_param.npz"

    def settings(self, path: Path) -> Mapping[str, Any]:
        """Degree of the spherical harmonics: the lowest above which all coefficients are zero."""
        return {"sh_degree": _degree(_harmonics(_table(path)))}

    def read(self, foreign: Foreign) -> Imported:
        if foreign.parameters is None:
            raise Unreadable(foreign.path, f"found no {self.parameters} beside it", "--parameters FILE")
        table, tag = _table(foreign.path), foreign.head
        head = load_head(tag, foreign.config.topology())
        flame = _flame(foreign.parameters)
        identity = _identity(flame, foreign, tag)
        return Imported(identity, _state(table, head, foreign), _notes(foreign, flame, _degree(_harmonics(table))))


def _notes(foreign: Foreign, flame: _Table, degree: int) -> tuple[str, ...]:
    """What of the files is not taken.

    Args:
        foreign: the checkpoint.
        flame: arrays of the head model's parameters.
        degree: of the file's spherical harmonics.
    """
    count = len(flame["expr"])
    offset = flame.get("dynamic_offset")
    steps = f"{count} timestep{'s' * (count != 1)}"
    notes = [f"poses of the {steps} in {foreign.parameters.name} were left out"] if foreign.parameters else []
    if offset is not None and offset.any():
        notes.append("the dynamic offset was left out, which the published code does not use either")
    if degree > foreign.config.sh_degree:
        notes.append(f"spherical harmonics of degree {foreign.config.sh_degree + 1} to {degree} were left out")
    return tuple(notes)


def _table(path: Path) -> _Table:
    """Properties of the Gaussians of a point_cloud.ply.

    Raises:
        Unreadable: it is damaged, or of Gaussians that no triangle carries.
    """
    table = read_ply_vertices(path)
    wanted = [*_SCALARS, *(f"f_dc_{k}" for k in range(3))]
    lacking = [name for name in wanted if name not in table]
    if lacking:
        raise Unreadable(path, f"found a PLY file without {', '.join(lacking)}: expected Gaussians")
    if "binding_0" not in table:
        raise Unreadable(
            path,
            "found Gaussians that no triangle carries (no binding_0), which cannot be posed",
            "name the point_cloud.ply of an avatar that is bound to a mesh",
        )
    if not len(table["x"]):
        raise Unreadable(path, "found no Gaussians")
    rest = sum(name.startswith("f_rest_") for name in table)
    if rest not in (0, 9, 24, 45) or any(f"f_rest_{k}" not in table for k in range(rest)):
        raise Unreadable(path, f"found {rest} coefficients f_rest_*, expected 0, 9, 24 or 45")
    return table


def _harmonics(table: _Table) -> NDArray[np.float64]:
    """Coefficients (N, K, 3) of all degrees; above 0 the file has them channel by channel."""
    first = np.stack([table[f"f_dc_{k}"] for k in range(3)], axis=1)[:, None]
    count = sum(name.startswith("f_rest_") for name in table)
    if not count:
        return first
    rest = np.stack([table[f"f_rest_{k}"] for k in range(count)], axis=1).reshape(len(first), 3, -1)
    return np.concatenate([first, rest.transpose(0, 2, 1)], axis=1)


def _degree(harmonics: NDArray[np.float64]) -> int:
    """Lowest degree above which all coefficients are zero."""
    used = np.flatnonzero(harmonics.any(axis=(0, 2)))
    return math.isqrt(int(used.max())) if len(used) else 0


def _state(table: _Table, head: HeadModel, foreign: Foreign) -> dict[str, Tensor]:
    """Entries of the avatar's state_dict.

    Raises:
        Unreadable: a Gaussian is bound to no face of the head model.
    """
    face, faces = table["binding_0"], len(head.faces)
    if not ((face >= 0) & (face < faces) & (face == np.floor(face))).all():
        worst = face[~((face >= 0) & (face < faces) & (face == np.floor(face)))][0]
        raise Unreadable(
            foreign.path,
            f"found a Gaussian bound to face {worst:g}, the {foreign.config.topology()} topology of {head.tag} has "
            f"{faces}",
            "--head TAG",
        )
    wanted = (foreign.config.sh_degree + 1) ** 2
    harmonics = _harmonics(table)
    kept = np.zeros((len(face), wanted, 3))
    kept[:, : min(wanted, harmonics.shape[1])] = harmonics[:, :wanted]
    columns = {
        "position": np.stack([table[name] for name in "xyz"], axis=1),
        "dc": kept[:, :1],
        "rest": kept[:, 1:],
        "scaling": np.stack([table[f"scale_{k}"] for k in range(3)], axis=1),
        "rotation": np.stack([table[f"rot_{k}"] for k in range(4)], axis=1),
        "opacity": table["opacity"],
    }
    if wanted == 1:
        del columns["rest"]
    found = {f"table.{name}": torch.tensor(values, dtype=torch.float32) for name, values in columns.items()}
    found["table.face_index"] = torch.tensor(face, dtype=torch.int64)
    found["degree.active"] = torch.tensor(foreign.config.sh_degree)
    return found


def _flame(path: Path) -> dict[str, NDArray[np.float64]]:
    """Arrays of a flame_param.npz, with one row per timestep or as the identity has them.

    Raises:
        Unreadable: it is damaged, or an array is missing or of another shape.
    """
    names = ("shape", "static_offset", *_DYNAMIC)
    found = {
        name: array.astype(np.float64) for name, array in read_npz(path, names).items() if array.dtype.kind in "fiu"
    }
    for name in ("shape", *_DYNAMIC):
        if name not in found:
            raise Unreadable(path, f"found no array {name} of numbers: expected FLAME's parameters of GaussianAvatars")
    found["shape"] = found["shape"].reshape(-1)
    count = len(found["expr"]) if found["expr"].ndim == 2 else 0
    for name, width in _DYNAMIC.items():
        shape = found[name].shape
        if len(shape) != 2 or shape[0] != count or not count or shape[1] != (width or shape[1]):
            raise Unreadable(path, f"found {name} of shape {shape}, expected ({count or 'T'}, {width or 'E'})")
    if "static_offset" in found:
        offset = found["static_offset"]
        found["static_offset"] = offset.reshape(-1, 3) if offset.size % 3 == 0 else offset
    for name, array in found.items():
        if not np.isfinite(array).all():
            raise Unreadable(path, f"found values of {quoted(name)} that are not finite (NaN or infinite)")
    return found


def _identity(flame: _Table, foreign: Foreign, tag: str) -> Identity:
    """Identity of the file's subject; camera and first frame are the dataset's where there is one."""

    def rows(name: str) -> Tensor:
        return torch.tensor(flame[name], dtype=torch.float32)

    expression, eyes = rows("expr"), rows("eyes_pose")
    params = HeadParams(
        head=tag,
        expression=expression[:1],
        root=rows("rotation")[:1],
        neck=rows("neck_pose")[:1],
        jaw=rows("jaw_pose")[:1],
        eye_left=eyes[:1, :3],
        eye_right=eyes[:1, 3:],
        translation=rows("translation")[:1],
    )
    variance = expression.var(0, keepdim=True) if len(expression) > 1 else torch.zeros_like(expression[:1])
    known = foreign.known if foreign.known is not None and foreign.known.head == tag else None
    offset = rows("static_offset") if "static_offset" in flame else None
    return Identity(
        head=tag,
        shape=rows("shape")[None],
        mean_expression=expression.mean(0, keepdim=True),
        var_expression=variance,
        first=known.first if known is not None else params,
        camera=known.camera if known is not None else _camera(params),
        subject=known.subject if known is not None else foreign.path.parent.name,
        static_offset=offset[None] if offset is not None and bool(offset.any()) else None,
    )


def _camera(params: HeadParams) -> Camera:
    """Camera in front of a head's place, as the published code's demonstration has it."""
    height, width = _SIZE
    focal = height / (2 * math.tan(_ANGLE / 2))
    K = torch.tensor([[[focal, 0.0, width / 2], [0.0, focal, height / 2], [0.0, 0.0, 1.0]]])
    w2c = torch.diag(torch.tensor([1.0, -1.0, -1.0, 1.0]))
    w2c[:3, 3] = -w2c[:3, :3] @ params.translation[0] + torch.tensor([0.0, 0.0, _DISTANCE])
    return Camera(w2c[None], K, width, height)
