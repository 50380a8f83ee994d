"""Smoothing of a performance over time: weighted means over a window, of rotations on the sphere of quaternions."""

from __future__ import annotations

import torch
from torch import Tensor

from headbench.harness.rotations import axis_angle_to_matrix, matrix_to_quat, quat_to_axis_angle, quat_to_matrix

__all__ = ["Window", "smooth_axis_angles", "smooth_rotations", "smooth_vectors"]


class Window:
    """Hann window over frames: weight 1 + cos(pi k / (h + 1)) at distance k up to h = frames // 2.

    At the ends of a sequence the window is cut and its weights are divided by their sum; frames of another sequence
    have no weight.

    Args:
        sequences: name of each of the T frames' sequence.
        frames: width of the window; 1 changes nothing, an even number counts as the next odd one.
    """

    def __init__(self, sequences: tuple[str, ...], frames: int) -> None:
        half, count = frames // 2, len(sequences)
        reach = torch.arange(-half, half + 1)
        rows = torch.arange(count)[:, None] + reach
        self.rows = rows.clamp(0, count - 1)
        names = {name: k for k, name in enumerate(dict.fromkeys(sequences))}
        number = torch.tensor([names[name] for name in sequences])
        same = (rows == self.rows) & (number[self.rows] == number[:, None])
        weights = (1 + torch.cos(torch.pi * reach.double() / (half + 1))) * same
        self.weights = weights / weights.sum(1, keepdim=True)


def smooth_vectors(values: Tensor, window: Window) -> Tensor:
    """Weighted means over time: (T, n) -> (T, n), in the type of the input."""
    return torch.einsum("tk,tkn->tn", window.weights, values.double()[window.rows]).to(values.dtype)


def smooth_rotations(matrices: Tensor, window: Window) -> Tensor:
    """Weighted chordal means of rotations over time: (T, 3, 3) -> (T, 3, 3).

    The mean is the unit quaternion q that maximises the weighted sum of (q . q_k)^2, an eigenvector of the sum of
    q_k q_k^T (Markley et al., Averaging Quaternions, 2007), which the sign of a quaternion does not change.
    """
    quats = matrix_to_quat(matrices.double())[window.rows]
    products = torch.einsum("tk,tki,tkj->tij", window.weights, quats, quats)
    return quat_to_matrix(torch.linalg.eigh(products).eigenvectors[..., -1]).to(matrices.dtype)


def smooth_axis_angles(values: Tensor, window: Window) -> Tensor:
    """Weighted chordal means of rotations (T, 3) axis-angle over time, at most pi radians each."""
    matrices = smooth_rotations(axis_angle_to_matrix(values.double()), window)
    return quat_to_axis_angle(matrix_to_quat(matrices)).to(values.dtype)
