"""Loading of the GPU kernels for image operations, where triton is installed."""

from __future__ import annotations

import functools
import importlib
import importlib.util
from typing import Any

__all__ = ["kernels"]


@functools.cache
def kernels(name: str) -> Any:
    """Import a module of GPU kernels by name, such as ssim_kernels; None where triton is missing.

    Triton comes with torch's CUDA builds for Linux, and with no others.
    """
    if importlib.util.find_spec("triton") is None:
        return None
    return importlib.import_module(f"headbench.harness.image.{name}")
