"""What checkpoints of FateAvatar's repository share, which trains several methods: arrays of FLAME in their state."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from headbench.harness.assets import torch_load
from headbench.harness.head import HeadModel
from headbench.harness.importing import Foreign
from headbench.harness.reading import Unreadable
from headbench.harness.types import Camera, HeadParams, Identity

__all__ = ["DIRECTIONS", "TEMPLATE", "Split", "check_faces", "identity_of_model", "left_out", "read_model", "split_of"]

TEMPLATE, DIRECTIONS = "flame.v_template", "flame.shapedirs"
"""Names of FLAME's template with the subject's identity, and of its shape and expression directions."""
_CLOSE = 1e-5
"""Difference in metres up to which arrays of head models count as the same."""


class Split(NamedTuple):
    """Numbers of shape and of expression coefficients."""

    shapes: int
    expressions: int


def left_out(path: Path) -> tuple[str, ...]:
    """What of a checkpoint of FateAvatar's repository is not taken."""
    return (f"refined expressions and poses of frames in {path.name}, if there are any, were left out",)


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
