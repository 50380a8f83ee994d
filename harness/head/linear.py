"""The arrays of a linear head model, and offsets that training learns of them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from headbench.harness.head.arrays import HeadArrays

__all__ = ["Corrections", "LinearHead", "MeshBuffers"]


@dataclass(frozen=True)
class Corrections:
    """Learnable offsets of a model's own arrays, added before skinning; joints are regressed from the sum.

    Example:
        >>> raised = Corrections(template=torch.tensor([0.0, 0.01, 0.0]).expand(len(head.template), 3))
        >>> subject_head = head.bind(identity)
        >>> moved = subject_head.vertices(frame.params, raised) - subject_head.vertices(frame.params)
        >>> round(float(moved.norm(dim=2).mean()), 4)
        0.01
    """

    template: Tensor | None = None
    """(V, 3) metres."""
    expression: Tensor | None = None
    """(V, 3, E) with the width of the expressions it is used with, or wider."""
    pose: Tensor | None = None
    """(36, 3V), index (feature, 3 v + axis)."""


class MeshBuffers(nn.Module):
    """What a head carries besides its bases: one place for buffers that a device or type change must reach."""

    tag: str
    topology: str
    notes: tuple[str, ...]
    parents: tuple[int, ...]
    faces: Tensor
    """(F, 3) int64"""
    uvs: Tensor | None
    """(U, 2), v up."""
    uv_faces: Tensor | None
    """(F, 3) int64 into `uvs`."""
    eyelid_dirs: Tensor | None
    """(2, V, 3) left, right."""
    pose_dirs: Tensor
    """(P, 3V), index (feature, 3 v + axis)."""
    joint_regressor: Tensor
    """(J, V)"""
    weights: Tensor
    """(V, J)"""
    expression_names: tuple[str, ...]

    def _buffer(self, name: str, value: Tensor | None) -> None:
        # Never in a state_dict: FLAME may not be copied into checkpoints.
        self.register_buffer(name, value, persistent=False)

    @property
    def regions(self) -> dict[str, Tensor]:
        """Region name -> (V,) bool."""
        found = (name for name, _ in self.named_buffers(recurse=False) if name.startswith("region_"))
        return {name.removeprefix("region_"): getattr(self, name) for name in found}


class LinearHead(MeshBuffers):
    """Template and bases of a head model with joints in the order root, neck, jaw, left eye, right eye.

    Metres, y up, face to +z. `HeadModel` poses them.

    Args:
        arrays: what a file or a builder gave.
    """

    template: Tensor
    """(V, 3)"""
    shape_dirs: Tensor
    """(V, 3, S)"""
    expression_dirs: Tensor
    """(V, 3, E)"""

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
        """(S, E): numbers of shape and expression coefficients."""
        return self.shape_dirs.shape[2], self.expression_dirs.shape[2]
