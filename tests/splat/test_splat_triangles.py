"""Triangles are filled where they fall."""

import numpy as np
import pytest

from headbench.harness.splat import fill_triangles, nearest_triangles


def test_a_square_of_two_triangles_is_filled_to_its_edges() -> None:
    corners = np.array([[4, 6], [12, 6], [12, 10], [4, 10.0], [np.nan, 0]])
    mask = fill_triangles(corners, np.array([[0, 1, 2], [0, 2, 3], [0, 1, 4]]), 20, 16)
    expected = np.zeros((16, 20), dtype=bool)
    expected[6:10, 4:12] = True
    assert np.array_equal(mask, expected)


def inside(corners: np.ndarray, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Whether points lie on one side of all three edges of a triangle (3, 2)."""
    sides = []
    for k in range(3):
        (x0, y0), (x1, y1) = corners[k], corners[(k + 1) % 3]
        sides.append((x1 - x0) * (y - y0) - (y1 - y0) * (x - x0))
    return np.all(np.array(sides) >= 0, axis=0) | np.all(np.array(sides) <= 0, axis=0)


@pytest.mark.parametrize("reach", [1.5, 6.0, 40.0])
def test_a_pixel_is_set_when_most_of_its_sixteen_samples_lie_in_a_triangle(reach: float) -> None:
    random = np.random.default_rng(3)
    points = (random.uniform(0, 24, (12, 1, 2)) + random.uniform(-reach, reach, (12, 3, 2))).reshape(-1, 2)
    triangles = random.permutation(36).reshape(-1, 3) if reach == 40.0 else np.arange(36).reshape(-1, 3)
    y, x = (np.mgrid[: 4 * 20, : 4 * 24] + 0.5) / 4
    covered = np.any([inside(points[triangle], x, y) for triangle in triangles], axis=0)
    expected = covered.reshape(20, 4, 24, 4).sum(axis=(1, 3)) > 8
    assert 0 < expected.sum() < expected.size
    assert np.array_equal(fill_triangles(points, triangles, 24, 20), expected)


def test_neighbours_leave_no_crack_and_far_corners_do_no_harm() -> None:
    random = np.random.default_rng(0)
    middle = random.uniform(2, 18, (200, 1, 2))
    square = np.array([[0.0, 0], [20, 0], [20, 20], [0, 20]])
    for centre in middle[:, 0]:
        points = np.vstack([square, centre])
        assert fill_triangles(points, np.array([[0, 1, 4], [2, 1, 4], [2, 3, 4], [0, 3, 4]]), 20, 20).all()
    huge = np.array([[-1e12, -1e12], [1e12, -1e12], [0, 1e12]])
    assert fill_triangles(huge, np.array([[0, 1, 2]]), 20, 20).all()


def test_the_nearest_triangles_are_those_that_rays_hit_first() -> None:
    import torch

    from headbench.harness.head import load_head, project
    from headbench.harness.head.sight import first_hits
    from headbench.harness.types import Camera

    head = load_head("openhead")
    w2c = torch.diag(torch.tensor([1.0, -1.0, -1.0, 1.0]))
    w2c[:3, 3] = -w2c[:3, :3] @ head.template.mean(0) + torch.tensor([0.01, 0.0, 0.5])
    camera = Camera(w2c[None], torch.tensor([[[90.0, 0, 33], [0, 88, 30], [0, 0, 1]]]), 64, 60)
    pixels, depth = (each[0].numpy() for each in project(head.template[None], camera))
    found = nearest_triangles(pixels, depth, head.faces.numpy(), 64, 60)
    rays = torch.stack(torch.meshgrid(torch.arange(64.0), torch.arange(60.0), indexing="xy"), 2).reshape(-1, 2) + 0.5
    exact = first_hits(rays, head.template, head.faces, camera)
    hit = exact.face_index.reshape(60, 64).numpy() >= 0
    assert 500 < hit.sum() < hit.size and np.array_equal(found.face_index >= 0, hit)
    assert np.allclose(found.depth[hit], exact.depth.reshape(60, 64).numpy()[hit], atol=1e-5)
    assert (found.face_index == exact.face_index.reshape(60, 64).numpy()).mean() > 0.999, "up to ties on edges"
    assert np.isinf(found.depth[~hit]).all() and np.isinf(found.edge[~hit]).all()


def test_the_distance_from_an_edge_is_in_pixels_and_what_is_behind_does_not_count() -> None:
    points, depth = np.array([[0, 0], [40, 0], [0, 40], [5.0, 5.0]]), np.array([1.0, 2.0, 4.0, -1.0])
    found = nearest_triangles(points, depth, np.array([[0, 1, 3], [0, 1, 2]]), 12, 10)
    assert (found.face_index == 1).all(), "the row of the caller's list"
    assert np.allclose(found.edge[2, 9], 2.5) and np.allclose(found.edge[8, 3], 3.5)
