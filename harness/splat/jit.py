"""numba compilation with an on-disk cache where one can be written."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

import numba
import numpy as np

__all__ = ["Scalar", "compiled"]

Scalar: TypeAlias = float | np.floating[Any]

# Sums may be reordered into vector lanes and fused with products; NaN and infinity keep their meaning. Compiled code
# does not depend on the number of threads, so results do not either.
_FLOAT_FREEDOM = {"reassoc", "contract", "arcp", "nsz"}


def compiled(parallel: bool = False) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Compile on first call and keep the result in numba's cache (beside the file, NUMBA_CACHE_DIR or the user's).

    The cache notices a changed kernel file, not a change made here: delete `__pycache__/*.nb?` after one.
    Where none of these can be written (a read-only installation without a home), compile in every process instead.
    """

    def wrap(function: Callable[..., Any]) -> Callable[..., Any]:
        options: dict[str, Any] = {
            "parallel": parallel,
            "fastmath": _FLOAT_FREEDOM,
            "nogil": True,
            "error_model": "numpy",  # a check for division by zero would keep loops from being vectorised
        }
        try:
            return numba.njit(cache=True, **options)(function)
        except RuntimeError:  # numba: "cannot cache function ...: no locator available"
            return numba.njit(**options)(function)

    return wrap
