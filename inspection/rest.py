"""Is the head at rest a head? Identity coefficients that were multiplied, or are another model's, tear its mesh."""

from __future__ import annotations

from dataclasses import fields, replace

import numpy as np
import torch

from headbench.datasets.common.mesh import ProjectedMesh
from headbench.harness.types import HeadParams, Subject

__all__ = ["TORN", "stretch"]

TORN = 2.5
"""Times that one edge of twenty may be as long as the template's. Heads of synthetic people and of coefficients within
3 have 1.1 to 1.5; coefficients 10 times too large have 2.9 to 4.4, 20 times 5 to 8."""
_EDGES = 95.0
"""Percentile of the edges."""


def stretch(subject: Subject, mesh: ProjectedMesh) -> float:
    """How many times as long as the template's the edges of the subject's head at rest are: what one of twenty exceeds.

    Args:
        mesh: of the subject.

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
