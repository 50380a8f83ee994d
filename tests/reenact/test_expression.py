"""Expressions of another subject: the published shift of means, numbers of coefficients, smoothing over time."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation

from headbench.harness.head import axis_angle_to_matrix
from headbench.reenact.expression import fit_width, move_mean
from headbench.reenact.smoothing import Window, smooth_axis_angles, smooth_rotations, smooth_vectors


def test_the_shift_of_means_is_that_of_the_released_code() -> None:
    """Numbers computed with FateAvatar's released re-enactment, for sine-shaped means and frames."""
    q = torch.arange(100, dtype=torch.float64)[None]
    moved = move_mean(torch.sin(0.3 * q + 1), torch.sin(0.1 * q), 0.5 * torch.cos(0.2 * q))[0]
    first = [0.3414710, 0.5733583, 0.7377124, 0.8291525, 0.8495614, 0.8077465, 0.7184517, 0.6008148]
    torch.testing.assert_close(moved[:8], torch.tensor(first, dtype=torch.float64), atol=1e-7, rtol=0)
    assert float(moved[-1]) == pytest.approx(-1.404514, abs=1e-6)
    assert float(moved.sum()) == pytest.approx(15.60866, abs=1e-5)


def test_missing_coefficients_are_zeros_and_those_too_many_are_cut_with_a_sentence() -> None:
    expression = torch.tensor([[1.0, 2.0, 0.0], [3.0, -4.0, 0.0]])
    same, sentence = fit_width(expression, 3)
    assert torch.equal(same, expression) and sentence == ""
    padded, sentence = fit_width(expression, 5)
    assert padded.tolist() == [[1, 2, 0, 0, 0], [3, -4, 0, 0, 0]]
    assert sentence == "expression padded with zeros from 3 to 5 coefficients"
    cut, sentence = fit_width(expression, 1)
    assert cut.tolist() == [[1], [3]]
    assert sentence == "expression cut from 3 to 1 coefficients; the largest one cut is 4"
    assert fit_width(expression, 2)[1] == "", "only zeros were cut"


def test_a_window_is_a_hann_window_that_ends_with_its_sequence() -> None:
    window = Window(("a",) * 4 + ("b",) * 3, 3)
    values = torch.arange(7.0)[:, None] ** 2
    smooth = smooth_vectors(values, window)[:, 0]
    # Weights 1 : 2 : 1 inside, 2 : 1 at both ends of a and of b.
    expected = [1 / 3, (0 + 2 + 4) / 4, (1 + 8 + 9) / 4, (4 + 18) / 3, (32 + 25) / 3, (16 + 50 + 36) / 4, (25 + 72) / 3]
    torch.testing.assert_close(smooth, torch.tensor(expected))
    assert torch.equal(smooth_vectors(values, Window(("a",) * 7, 1)), values)


def test_rotations_are_smoothed_by_their_chordal_mean() -> None:
    """Against SciPy's weighted mean of rotations; angles near pi, where quaternions change their sign."""
    rng = np.random.default_rng(1)
    axis = np.array([0.0, 0.0, 1.0]) + rng.normal(size=(9, 3)) * 0.1
    vectors = axis / np.linalg.norm(axis, axis=1, keepdims=True) * np.linspace(2.7, 3.6, 9)[:, None]
    rotations = Rotation.from_rotvec(vectors)
    window = Window(("",) * 9, 5)
    found = smooth_rotations(torch.from_numpy(rotations.as_matrix()), window).numpy()
    for k in range(9):
        rows, weights = window.rows[k].numpy(), window.weights[k].numpy()
        used = weights > 0
        expected = Rotation.from_quat(rotations.as_quat()[rows[used]]).mean(weights[used]).as_matrix()
        np.testing.assert_allclose(found[k], expected, atol=1e-9)
    turned = smooth_axis_angles(torch.from_numpy(rotations.as_rotvec()), window)
    np.testing.assert_allclose(axis_angle_to_matrix(turned).numpy(), found, atol=1e-9)


def test_what_does_not_change_stays() -> None:
    still = torch.tensor([[0.3, -0.2, 3.0]]).repeat(6, 1)
    torch.testing.assert_close(smooth_axis_angles(still, Window(("",) * 6, 5)), still, atol=1e-6, rtol=0)
