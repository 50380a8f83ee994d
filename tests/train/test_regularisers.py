"""Shared loss terms against NumPy."""

import numpy as np
import pytest
import torch

from headbench.harness.blocks.losses import (
    UniformLaplacian,
    hinge_norm,
    masked_mean,
    position_hinge,
    scale_ratio,
    squared_length,
)
from headbench.harness.image import dssim

FACES = torch.tensor([[0, 1, 2], [0, 2, 3], [0, 3, 4], [2, 3, 5]])


def dense_laplacian(faces: torch.Tensor, vertices: int) -> np.ndarray:
    linked = np.zeros((vertices, vertices))
    for a, b, c in faces.tolist():
        for i, j in ((a, b), (b, c), (c, a)):
            linked[i, j] = linked[j, i] = 1
    degree = linked.sum(1, keepdims=True)
    return np.divide(linked, degree, out=np.zeros_like(linked), where=degree > 0) - np.eye(vertices)


@pytest.mark.parametrize("vertices", [6, 8])
def test_laplacian_is_the_dense_matrix_with_minus_one_on_the_diagonal(vertices: int) -> None:
    values = torch.randn(2, vertices, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    expected = dense_laplacian(FACES, vertices) @ values.numpy()
    np.testing.assert_allclose(UniformLaplacian(FACES, vertices)(values).numpy(), expected, atol=1e-7)


def test_laplacian_of_a_constant_is_zero_and_its_gradient_is_right() -> None:
    laplacian = UniformLaplacian(FACES, 6).double()
    assert laplacian(torch.ones(1, 6, 3, dtype=torch.float64)).abs().max() < 1e-7
    values = torch.randn(2, 6, 3, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(laplacian, values)


def test_hinges_are_those_of_the_published_code() -> None:
    rng = np.random.default_rng(1)
    rows = rng.normal(0, 1.2, (50, 3))
    visible = rng.random(50) < 0.5
    t, mask = torch.tensor(rows), torch.tensor(visible)
    position = np.maximum(np.linalg.norm(rows, axis=1) - 1, 0)
    scale = np.linalg.norm(np.maximum(rows - 0.6, 0), axis=1)
    assert position_hinge(t, 1.0).item() == pytest.approx(position.mean())
    assert position_hinge(t, 1.0, mask).item() == pytest.approx(position[visible].mean())
    assert hinge_norm(t, 0.6).item() == pytest.approx(scale.mean())
    assert hinge_norm(t, 0.6, mask).item() == pytest.approx(scale[visible].mean())


def test_a_mask_may_have_a_batch_that_the_values_lack() -> None:
    values = torch.tensor([1.0, 2.0, 4.0])
    mask = torch.tensor([[True, False, True], [False, False, True]])
    assert masked_mean(values, mask).item() == pytest.approx((1 + 4 + 4) / 3)


def test_hinges_at_rest_and_with_nothing_visible_have_finite_gradients() -> None:
    rows = torch.zeros(4, 3, requires_grad=True)
    nothing = torch.zeros(1, 4, dtype=torch.bool)
    total = position_hinge(rows, 1.0, nothing) + hinge_norm(rows.exp(), 0.6, nothing) + hinge_norm(rows, 0.6)
    assert total.item() == 0
    total.backward()
    assert rows.grad is not None
    assert torch.isfinite(rows.grad).all()


def test_scale_ratio_punishes_what_is_beyond_the_threshold() -> None:
    scales = np.array([[1.0, 1.0, 1.0], [10.0, 1.0, 2.0], [1.0, 18.0, 2.0]])
    value = scale_ratio(torch.tensor(np.log(scales)), 9.0)
    assert value.item() == pytest.approx((0 + 1 + 9) / 3)


def test_squared_length_is_a_mean_over_vertices_not_coordinates() -> None:
    assert squared_length(torch.tensor([[[1.0, 2.0, 2.0], [0.0, 0.0, 0.0]]])).item() == pytest.approx(4.5)


def test_dssim_is_one_minus_similarity() -> None:
    image = torch.rand(1, 3, 24, 24, generator=torch.Generator().manual_seed(2))
    assert dssim(image, image).item() == pytest.approx(0, abs=1e-6)
    assert 0.5 < dssim(image, torch.rand(1, 3, 24, 24, generator=torch.Generator().manual_seed(3))).item() < 1.1
