import numpy as np
import pytest
import torch

from headbench.harness.assets import record
from headbench.harness.assets.store import asset
from headbench.harness.assets.templates import read_template
from headbench.harness.head import uv_raster

SQUARE = torch.tensor([[0.0, 0], [1, 0], [1, 1], [0, 1]])


def grid(index, bary, size, uvs, faces):
    """(size, size) the face at each pixel or -1, by the texture coordinates that the samples claim."""
    where = (uvs[faces[index]] * bary[..., None]).sum(1)
    picture = np.full((size, size), -1)
    row = ((1 - where[:, 1]) * size).floor().long()
    picture[row, (where[:, 0] * size).floor().long()] = index
    return picture.tolist()


def test_pixel_centres_strictly_inside_are_filled_and_row_zero_is_the_top_of_the_texture():
    faces = torch.tensor([[0, 1, 2]])
    index, bary = uv_raster(SQUARE, faces, 3)
    # The diagonal's centres lie on an edge, so they are not inside.
    assert grid(index, bary, 3, SQUARE, faces) == [[-1, -1, -1], [-1, -1, 0], [-1, 0, 0]]
    torch.testing.assert_close(
        bary, torch.tensor([[1 / 6, 1 / 3, 1 / 2], [1 / 2, 1 / 3, 1 / 6], [1 / 6, 2 / 3, 1 / 6]])
    )


def test_samples_lie_at_pixel_centres_in_row_major_order():
    uvs = torch.tensor([[-1.0, -1], [3, -1], [-1, 3]])
    index, bary = uv_raster(uvs, torch.tensor([[0, 1, 2]]), 4)
    where = (uvs[None] * bary[..., None]).sum(1)
    centres = [((c + 0.5) / 4, 1 - (r + 0.5) / 4) for r in range(4) for c in range(4)]
    torch.testing.assert_close(where, torch.tensor(centres))
    assert index.tolist() == [0] * 16


def test_flipped_and_empty_faces_are_culled():
    assert len(uv_raster(SQUARE, torch.tensor([[0, 2, 1], [0, 1, 1]]), 8)[0]) == 0
    index, _ = uv_raster(SQUARE, torch.tensor([[0, 2, 1], [0, 2, 3]]), 8)
    assert set(index.tolist()) == {1}


def test_the_first_face_wins_where_faces_overlap():
    faces = torch.tensor([[0, 1, 3], [0, 1, 2], [0, 2, 3]])
    index, _ = uv_raster(SQUARE, faces, 16)
    alone, _ = uv_raster(SQUARE, faces[:1], 16)
    assert (index == 0).sum() == len(alone) == 15 * 16 / 2
    assert set(index.tolist()) == {0, 1, 2}


def test_a_mesh_without_faces_fills_nothing():
    index, bary = uv_raster(SQUARE, torch.zeros(0, 3, dtype=torch.int64), 8)
    assert index.shape == (0,) and bary.shape == (0, 3)


def test_a_random_mesh_agrees_with_testing_every_pixel_against_every_face(monkeypatch):
    monkeypatch.setattr("headbench.harness.head.uv._CHUNK", 1000)
    rng = np.random.default_rng(2)
    uvs, size = rng.random((30, 2)), 24
    faces = rng.integers(0, 30, (25, 3))
    expected = {}
    corners = uvs[faces]
    edges = np.roll(corners, -1, axis=1) - corners
    for row in range(size):
        for column in range(size):
            p = np.array([(column + 0.5) / size, 1 - (row + 0.5) / size])
            inside = (np.linalg.det(np.stack([edges, p - corners], axis=2)) > 0).all(axis=1)
            if inside.any():
                expected[row, column] = int(inside.argmax())
    index, bary = uv_raster(uvs, faces, size)
    assert list(expected.values()) == index.tolist()
    where = (uvs[faces[index]] * bary.numpy()[..., None]).sum(1)
    centres = [((c + 0.5) / size, 1 - (r + 0.5) / size) for r, c in expected]
    np.testing.assert_allclose(where, centres, atol=1e-6)


def test_a_head_of_ten_thousand_faces_fills_most_of_its_atlas(made_flame):
    index, _ = uv_raster(made_flame.uvs, made_flame.faces, 256)
    assert len(index) > 30000


def test_fateavatars_template_gives_the_published_counts():
    if record("flame/mouth_closed_template") is None:
        pytest.skip("flame/mouth_closed_template is not registered (set HEADBENCH_TEST_ASSETS to a folder that has it)")
    mesh = read_template(asset("flame/mouth_closed_template"), 10_006)
    index, _ = uv_raster(mesh.uvs, mesh.uv_faces, 256)
    assert len(index) == 59_099
    assert len(index.unique()) == 6_973
    assert len(uv_raster(mesh.uvs, mesh.uv_faces, 128)[0]) == 14_876
    assert not {9977, 9978, 9983, 9998, 10003} & set(index.tolist())
