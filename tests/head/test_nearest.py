"""Nearest points in chunks, against a search tree."""

import numpy as np
import pytest
import torch
from scipy.spatial import cKDTree

from headbench.harness.head import nearest_rows


@pytest.mark.parametrize("cells", [1, 700, 1 << 23])
def test_chunks_of_any_size_find_the_nearest(cells: int) -> None:
    rng = torch.Generator().manual_seed(0)
    points = torch.randn(311, 3, generator=rng) + 5.0
    queries = torch.randn(1000, 3, generator=rng) + 5.0
    found = nearest_rows(queries, points, cells)
    expected = cKDTree(points.double().numpy()).query(queries.double().numpy())[0]
    reached = (queries.double() - points.double()[found]).norm(dim=1).numpy()
    np.testing.assert_allclose(reached, expected, atol=1e-5)
    assert (torch.from_numpy(cKDTree(points.numpy()).query(queries.numpy())[1]) == found).float().mean() > 0.999


def test_a_point_is_nearest_to_itself_and_gradients_stay_out() -> None:
    points = torch.randn(50, 3, generator=torch.Generator().manual_seed(1), requires_grad=True)
    found = nearest_rows(points, points)
    assert torch.equal(found, torch.arange(50))
    assert not found.requires_grad


def test_no_queries_give_no_rows_and_no_points_are_an_error() -> None:
    assert nearest_rows(torch.zeros(0, 3), torch.zeros(4, 3)).shape == (0,)
    with pytest.raises(ValueError, match="at least one point"):
        nearest_rows(torch.zeros(2, 3), torch.zeros(0, 3))


@pytest.mark.gpu
def test_a_hundred_thousand_points_find_theirs_within_a_few_megabytes_and_without_waiting() -> None:
    rng = torch.Generator(device="cuda").manual_seed(0)
    points = torch.rand(5023, 3, generator=rng, device="cuda")
    queries = torch.rand(100_000, 3, generator=rng, device="cuda")
    nearest_rows(queries, points)
    torch.cuda.synchronize()
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated()
    torch.cuda.set_sync_debug_mode("error")
    try:
        found = nearest_rows(queries, points)
    finally:
        torch.cuda.set_sync_debug_mode("default")
    assert torch.cuda.max_memory_allocated() - before < 64 * 2**20, "the whole matrix would take 2 GB"
    expected = cKDTree(points.double().cpu().numpy()).query(queries.double().cpu().numpy())[0]
    reached = (queries - points[found]).norm(dim=1).cpu().numpy()
    np.testing.assert_allclose(reached, expected, atol=1e-4)
