import math

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation

from headbench.harness import rotations as R

BORDER = [0.0, 1e-12, 1e-6, 9.9e-3, 1.01e-2, 0.5, math.pi / 2, math.pi - 1e-6]


def vectors(count=200, seed=0, longest=math.pi - 1e-3):
    """Axis-angle vectors of all lengths up to `longest`, none of them special."""
    rng = np.random.default_rng(seed)
    axis = rng.normal(size=(count, 3))
    length = rng.uniform(0, longest, (count, 1))
    return torch.from_numpy(axis / np.linalg.norm(axis, axis=1, keepdims=True) * length)


def test_axis_angle_becomes_the_matrix_that_roma_and_scipy_give(roma):
    x = vectors()
    matrix = R.axis_angle_to_matrix(x)
    torch.testing.assert_close(matrix, roma.rotvec_to_rotmat(x))
    np.testing.assert_allclose(matrix.numpy(), Rotation.from_rotvec(x.numpy()).as_matrix(), atol=1e-12)


@pytest.mark.parametrize("angle", BORDER)
def test_axis_angle_is_exact_where_the_series_begins_and_ends(angle):
    x = torch.tensor([[0.6, -0.8, 0.0]], dtype=torch.float64) * angle
    expected = Rotation.from_rotvec(x.numpy()).as_matrix()
    np.testing.assert_allclose(R.axis_angle_to_matrix(x).numpy(), expected, atol=1e-15)
    np.testing.assert_allclose(R.axis_angle_to_matrix(x.float()).numpy(), expected, atol=3e-7)


@pytest.mark.parametrize("angle", BORDER[:-1])
def test_gradient_of_axis_angle_matches_finite_differences_also_at_zero(angle):
    x = (torch.tensor([[0.6, -0.64, 0.48]], dtype=torch.float64) * angle).requires_grad_()
    assert torch.autograd.gradcheck(R.axis_angle_to_matrix, x, eps=1e-6, atol=1e-8)


def test_at_zero_the_gradient_is_that_of_the_cross_product():
    jacobian = torch.autograd.functional.jacobian(R.axis_angle_to_matrix, torch.zeros(3))
    expected = torch.zeros(3, 3, 3)
    for i, j, k in ((0, 1, 2), (1, 2, 0), (2, 0, 1)):
        expected[i, j, k], expected[j, i, k] = -1, 1
    torch.testing.assert_close(jacobian, expected)


def test_matrix_to_quat_matches_roma_for_every_largest_component(roma):
    half_turns = torch.eye(3, dtype=torch.float64) * (math.pi - 1e-4)
    matrix = R.axis_angle_to_matrix(torch.cat([vectors(), half_turns, torch.zeros(1, 3, dtype=torch.float64)]))
    quat = R.matrix_to_quat(matrix)
    expected = roma.rotmat_to_unitquat(matrix)[:, [3, 0, 1, 2]]
    expected = expected * torch.where(expected[:, :1] < 0, -1.0, 1.0)
    assert (quat[:, 0] >= 0).all()
    assert set(quat.abs().argmax(1).tolist()) == {0, 1, 2, 3}
    torch.testing.assert_close(quat, expected, atol=1e-10, rtol=0)


@pytest.mark.parametrize("axis", [(0.1, 0.2, 0.3), (3.0, 0.1, 0.2), (0.1, 3.0, 0.2), (0.1, 0.2, 3.0), (0.0, 0.0, 0.0)])
def test_gradient_through_matrix_to_quat_matches_finite_differences(axis):
    def quat(x):
        return R.matrix_to_quat(R.axis_angle_to_matrix(x))

    assert torch.autograd.gradcheck(quat, torch.tensor(axis, dtype=torch.float64, requires_grad=True))


def test_product_of_quaternions_is_the_product_of_matrices():
    a, b = R.matrix_to_quat(R.axis_angle_to_matrix(torch.stack([vectors(seed=1), vectors(seed=2)])))
    product = R.quat_multiply(3 * a, b)
    torch.testing.assert_close(R.quat_to_matrix(product), R.quat_to_matrix(a) @ R.quat_to_matrix(b))
    torch.testing.assert_close(product.norm(dim=1), torch.full((len(a),), 3.0, dtype=torch.float64))
    torch.testing.assert_close(R.quat_normalise(product).norm(dim=1), torch.ones(len(a), dtype=torch.float64))


def test_quat_to_matrix_matches_roma_and_ignores_length(roma):
    quat = torch.randn(50, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    unit = quat / quat.norm(dim=1, keepdim=True)
    torch.testing.assert_close(R.quat_to_matrix(quat), roma.unitquat_to_rotmat(unit[:, [1, 2, 3, 0]]))


def test_axis_angle_comes_back_through_matrix_and_quaternion():
    x = torch.cat([vectors(), torch.zeros(1, 3, dtype=torch.float64), vectors(20, longest=1e-5)])
    torch.testing.assert_close(R.matrix_to_axis_angle(R.axis_angle_to_matrix(x)), x, atol=1e-9, rtol=0)
    quat = R.matrix_to_quat(R.axis_angle_to_matrix(x))
    torch.testing.assert_close(R.quat_to_axis_angle(-2 * quat), x, atol=1e-9, rtol=0)


@pytest.mark.parametrize("angle", BORDER[:-1])
def test_gradient_of_quat_to_axis_angle_matches_finite_differences(angle):
    x = torch.tensor([0.48, 0.6, -0.64], dtype=torch.float64) * angle
    quat = R.matrix_to_quat(R.axis_angle_to_matrix(x)).requires_grad_()
    assert torch.autograd.gradcheck(R.quat_to_axis_angle, quat, atol=1e-6)


def test_six_numbers_are_the_first_two_rows_of_the_matrix():
    torch.testing.assert_close(R.rotation_6d_to_matrix(torch.tensor([[1.0, 0, 0, 0, 1, 0]]))[0], torch.eye(3))
    matrix = R.axis_angle_to_matrix(vectors())
    torch.testing.assert_close(R.rotation_6d_to_matrix(matrix[:, :2].flatten(1)), matrix)
    skewed = torch.cat([matrix[:, 0] * 3, matrix[:, 1] * 0.5 + matrix[:, 0]], 1)
    torch.testing.assert_close(R.rotation_6d_to_matrix(skewed), matrix)


def test_nothing_asks_for_values_so_nothing_waits_for_a_device():
    matrix = R.axis_angle_to_matrix(torch.empty(4, 3, device="meta"))
    quat = R.quat_multiply(R.matrix_to_quat(matrix), torch.empty(4, 4, device="meta"))
    assert R.quat_to_axis_angle(quat).shape == (4, 3)
    assert R.rotation_6d_to_matrix(torch.empty(4, 6, device="meta")).shape == (4, 3, 3)
