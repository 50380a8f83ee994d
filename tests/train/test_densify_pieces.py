"""The shared pieces of adaptive density control against brute force."""

import math

import numpy as np
import pytest
import torch

from headbench.harness.blocks.densify import (
    Growth,
    accumulate,
    children_of_split,
    guard_faces,
    lowered_opacity,
    mean_gradient,
    opacity_reset,
    split_offsets,
    statistics,
    step_generator,
)
from headbench.harness.head import quat_to_matrix
from headbench.harness.train.table import GaussianTable
from headbench.harness.types import Rendering, ScreenGradient


class Known:
    def __init__(self, values: torch.Tensor) -> None:
        self.values = values

    def plain(self) -> torch.Tensor:
        return self.values

    absolute = plain


def rendering(radii: torch.Tensor, gradient: torch.Tensor) -> Rendering:
    screen: ScreenGradient = Known(gradient)
    blank = torch.zeros(len(radii), 3, 2, 2)
    return Rendering(blank, blank[:, :1], blank[:, :1], radii > 0, screen, lambda: radii)


def test_statistics_count_visible_gaussians_only() -> None:
    table = GaussianTable({"x": torch.zeros(3)}, statistics=statistics(3, "cpu", radii=True))
    gradient = torch.tensor([[[3.0, 4.0], [6.0, 8.0], [1.0, 0.0]]])
    accumulate(table, rendering(torch.tensor([[2.0, 0.0, 5.0]]), gradient))
    accumulate(table, rendering(torch.tensor([[1.0, 0.0, 0.0]]), gradient))
    assert table["grad_sum"].tolist() == [10.0, 0.0, 1.0]
    assert table["grad_count"].tolist() == [2.0, 0.0, 1.0]
    assert table["max_radii"].tolist() == [2.0, 0.0, 5.0]
    assert mean_gradient(table).tolist() == [5.0, 0.0, 1.0]


def test_a_batch_counts_as_its_images_one_by_one() -> None:
    rng = torch.Generator().manual_seed(4)
    gradient, radii = torch.randn(4, 6, 2, generator=rng), torch.randint(0, 3, (4, 6), generator=rng)
    single = GaussianTable({"x": torch.zeros(6)}, statistics=statistics(6, "cpu"))
    for k in range(4):
        accumulate(single, rendering(radii[k : k + 1], gradient[k : k + 1]))
    together = GaussianTable({"x": torch.zeros(6)}, statistics=statistics(6, "cpu"))
    # The loss of a batch is a mean, so each image's gradient arrives divided by four.
    accumulate(together, rendering(radii, gradient / 4))
    torch.testing.assert_close(together["grad_sum"], single["grad_sum"])
    torch.testing.assert_close(together["grad_count"], single["grad_count"])


@pytest.mark.parametrize("seed", range(5))
def test_the_guard_drops_all_candidates_of_a_face_or_none(seed: int) -> None:
    rng = np.random.default_rng(seed)
    face_index, candidates = rng.integers(0, 12, 40), rng.random(40) < 0.6
    allowed = guard_faces(torch.tensor(candidates), torch.tensor(face_index), 12).numpy()
    for face in range(12):
        rows = face_index == face
        expected = candidates[rows] & ~candidates[rows].all() if rows.any() else candidates[rows]
        assert (allowed[rows] == expected).all()


@pytest.mark.parametrize("seed", range(5))
def test_the_other_guard_keeps_the_most_opaque_of_a_face(seed: int) -> None:
    rng = np.random.default_rng(seed)
    face_index, candidates = rng.integers(0, 12, 40), rng.random(40) < 0.7
    opacity = rng.integers(0, 3, 40).astype(np.float32)  # with equals
    allowed = guard_faces(torch.tensor(candidates), torch.tensor(face_index), 12, torch.tensor(opacity)).numpy()
    for face in np.unique(face_index):
        rows = np.flatnonzero(face_index == face)
        expected = candidates[rows].copy()
        if expected.all():
            expected[np.argmax(opacity[rows])] = False
        assert (allowed[rows] == expected).all()


def test_lowered_opacity_is_the_logit_of_the_smaller() -> None:
    opacity = np.array([0.9, 0.02, 0.01, 0.003])
    lowered = lowered_opacity(torch.tensor(np.log(opacity / (1 - opacity))), 0.01)
    np.testing.assert_allclose(lowered.sigmoid().numpy(), np.minimum(opacity, 0.01), rtol=1e-6)


def test_a_reset_lowers_old_rows_in_what_it_returns_and_new_ones_where_they_are() -> None:
    old, new = {"opacity": torch.tensor([2.0, -9.0])}, {"opacity": torch.tensor([3.0])}
    found = opacity_reset(old, new, 0.01)
    assert list(found) == ["opacity"]
    torch.testing.assert_close(found["opacity"].sigmoid(), torch.tensor([0.01, 1 / (1 + math.exp(9.0))]))
    torch.testing.assert_close(new["opacity"].sigmoid(), torch.tensor([0.01]))
    assert old["opacity"].tolist() == [2.0, -9.0]
    assert list(opacity_reset(old, None, 0.01)) == ["opacity"]


def test_split_offsets_follow_the_parent_s_own_distribution() -> None:
    rotation = torch.tensor([[0.4, -1.1, 0.3, 0.8], [2.0, 0.1, 0.0, -0.5]], dtype=torch.float64)
    deviations = torch.tensor([[0.5, 2.0, 0.1], [1.0, 0.2, 3.0]], dtype=torch.float64)
    offsets = split_offsets(deviations, rotation, 40_000, step_generator(0, 1)).unflatten(0, (40_000, 2))
    for k in range(2):
        R = quat_to_matrix(rotation[k]).numpy()
        expected = R @ np.diag(deviations[k].numpy() ** 2) @ R.T
        np.testing.assert_allclose(np.cov(offsets[:, k].numpy().T), expected, atol=0.05 * expected.max())
        assert np.abs(offsets[:, k].numpy().mean(0)).max() < 0.05


def test_random_numbers_depend_on_seed_and_step_alone() -> None:
    first, again = torch.rand(4, generator=step_generator(7, 3000)), torch.rand(4, generator=step_generator(7, 3000))
    assert torch.equal(first, again)
    assert not torch.equal(first, torch.rand(4, generator=step_generator(7, 3001)))
    assert not torch.equal(first, torch.rand(4, generator=step_generator(8, 3000)))


def test_growth_keeps_columns_together_through_clone_split_and_prune() -> None:
    old = {"scaling": torch.arange(15.0).view(5, 3), "face_index": torch.arange(5), "flag": torch.arange(5) > 1}
    clone, split = torch.tensor([0, 1, 0, 0, 0]).bool(), torch.tensor([0, 0, 1, 0, 1]).bool()
    children = children_of_split({name: value[split] for name, value in old.items()})
    assert children["face_index"].tolist() == [2, 4, 2, 4]
    torch.testing.assert_close(children["scaling"].exp() * 1.6, old["scaling"][[2, 4, 2, 4]].exp())
    growth = Growth.of(old, clone, split, children)
    assert growth.rows["face_index"].tolist() == [0, 1, 3, 1, 2, 4, 2, 4]
    leaving = torch.tensor([1, 0, 0, 0, 0, 1, 0, 0]).bool()
    keep, new = growth.without(leaving)
    assert keep.tolist() == [False, True, False, True, False]
    assert new["face_index"].tolist() == [1, 2, 2, 4]
    assert new["flag"].tolist() == [False, True, True, True]
    torch.testing.assert_close(new["scaling"][0], old["scaling"][1])
