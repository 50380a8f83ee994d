"""Expression coefficients of another subject: fitted in number, and moved to the driven avatar's mean."""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["fit_width", "move_mean"]


def fit_width(expression: Tensor, width: int) -> tuple[Tensor, str]:
    """Pad coefficients with zeros, or cut them, to the number that an avatar was trained with.

    Args:
        expression: (T, E) coefficients.
        width: number that is wanted.

    Returns:
        (T, width), and a sentence on what was done; empty where nothing was, or where only zeros were cut.
    """
    count = expression.shape[1]
    if count <= width:
        padded = torch.cat([expression, expression.new_zeros(len(expression), width - count)], 1)
        return padded, f"expression padded with zeros from {count} to {width} coefficients" if count < width else ""
    lost = float(expression[:, width:].abs().max()) if len(expression) else 0.0
    sentence = f"expression cut from {count} to {width} coefficients; the largest one cut is {lost:.3g}"
    return expression[:, :width], sentence if lost else ""


def move_mean(expression: Tensor, source: Tensor, driver: Tensor) -> Tensor:
    """Add the difference of the means, as FateAvatar's released code does: e + (source mean - driver mean).

    Args:
        expression: (T, E) of the driver.
        source: (1, E) mean over the driven avatar's training frames.
        driver: (1, E) mean over the driver's training frames.
    """
    return expression + (source - driver)
