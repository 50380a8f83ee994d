"""Table of a method's checks by name."""

from __future__ import annotations

from collections.abc import Callable

from headbench.testing.avatar_checks import check_create, check_drive, check_heads
from headbench.testing.case import Case
from headbench.testing.surface_checks import check_surface
from headbench.testing.training_checks import (
    check_batch,
    check_edit,
    check_gradient,
    check_layouts,
    check_load,
    check_recorded,
    check_resume,
    check_step,
    check_test_images,
)

__all__ = ["CHECKS"]

CHECKS: dict[str, Callable[[Case], str]] = {
    "create": check_create,
    "drive": check_drive,
    "surface": check_surface,
    "step": check_step,
    "batch": check_batch,
    "edit": check_edit,
    "gradient": check_gradient,
    "recorded": check_recorded,
    "resume": check_resume,
    "load": check_load,
    "test images": check_test_images,
    "heads": check_heads,
    "layouts": check_layouts,
}
"""Checks of a method by name, in the order in which they run."""
