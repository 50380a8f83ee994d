"""Shares that environment variables name: what training on a GPU may spend on speed."""

from __future__ import annotations

import os

import torch

from headbench.harness.errors import BenchError

__all__ = ["SPARE_ROWS", "TARGET_FEATURES", "share"]

TARGET_FEATURES = "HEADBENCH_TARGET_FEATURES"
"""Share of the free GPU memory that kept features of target images may take; without it nothing is kept."""
SPARE_ROWS = "HEADBENCH_SPARE_ROWS"
"""Spare rows per Gaussian, with which an edit keeps the recordings of steps; without it there are none."""


def share(variable: str, device: torch.device) -> float:
    """Return the share that an environment variable names; 0 where it is not set, and on a CPU.

    Args:
        variable: `TARGET_FEATURES` or `SPARE_ROWS`.
        device: of the training.

    Raises:
        BenchError: the variable holds no number from 0 to 1.
    """
    text = os.environ.get(variable, "0")
    try:
        found = float(text)
    except ValueError:
        found = -1.0
    if not 0 <= found <= 1:
        raise BenchError(f"{variable}={text!r}: expected a share from 0 to 1, such as 0.3.")
    return found if device.type == "cuda" else 0.0
