"""Reading of chumpy's arrays from pickles, which FLAME 2020 holds, as plain arrays without chumpy."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from headbench.harness.arrays import NotPlain, values_in
from headbench.harness.assets.pickles.records import Made, Name, Refused
from headbench.harness.assets.pickles.walk import Names, Walk

__all__ = ["CHUMPY"]


def _whole(walk: Walk, made: Made) -> NDArray[Any]:
    """Build the array of a chumpy.ch.Ch, which is under the key x."""
    return _array(walk, walk.state(made).get("x"), made)


def _selected(walk: Walk, made: Made) -> NDArray[Any]:
    """Build the array of a chumpy.reordering.Select: picked elements of the flattened array a, in a preferred shape."""
    state = walk.state(made)
    source, picked = _array(walk, state.get("a"), made), _array(walk, state.get("idxs"), made)
    if picked.dtype.kind not in "iu" or (picked.size and not 0 <= picked.min() <= picked.max() < source.size):
        raise Refused(f"with a {made.of} that picks what is not there")
    walk.count(picked.size * source.itemsize)
    found: NDArray[Any] = source.ravel()[picked]
    shape = walk.plain(state.get("preferred_shape"))
    try:
        if shape is None:
            return found
        if isinstance(shape, tuple) and values_in(shape) == found.size:
            return found.reshape(shape)
    except NotPlain as error:
        raise Refused(f"with a {made.of} of a shape that is not read: {error}") from error
    raise Refused(f"with a {made.of} of a shape that does not fit its elements")


def _array(walk: Walk, record: Any, made: Made) -> NDArray[Any]:
    """Build an array of numbers from a record that is part of the chumpy object `made`."""
    value = walk.plain(record)
    if isinstance(value, int | float | np.number):
        value = np.asarray(value)
    if not isinstance(value, np.ndarray) or value.dtype.kind not in "biufc":
        raise Refused(f"with a {made.of} that holds no array of numbers")
    return value


CHUMPY: Names = {
    Name("chumpy.ch", "Ch"): _whole,
    Name("chumpy", "Ch"): _whole,
    Name("chumpy.reordering", "Select"): _selected,
}
