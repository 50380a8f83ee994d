"""The head mesh in the images: a frame that is looked at from many sides is posed once."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from headbench.datasets.common import mesh as module
from headbench.datasets.common.mesh import ProjectedMesh
from headbench.harness.head import SubjectHead
from headbench.harness.types import Camera, HeadParams


def _params(turn: float) -> HeadParams:
    zero = torch.zeros(1, 3)
    return HeadParams("openhead", torch.zeros(1, 4), zero + turn, zero, zero, zero, zero, zero)


def test_a_frame_is_posed_once_and_never_taken_for_another(monkeypatch: pytest.MonkeyPatch) -> None:
    posed: list[HeadParams] = []
    plain = SubjectHead.vertices

    def counted(self: SubjectHead, params: HeadParams) -> torch.Tensor:
        posed.append(params)
        return plain(self, params)

    monkeypatch.setattr(SubjectHead, "vertices", counted)
    monkeypatch.setattr(module, "_KEPT", 3)
    mesh = ProjectedMesh("openhead", torch.zeros(1, 4))
    w2c = torch.diag(torch.tensor([1.0, -1.0, -1.0, 1.0]))
    w2c[2, 3] = 1.0
    camera = Camera(w2c[None], torch.tensor([[[80.0, 0, 16], [0, 80.0, 16], [0, 0, 1]]]), 32, 32)
    one, same = _params(0.2), _params(0.2)
    vertices = mesh.vertices(one)
    assert np.array_equal(vertices, mesh.vertices(one)) and mesh.silhouette(one, camera).any()
    assert [params is one for params in posed] == [True]
    assert np.array_equal(mesh.vertices(same), vertices) and len(posed) == 2, "told by identity, not by value"
    for turn in (0.1, 0.3, 0.4):
        moved = replace(one, root=torch.full((1, 3), turn))
        assert not np.array_equal(mesh.vertices(moved), vertices)
    assert np.array_equal(mesh.vertices(one), vertices) and len(posed) == 6, "only the last ones are kept"
