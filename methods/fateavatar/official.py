"""Importer of the checkpoints that FateAvatar's code writes: a .pth of torch.save with the model's state."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from headbench.harness.head import HeadModel, load_head
from headbench.harness.importing import Foreign, Imported, Importer
from headbench.harness.reading import Unreadable
from headbench.methods.common.fate_repository import (
    DIRECTIONS,
    TEMPLATE,
    check_faces,
    identity_of_model,
    left_out,
    read_model,
    split_of,
)

__all__ = ["OfficialCheckpoint"]

_TABLE = {
    "_offset": (1,),
    "_features_dc": (1, 3),
    "_scaling": (3,),
    "_rotation": (4,),
    "_opacity": (1,),
    "face_index": (),
    "bary_coords": (3,),
}
"""Tensor with a row per Gaussian -> shape of a row."""


class OfficialCheckpoint(Importer):
    """Reads <name>_epNNNN.pth."""

    suffixes = (".pth",)
    head = "flame2020"

    def settings(self, path: Path) -> Mapping[str, Any]:
        """Which corrections of the mesh the checkpoint holds."""
        model = _model(path)
        return {
            "delta_blendshapes": "delta_shapedirs" in model and "delta_posedirs" in model,
            "delta_vertex": "delta_vertex" in model,
        }

    def read(self, foreign: Foreign) -> Imported:
        path, config = foreign.path, foreign.config
        model = _model(path)
        head = load_head(foreign.head, config.topology())
        split = split_of(path, model, head)
        rows = _same_faces(path, model["faces"], head)
        state = _gaussians(model, rows)
        size = model["face_scaling_canonical"].reshape(-1)
        state["canonical_size"] = torch.zeros(len(head.faces)).index_copy(0, rows, size.float())
        missing = torch.ones(len(head.faces), dtype=torch.bool).index_fill(0, rows, False)
        state["canonical_size"][missing] = 1.0
        if config.delta_blendshapes:
            state["delta_expression"] = model["delta_shapedirs"][..., split.shapes :].float()
            state["delta_pose"] = model["delta_posedirs"].float()
        if config.delta_vertex:
            state["delta_vertex"] = model["delta_vertex"].float()
        return Imported(identity_of_model(model, head, foreign, split), state, left_out(path))


def _model(path: Path) -> dict[str, Tensor]:
    """Tensors of the model in a checkpoint, with the shapes that the published code gives them.

    Raises:
        Unreadable: the file is damaged, names what is not read, or is of another method.
    """
    found = read_model(path, _TABLE, ("faces", "face_scaling_canonical"))
    vertices, faces, sizes = len(found[TEMPLATE]), len(found["faces"]), found[DIRECTIONS].shape[-1]
    shapes = {
        "faces": (faces, 3),
        "face_scaling_canonical": (faces, 1),
        "delta_shapedirs": (vertices, 3, sizes),
        "delta_posedirs": (36, 3 * vertices),
        "delta_vertex": (vertices, 3),
    }
    for name, wanted in shapes.items():
        if name in found and tuple(found[name].shape) != wanted:
            raise Unreadable(path, f"found {name} of shape {tuple(found[name].shape)}, expected {wanted}")
    check_faces(path, found["face_index"], faces)
    return found


def _same_faces(path: Path, faces: Tensor, head: HeadModel) -> Tensor:
    """Rows (F,) of the head model's faces that are the checkpoint's, with the same first vertex.

    Raises:
        Unreadable: a face is not among them, as where the mouth was closed otherwise.
    """
    if torch.equal(faces, head.faces):
        return torch.arange(len(faces))
    known = {tuple(face): row for row, face in enumerate(head.faces.tolist())}
    rows = [known.get(tuple(face), -1) for face in faces.tolist()]
    lost = rows.count(-1)
    if lost:
        raise Unreadable(
            path,
            f"found {lost} of {len(rows)} faces that {head.tag} does not have in the topology {head.topology}",
            "`bench assets add flame2020 FILE` with head_template_mouth_close.obj of FateAvatar's repository",
        )
    return torch.tensor(rows)


def _gaussians(model: Mapping[str, Tensor], rows: Tensor) -> dict[str, Tensor]:
    """Columns of the avatar's table, with Gaussians on the head model's own faces."""
    count = len(model["_offset"])
    return {
        "table.offset": model["_offset"][:, 0].float(),
        "table.dc": model["_features_dc"].float(),
        "table.scaling": model["_scaling"].float(),
        "table.rotation": model["_rotation"].float(),
        "table.opacity": model["_opacity"][:, 0].float(),
        "table.face_index": rows[model["face_index"].long()],
        "table.bary": model["bary_coords"].float(),
        "table.created": torch.zeros(count, dtype=torch.bool),
    }
