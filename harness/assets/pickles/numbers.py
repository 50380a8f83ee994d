"""Building of numpy's arrays, scalars and data types from pickles, once their bytes have been counted."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from headbench.harness.arrays import NotPlain, plain_array, plain_dtype, values_in
from headbench.harness.assets.pickles.records import Made, Name, Refused
from headbench.harness.assets.pickles.walk import Names, Walk

__all__ = ["NUMPY"]

_ARRAY, _DTYPE = Name("numpy", "ndarray"), Name("numpy", "dtype")
_TEXT_FLAGS, _OBJECT_FLAGS = 8, 63
"""Flags of numpy's data types of text, whose memory has to be cleared, and of objects."""


def _dtype(walk: Walk, made: Made) -> np.dtype[Any]:
    """Build a data type: a plain one, or that of objects with all flags of objects."""
    code = walk.plain(made.arguments[0]) if made.arguments else None
    if not isinstance(code, str) or not 1 <= len(made.arguments) <= 3 or len(made.states) > 1:
        raise Refused("with a data type that is not read")
    order, size, flags = _dtype_state(walk, made.states[0]) if made.states else ("", -1, None)
    if code in ("O", "O4", "O8", "|O"):
        if flags not in (None, _OBJECT_FLAGS) or size != -1:
            raise Refused("with a data type of objects that denies it")
        return np.dtype(np.object_)
    try:
        dtype = plain_dtype(code if code[:1] in "<>|=?" else order + code)
    except NotPlain as error:
        raise Refused(f"with an array that is not read: {error}") from error
    allowed = (0, _TEXT_FLAGS) if dtype.kind == "U" else (0,)
    if size not in (-1, dtype.itemsize) or (flags is not None and flags not in allowed):
        raise Refused(f"with a data type {dtype.str} of another size or with flags of objects")
    return dtype


def _dtype_state(walk: Walk, record: Any) -> tuple[str, int, int]:
    """Return byte order, size in bytes and flags from the state of a data type."""
    if not isinstance(record, tuple) or len(record) != 8:
        raise Refused("with a data type whose state is not read")
    version, order, inner, names, fields, size, alignment, flags = map(walk.plain, record)
    whole = all(type(number) is int for number in (version, size, alignment, flags))
    if version != 3 or not whole or not isinstance(order, str) or order not in ("<", ">", "|", "="):
        raise Refused("with a data type whose state is not read")
    if inner is not None or names is not None or fields is not None:
        raise Refused("with a data type of records, which is not read")
    return order, size, flags


def _array(walk: Walk, made: Made) -> NDArray[Any]:
    """Build an array that is stored as ``_reconstruct(ndarray, (0,), b"b")`` and one state with all its values."""
    if not made.arguments or made.arguments[0] != _ARRAY or len(made.states) != 1:
        raise Refused("with an array that was not stored whole")
    state = made.states[0]
    # Versions of numpy before 1.0 left the version out.
    if not isinstance(state, tuple) or len(state) not in (4, 5):
        raise Refused("with an array whose state is not read")
    shape, dtype, fortran, content = state[-4:]
    if not isinstance(fortran, int) or fortran not in (0, 1):
        raise Refused("with an array whose state is not read")
    return _made(walk, content, walk.plain(dtype), walk.plain(shape), bool(fortran))


def _scalar(walk: Walk, made: Made) -> Any:
    """Build a numpy scalar."""
    if len(made.arguments) != 2 or made.states:
        raise Refused("with a number that was not stored whole")
    dtype, content = made.arguments
    kind = walk.plain(dtype)
    if not isinstance(content, list):
        return _made(walk, content, kind, (), False)[()]
    raise Refused("with an object where a number should be")


def _buffer(walk: Walk, made: Made) -> NDArray[Any]:
    """Build a contiguous array as protocol 5 stores it."""
    if not 4 <= len(made.arguments) <= 5 or made.states:
        raise Refused("with an array that was not stored whole")
    content, dtype, shape, order, *axes = map(walk.plain, made.arguments)
    if not isinstance(order, str) or isinstance(content, list):
        raise Refused("with an array that is not read")
    if order == "K" and axes and isinstance(axes[0], tuple) and isinstance(shape, tuple):
        if sorted(map(repr, axes[0])) != sorted(map(repr, range(len(shape)))):
            raise Refused("with an array whose axes are not read")
        return _made(walk, content, dtype, shape, False).transpose(axes[0])
    if order not in ("C", "F") or any(axis is not None for axis in axes):
        raise Refused("with an array whose order is not read")
    return _made(walk, content, dtype, shape, order == "F")


def _made(walk: Walk, content: Any, dtype: Any, shape: Any, fortran: bool) -> NDArray[Any]:
    """Build an array from its bytes, or from its objects one by one.

    Args:
        walk: of the file.
        content: record of the bytes, or a list of records of the objects.
        dtype: data type, checked here.
        shape: sizes of the axes, checked here.
        fortran: whether the first axis varies fastest.
    """
    if not isinstance(dtype, np.dtype) or not isinstance(shape, tuple):
        raise Refused("with an array whose kind or shape is not read")
    try:
        if dtype.hasobject:
            return _objects(walk, content, shape, fortran)
        if isinstance(content, list):
            raise Refused(f"with objects in an array of {dtype.str}")
        raw = walk.raw(content)
        walk.count(len(raw))
        array = plain_array(np.frombuffer(raw, np.uint8).copy(), dtype, shape, fortran)
        # In the order of this machine, as numpy does: torch takes no other.
        return array.astype(dtype.newbyteorder("="), order="K", copy=False)
    except NotPlain as error:
        raise Refused(f"with an array that is not read: {error}") from error


def _objects(walk: Walk, content: Any, shape: tuple[Any, ...], fortran: bool) -> NDArray[Any]:
    """Build an array of objects, which a pickle lists by rows whatever the array's order is.

    Args:
        walk: of the file.
        content: list of records of the objects.
        shape: sizes of the axes.
        fortran: whether the first axis varies fastest in memory.
    """
    if not isinstance(content, list) or len(content) != values_in(shape):
        raise Refused("with an array of objects that are not there one by one")
    array = np.empty(len(content), dtype=np.object_)
    for index, item in enumerate(content):
        array[index] = walk.plain(item)
    made = array.reshape(shape)
    return np.asfortranarray(made) if fortran else made


NUMPY: Names = {
    _ARRAY: None,
    _DTYPE: _dtype,
    **{Name(f"numpy.{core}.multiarray", "_reconstruct"): _array for core in ("core", "_core")},
    **{Name(f"numpy.{core}.multiarray", "scalar"): _scalar for core in ("core", "_core")},
    **{Name(f"numpy.{core}.numeric", "_frombuffer"): _buffer for core in ("core", "_core")},
}
