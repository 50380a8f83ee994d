"""Closest points of a mesh, against trimesh and against a triangle at a time."""

import numpy as np
import pytest
import torch
import trimesh

from headbench.harness.head import closest, load_head
from headbench.harness.head.closest import closest_on_triangles, closest_places
from headbench.harness.head.frames import points_on_faces


def test_the_closest_point_of_a_triangle_is_trimesh_s() -> None:
    rng = np.random.default_rng(0)
    triangles, points = rng.normal(size=(3000, 3, 3)), rng.normal(size=(3000, 3)) * 2
    triangles[:40, 2] = triangles[:40, 0] * 0.3 + triangles[:40, 1] * 0.7  # no area
    triangles[40:50, 1] = triangles[40:50, 0]
    bary = closest_on_triangles(torch.from_numpy(points), torch.from_numpy(triangles)).numpy()
    assert bary.min() >= 0
    np.testing.assert_allclose(bary.sum(1), 1, atol=1e-12)
    assert len(np.unique((bary > 0).sum(1))) == 3, "inside, on edges and at corners"
    found = (bary[:, :, None] * triangles).sum(1)
    np.testing.assert_allclose(found[50:], trimesh.triangles.closest_point(triangles, points)[50:], atol=1e-9)
    along = np.linspace(0, 1, 20_001)[:, None]
    for triangle, point, place in zip(triangles[:50], points[:50], found[:50], strict=True):
        line = triangle[0] + along * (triangle[1] - triangle[0])
        line = line if np.ptp(line) else triangle[0] + along * (triangle[2] - triangle[0])
        assert np.linalg.norm(place - point) <= np.linalg.norm(line - point, axis=1).min() + 1e-9


@pytest.mark.parametrize("cells", [1 << 20, 3000])
def test_closest_places_are_trimesh_s_whatever_fits_in_memory(cells: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(closest, "_CELLS", cells)
    head = load_head("openhead")
    vertices, faces = head.template, head.faces
    rng = torch.Generator().manual_seed(0)
    # On the head, up to some millimetres off it, far from it, and in its middle, where much is equally far.
    on = points_on_faces(
        vertices[None], faces, torch.randint(len(faces), (40,), generator=rng), torch.full((40, 3), 1 / 3)
    )[0]
    off = on + 0.004 * torch.randn(40, 3, generator=rng)
    points = torch.cat([on, off, vertices[::300] * 2, vertices.mean(0, keepdim=True)])
    face, bary = closest_places(points, vertices, faces)
    found = points_on_faces(vertices[None], faces, face, bary)[0]
    triangles = vertices.double().numpy()[faces.numpy()]
    distance = [
        np.linalg.norm(
            trimesh.triangles.closest_point(triangles, np.tile(point, (len(faces), 1))) - point, axis=1
        ).min()
        for point in points.double().numpy()
    ]
    np.testing.assert_allclose((found - points).norm(dim=1).numpy(), distance, rtol=1e-3, atol=2e-6)
    assert bary.min() >= 0


def test_at_an_edge_the_face_counts_whose_normal_points_to_the_point() -> None:
    vertices = torch.tensor([[0.0, 0, 0], [0, 0, 1], [1, 0, 0], [0, 1, 0]])
    faces = torch.tensor([[0, 1, 2], [1, 0, 3]])  # one lies flat, one stands upright
    face, bary = closest_places(torch.tensor([[-0.1, -0.8, 0.5], [-0.8, -0.1, 0.5]]), vertices, faces)
    assert face.tolist() == [0, 1]
    torch.testing.assert_close(bary, torch.tensor([[0.5, 0.5, 0.0], [0.5, 0.5, 0.0]]))


def test_points_that_are_not_finite_and_no_points_do_no_harm() -> None:
    vertices, faces = torch.eye(3), torch.tensor([[0, 1, 2]])
    face, bary = closest_places(torch.tensor([[torch.nan, 0, 0], [1.0, 1.0, 1.0]]), vertices, faces)
    assert face.tolist() == [0, 0]
    torch.testing.assert_close(bary, torch.full((2, 3), 1 / 3))
    assert [len(each) for each in closest_places(torch.zeros(0, 3), vertices, faces)] == [0, 0]
