"""Summing over the faces of a vertex."""

import numpy as np
import torch

from headbench.harness.head import face_frames
from headbench.methods.splattingavatar.surface import VertexSum


def test_each_vertex_gets_the_sum_of_its_faces(tiny):
    faces = tiny.faces
    values = torch.randn(2, len(faces), 5, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    found = VertexSum(faces, len(tiny.template))(values)
    for v in range(len(tiny.template)):
        rows = [k for k, face in enumerate(faces.tolist()) if v in face]
        np.testing.assert_allclose(found[:, v], values[:, rows].sum(1), atol=1e-12)


def test_a_vertex_of_no_face_gets_zero_and_gradients_are_right():
    faces = torch.tensor([[0, 1, 3], [3, 1, 0], [0, 3, 4]])
    total = VertexSum(faces, 6)
    values = torch.randn(1, 3, 2, dtype=torch.float64, requires_grad=True)
    assert total(values)[0, [2, 5]].abs().max() == 0
    assert torch.autograd.gradcheck(total, values)


def test_the_sum_of_raw_normals_is_the_area_weighted_normal_of_an_icosahedron(tiny):
    vertices = tiny.template
    # Faces of the tiny head are wound at random: turn them outward first.
    faces = tiny.faces.clone()
    corners = vertices[faces]
    inward = (torch.linalg.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]) * corners[:, 0]).sum(
        1
    ) < 0
    faces[inward] = faces[inward].flip(1)
    normals = VertexSum(faces, 12)(face_frames(vertices[None], faces).raw_normal)
    normals = torch.nn.functional.normalize(normals[0], dim=1)
    torch.testing.assert_close(normals, torch.nn.functional.normalize(vertices, dim=1))
