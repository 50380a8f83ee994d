"""Importer of the checkpoints that FateAvatar's code writes: a .pth of torch.save with the model's state."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from headbench.harness.assets import torch_load
from headbench.harness.head import HeadModel, load_head
from headbench.harness.importing import Foreign, Imported, Importer
from headbench.harness.reading import Unreadable
from headbench.harness.types import Camera, HeadParams, Identity

__all__ = ["OfficialCheckpoint", "check_faces", "identity_of_model", "left_out", "read_model", "split_of"]

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
TEMPLATE, DIRECTIONS = "flame.v_template", "flame.shapedirs"
"""Names of FLAME's template with the subject's identity, and of its shape and expression directions."""
_CLOSE = 1e-5
"""Difference in metres up to which arrays of head models count as the same."""


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


class Split(NamedTuple):
    """Numbers of shape and of expression coefficients."""

    shapes: int
    expressions: int


def left_out(path: Path) -> tuple[str, ...]:
    """What of a checkpoint of FateAvatar's repository is not taken."""
    return (f"refined expressions and poses of frames in {path.name}, if there are any, were left out",)


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


def read_model(path: Path, table: Mapping[str, tuple[int, ...]], others: Sequence[str] = ()) -> dict[str, Tensor]:
    """Tensors of the model in a checkpoint of FateAvatar's repository, which trains several methods.

    Args:
        path: the file.
        table: tensors with a row per Gaussian -> shape of a row.
        others: names of further tensors that it must have, besides FLAME's.

    Raises:
        Unreadable: the file is damaged, names what is not read, or lacks a tensor.
    """
    content = torch_load(path)
    model = content.get("model") if isinstance(content, dict) else None
    if not isinstance(model, dict):
        raise Unreadable(path, "found a torch file without a `model`: expected a checkpoint of FateAvatar's code")
    found = {name: value for name, value in model.items() if isinstance(value, Tensor)}
    lacking = [name for name in (*table, *others, TEMPLATE, DIRECTIONS) if name not in found]
    if lacking:
        raise Unreadable(path, f"found a checkpoint of another method: it has no {', '.join(lacking)}")
    count = len(found[next(iter(table))]) if found[next(iter(table))].dim() else 0
    for name, shape in table.items():
        if tuple(found[name].shape) != (count, *shape) or not count:
            wanted = (count or "N", *shape)
            raise Unreadable(path, f"found {name} of shape {tuple(found[name].shape)}, expected {wanted}")
    vertices = len(found[TEMPLATE]) if found[TEMPLATE].dim() else 0
    for name, axes in ((TEMPLATE, 2), (DIRECTIONS, 3)):
        shape = tuple(found[name].shape)
        if len(shape) != axes or shape[:2] != (vertices, 3) or not found[name].numel():
            raise Unreadable(path, f"found {name} of shape {shape}, expected a mesh's")
    return found


def check_faces(path: Path, index: Tensor, faces: int) -> None:
    """Refuse Gaussians on faces (N,) that a mesh of `faces` faces does not have.

    Raises:
        Unreadable: there is one.
    """
    if index.is_floating_point() or not bool(((index >= 0) & (index < faces)).all()):
        raise Unreadable(path, f"found a Gaussian on a face that there is not: the mesh has {faces}")


def split_of(path: Path, model: Mapping[str, Tensor], head: HeadModel) -> Split:
    """Where expression directions begin, found by the registered head model's first one.

    Raises:
        Unreadable: the checkpoint is of another head model.
    """
    directions = model[DIRECTIONS]
    other = f"found a mesh of another head model than {head.tag}"
    if len(directions) != len(head.template):
        raise Unreadable(path, f"{other}: {len(directions)} vertices, not {len(head.template)}", "--head TAG")
    apart = (directions - head.expression_dirs[..., :1]).abs().amax(dim=(0, 1))
    best = int(apart.argmin())
    shapes, expressions = best, directions.shape[-1] - best
    if float(apart[best]) > _CLOSE or expressions > head.expression_dirs.shape[-1]:
        raise Unreadable(path, f"{other}: its expressions are not among its directions", "--head TAG")
    return Split(shapes, expressions)


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


def identity_of_model(model: Mapping[str, Tensor], head: HeadModel, foreign: Foreign, split: Split) -> Identity:
    """Identity of the subject: shape coefficients that give the checkpoint's template, and what they leave of it."""
    template = model[TEMPLATE].double()
    wanted = (template - head.template.double()).reshape(-1, 1)
    basis = head.shape_dirs[..., : split.shapes].double().reshape(len(wanted), -1)
    shape = torch.linalg.lstsq(basis, wanted).solution
    left = (wanted - basis @ shape).reshape(-1, 3)
    known = foreign.known if foreign.known is not None and foreign.known.head == head.tag else None
    mean = torch.zeros(1, split.expressions)
    zero = torch.zeros(1, 3)
    first = HeadParams(head.tag, mean, zero, zero, zero, zero, zero, zero)
    return Identity(
        head=head.tag,
        shape=shape.T.float(),
        mean_expression=_fitted(known.mean_expression, mean) if known is not None else mean,
        var_expression=_fitted(known.var_expression, mean) if known is not None else mean,
        first=known.first if known is not None else first,
        camera=known.camera if known is not None else _camera(head),
        subject=known.subject if known is not None else foreign.path.stem,
        static_offset=left.float()[None] if float(left.abs().max()) > _CLOSE else None,
    )


def _fitted(values: Tensor, like: Tensor) -> Tensor:
    """Statistics (1, n) of expressions with as many columns as `like`, zero where there are none."""
    found = torch.zeros_like(like)
    width = min(values.shape[1], like.shape[1])
    found[:, :width] = values[:, :width]
    return found


def _camera(head: HeadModel) -> Camera:
    """Camera of 512 x 512 pixels in front of the head at rest, where no dataset gives one."""
    middle = head.template.mean(0)
    size = 512
    K = torch.tensor([[[2.5 * size, 0.0, size / 2], [0.0, 2.5 * size, size / 2], [0.0, 0.0, 1.0]]])
    w2c = torch.diag(torch.tensor([1.0, -1.0, -1.0, 1.0]))
    w2c[:3, 3] = -w2c[:3, :3] @ middle + torch.tensor([0.0, 0.0, 1.0])
    return Camera(w2c[None], K, size, size)
