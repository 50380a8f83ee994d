"""Building of scipy's sparse matrices from pickles, once their indices are found to lie within the matrix."""

from __future__ import annotations

import math
import operator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from headbench.harness.assets.pickles.records import Made, Name, Refused
from headbench.harness.assets.pickles.walk import Builder, Names, Walk

__all__ = ["SCIPY"]

CELLS = 2**25
"""Limit of the cells of a matrix once it is written out; FLAME's joint regressor has 25,115."""
_Ints = NDArray[np.int64]


def _compressed(kind: str) -> Builder:
    """Return the builder of matrices compressed by columns (csc) or rows (csr)."""

    def build(walk: Walk, made: Made) -> Any:
        import scipy.sparse as sparse

        state = walk.state(made)
        shape = _shape(walk, state, made)
        data, indices, starts = (
            _values(walk, state, made),
            _index(walk, state, "indices"),
            _index(walk, state, "indptr"),
        )
        lines, across = shape[::-1] if kind == "csc" else shape
        fits = starts.size == lines + 1 and starts[0] == 0 and starts[-1] == indices.size == data.size
        if not fits or (np.diff(starts) < 0).any() or not _within(indices, across):
            raise _damaged(made)
        matrix = sparse.csc_matrix if kind == "csc" else sparse.csr_matrix
        return matrix((data, indices, starts), shape=shape)

    return build


def _coordinates(walk: Walk, made: Made) -> Any:
    """Build a matrix stored by coordinates (coo)."""
    import scipy.sparse as sparse

    state = walk.state(made)
    shape, data = _shape(walk, state, made), _values(walk, state, made)
    coords = state.get("coords", (state.get("row"), state.get("col")))
    if not isinstance(coords, tuple) or len(coords) != 2:
        raise _damaged(made)
    rows, columns = (_index(walk, {"coords": part}, "coords") for part in coords)
    if not rows.size == columns.size == data.size or not (_within(rows, shape[0]) and _within(columns, shape[1])):
        raise _damaged(made)
    return sparse.coo_matrix((data, (rows, columns)), shape=shape)


def _shape(walk: Walk, state: dict[str, Any], made: Made) -> tuple[int, int]:
    """Return height and width of a matrix from its state; Refused where it has too many cells."""
    try:
        height, width = (operator.index(side) for side in walk.plain(state.get("_shape", state.get("shape"))))
    except (TypeError, ValueError) as error:
        raise _damaged(made) from error
    if min(height, width) < 0 or math.prod((max(height, 1), max(width, 1))) > CELLS:
        raise Refused(f"with a sparse matrix of more than {CELLS:,} cells or of none")
    walk.count(8 * height * width)
    return height, width


def _values(walk: Walk, state: dict[str, Any], made: Made) -> NDArray[Any]:
    """Return the values (n,) of a matrix from its state, in this machine's byte order."""
    data = walk.plain(state.get("data"))
    if not isinstance(data, np.ndarray) or data.ndim != 1 or data.dtype.str[1:] not in _VALUES:
        raise _damaged(made)
    return data.astype(data.dtype.newbyteorder("="), copy=False)


def _index(walk: Walk, state: dict[str, Any], name: str) -> _Ints:
    """Return one of the index arrays (n,) of a matrix from its state."""
    index = walk.plain(state.get(name))
    if not isinstance(index, np.ndarray) or index.ndim != 1 or index.dtype.kind not in "iu":
        raise Refused("with a sparse matrix whose indices are not read")
    return index.astype(np.int64)


def _within(index: _Ints, end: int) -> bool:
    """Whether all indices are from 0 to `end` - 1."""
    return not index.size or bool(index.min() >= 0 and index.max() < end)


def _damaged(made: Made) -> Refused:
    """Return the refusal of a matrix whose parts do not fit each other."""
    return Refused(f"with a {made.of} whose parts do not fit each other")


_VALUES = ("b1", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "f4", "f8", "c8", "c16")
_BUILDERS = {"csc": _compressed("csc"), "csr": _compressed("csr"), "coo": _coordinates}
SCIPY: Names = {
    Name(f"scipy.sparse.{mark}{stem}", f"{stem}_{form}"): build
    for stem, build in _BUILDERS.items()
    for mark in ("", "_")
    for form in ("matrix", "array")
}
