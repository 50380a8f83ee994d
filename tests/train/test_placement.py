"""Where Gaussians start on a mesh, and how far apart they are."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from headbench.harness.blocks.placement import (
    mean_neighbour_distance,
    neighbour_distances,
    random_barycentrics,
    upright,
    uv_places,
)
from headbench.harness.errors import BenchError
from headbench.harness.head import HeadModel, load_head, uv_raster
from headbench.harness.head.load import load_arrays


def test_places_are_the_filled_pixels_of_the_atlas() -> None:
    head = load_head("openhead", "mouth_closed")
    faces, bary = uv_places(head, 32, "Any")
    expected = uv_raster(head.uvs, head.uv_faces, 32)
    assert torch.equal(faces, expected[0])
    assert torch.equal(bary, expected[1])


def test_flipped_faces_are_kept_without_culling() -> None:
    square = torch.tensor([[0.0, 0], [1, 0], [1, 1], [0, 1]])
    faces = torch.tensor([[0, 2, 1], [0, 2, 3], [0, 1, 1]])
    kept, bary = uv_raster(square, faces, 8, cull=False)
    culled, _ = uv_raster(square, faces, 8)
    assert set(culled.tolist()) == {1}
    assert set(kept.tolist()) == {0, 1}
    assert torch.bincount(kept).tolist() == [28, 28], "each half without the diagonal"
    where = (square[faces[kept]] * bary[..., None]).sum(1)
    inside = where[kept == 0]
    assert bool((inside[:, 0] > inside[:, 1]).all()), "the face below the diagonal"
    torch.testing.assert_close(bary.sum(1), torch.ones(len(bary)))


def test_a_head_without_an_atlas_is_refused_with_its_name_and_the_method_s() -> None:
    head = HeadModel(replace(load_arrays("openhead"), uvs=None))
    with pytest.raises(BenchError, match="Splash places Gaussians on a UV atlas, and head model openhead has none"):
        uv_places(head, 32, "Splash")


def test_neighbour_distances_are_those_of_brute_force() -> None:
    points = torch.randn(60, 3, generator=torch.Generator().manual_seed(2))
    difference = points.double().numpy()[:, None] - points.double().numpy()[None]
    expected = np.sort(np.sqrt((difference**2).sum(-1)), axis=1)[:, 1:4]
    np.testing.assert_allclose(neighbour_distances(points, 3).numpy(), expected, rtol=1e-12)
    assert mean_neighbour_distance(points) == pytest.approx(expected[:, 0].mean(), rel=1e-12)
    assert mean_neighbour_distance(torch.tensor([[0.0, 0, 0], [3, 0, 0], [3, 4, 0]])) == pytest.approx(10 / 3)


def test_barycentrics_gather_near_the_centroid_unless_drawn_area_uniformly() -> None:
    def second_moment(how: str) -> float:
        draws = random_barycentrics(50_000, how, torch.Generator().manual_seed(0))
        assert torch.allclose(draws.sum(1), torch.ones(50_000), atol=1e-5)
        assert draws.min() >= 0
        return float(((draws - 1 / 3) ** 2).mean())

    # A uniform distribution on the triangle is Dirichlet(1, 1, 1): variance 2 / 36 of each coordinate.
    assert second_moment("area_uniform") == pytest.approx(1 / 18, rel=0.02)
    assert second_moment("rand_over_sum") < 0.6 / 18


def test_first_gaussians_are_upright_and_of_one_opacity_in_the_type_of_what_they_stand_on() -> None:
    columns = upright(3, 0.1, torch.zeros(5, dtype=torch.float64))
    assert columns["rotation"].tolist() == [[1.0, 0.0, 0.0, 0.0]] * 3
    torch.testing.assert_close(columns["opacity"].sigmoid(), torch.full((3,), 0.1, dtype=torch.float64))
