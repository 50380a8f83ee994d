"""Check of the head at rest: identity coefficients that were multiplied, or are another model's, tear its mesh."""

from __future__ import annotations

from dataclasses import fields, replace

import numpy as np
import torch

from headbench.datasets.common.mesh import ProjectedMesh
from headbench.harness.types import HeadParams, Subject

__all__ = ["TORN", "stretch"]

TORN = 2.5
"""Stretch from which on a head at rest is torn; see `stretch`.

Heads of synthetic people and of coefficients within 3 have 1.1 to 1.5; coefficients 10 times too large have 2.9 to 4.4,
20 times 5 to 8."""
_EDGES = 95.0
"""Percentile over the edges of the mesh: one of twenty is longer."""


def stretch(subject: Subject, mesh: ProjectedMesh) -> float:
    """Ratio of edge lengths, subject's head at rest to template, that one edge of twenty exceeds.

    Args:
        subject: the subject.
        mesh: its head mesh.

    Raises:
        MissingAsset: the head model's file is not registered.
        DataError: the coefficients are of another head.
    """
    params = subject.train[0].params
    zeros = {
        field.name: torch.zeros_like(value)
        for field in fields(HeadParams)
        if isinstance(value := getattr(params, field.name), torch.Tensor)
    }
    rest = replace(params, **zeros, similarity=None)  # type: ignore[arg-type]  # tensor fields by name
    plain = ProjectedMesh(subject.head, torch.zeros_like(subject.shape))
    faces = mesh.faces(rest)
    edges = np.unique(np.sort(np.concatenate([faces[:, :2], faces[:, 1:], faces[:, ::2]]), axis=1), axis=0)

    def lengths(which: ProjectedMesh) -> np.ndarray:
        vertices = which.vertices(rest)
        return np.asarray(np.linalg.norm(vertices[edges[:, 0]] - vertices[edges[:, 1]], axis=1))

    return float(np.percentile(lengths(mesh) / np.maximum(lengths(plain), 1e-9), _EDGES))
