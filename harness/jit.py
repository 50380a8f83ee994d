"""Compilation by numba, with a cache on disk where one can be written."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

import numba
import numpy as np

__all__ = ["Scalar", "compiled"]

Scalar: TypeAlias = float | np.floating[Any]
"""A number that compiled code gets: Python's float or a numpy scalar."""

# Sums may be reordered into vector lanes and fused with products; NaN and infinity keep their meaning. Compiled code
# does not depend on the number of threads, so results do not either.
_FLOAT_FREEDOM = frozenset({"reassoc", "contract", "arcp", "nsz"})


def compiled(
    parallel: bool = False, freedom: frozenset[str] = _FLOAT_FREEDOM
) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Decorator: compile a function on its first call and keep the result in numba's cache on disk.

    The cache is beside the file, in NUMBA_CACHE_DIR, or in the user's cache folder.

    The cache notices a changed kernel file, not a change made here: delete `__pycache__/*.nb?` after one.
    Where none can be written (a read-only installation without a home), every process compiles.

    Args:
        parallel: whether `prange` loops of the function run on several threads.
        freedom: LLVM's fast-math flags; with none, sums and products are rounded as they are written.
    """

    def wrap(function: Callable[..., Any]) -> Callable[..., Any]:
        options: dict[str, Any] = {
            "parallel": parallel,
            "fastmath": set(freedom),
            "nogil": True,
            "error_model": "numpy",  # a check for division by zero would keep loops from being vectorised
        }
        # A function that is not part of its caller's code is compiled twice, for itself and with its caller, and with
        # the freedom above the two may round differently. The process that compiles runs one, those that read the cache
        # run the other, and the first training on a machine would end with other weights than the second.
        if not parallel:
            options["forceinline"] = True
        try:
            return numba.njit(cache=True, **options)(function)
        except RuntimeError:  # numba: "cannot cache function ...: no locator available"
            return numba.njit(**options)(function)

    return wrap
