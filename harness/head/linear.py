"""Tensors of a linear head model, and learnable offsets of them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from headbench.harness.head.arrays import HeadArrays

__all__ = ["Corrections", "LinearHead", "MeshBuffers"]


@dataclass(frozen=True)
class Corrections:
    """Learnable offsets of a head model's template and bases, added before skinning; joints follow them.

    Example:
        >>> raised = Corrections(template=torch.tensor([0.0, 0.01, 0.0]).expand(len(head.template), 3))
        >>> subject_head = head.bind(identity)
        >>> moved = subject_head.vertices(frame.params, raised) - subject_head.vertices(frame.params)
        >>> round(float(moved.norm(dim=2).mean()), 4)
        0.01
    """

    template: Tensor | None = None
    """(V, 3) metres, offset of the template."""
    expression: Tensor | None = None
    """(V, 3, E) metres, offset of the expression directions; E is at least that of the expressions it is used with."""
    pose: Tensor | None = None
    """(36, 3V) metres, offset of the pose correctives, index (feature, 3 v + axis)."""


class MeshBuffers(nn.Module):
    """Base of head modules: faces, skinning, regions and more as buffers, which `.to()` moves together."""

    tag: str
    """Head tag, such as flame2020 or openhead."""
    topology: str
    """open, mouth_closed or teeth."""
    notes: tuple[str, ...]
    """Sentences for tables about parts that were built or left out because a file is not registered."""
    parents: tuple[int, ...]
    """(J,) parent of each joint, -1 for the root."""
    faces: Tensor
    """(F, 3) int64 vertices of each triangle."""
    uvs: Tensor | None
    """(U, 2) texture coordinates, v up."""
    uv_faces: Tensor | None
    """(F, 3) int64 texture coordinates of each triangle's corners, as rows of `uvs`."""
    eyelid_dirs: Tensor | None
    """(2, V, 3) metres, blendshapes that close the left and the right eyelid."""
    pose_dirs: Tensor
    """(P, 3V) pose correctives, index (feature, 3 v + axis)."""
    joint_regressor: Tensor
    """(J, V) weights that give the joints from the shaped vertices."""
    weights: Tensor
    """(V, J) skinning weights."""
    expression_names: tuple[str, ...]
    """(E,) names of the expression coefficients; empty where they have none."""

    def _buffer(self, name: str, value: Tensor | None) -> None:
        """Register a tensor as a buffer that is not saved."""
        # Never in a state_dict: FLAME may not be copied into checkpoints.
        self.register_buffer(name, value, persistent=False)

    @property
    def regions(self) -> dict[str, Tensor]:
        """Regions of the mesh: name, such as lips -> (V,) bool."""
        found = (name for name, _ in self.named_buffers(recurse=False) if name.startswith("region_"))
        return {name.removeprefix("region_"): getattr(self, name) for name in found}


class LinearHead(MeshBuffers):
    """Template and bases of a head model with joints in the order root, neck, jaw, left eye, right eye.

    Metres, y up, face to +z. `HeadModel` poses them.

    Args:
        arrays: the model in NumPy, from files.
    """

    template: Tensor
    """(V, 3) the mean head at rest."""
    shape_dirs: Tensor
    """(V, 3, S) metres per unit of an identity coefficient."""
    expression_dirs: Tensor
    """(V, 3, E) metres per unit of an expression coefficient."""

    def __init__(self, arrays: HeadArrays) -> None:
        super().__init__()
        self.tag, self.topology, self.notes = arrays.tag, arrays.topology, arrays.notes
        self.parents = tuple(arrays.parents)
        self.expression_names = arrays.expression_names
        for name in ("template", "shape_dirs", "expression_dirs", "pose_dirs", "joint_regressor", "weights", "uvs"):
            value = getattr(arrays, name)
            self._buffer(name, None if value is None else torch.tensor(np.asarray(value, dtype=np.float32)))
        eyelids = arrays.eyelid_dirs
        self._buffer("eyelid_dirs", None if eyelids is None else torch.tensor(np.asarray(eyelids, dtype=np.float32)))
        for name in ("faces", "uv_faces"):
            value = getattr(arrays, name)
            self._buffer(name, None if value is None else torch.tensor(np.asarray(value, dtype=np.int64)))
        for name, mask in arrays.regions.items():
            self._buffer(f"region_{name}", torch.tensor(np.asarray(mask, dtype=np.bool_)))

    @property
    def sizes(self) -> tuple[int, int]:
        """Numbers (S, E) of shape and expression coefficients."""
        return self.shape_dirs.shape[2], self.expression_dirs.shape[2]
