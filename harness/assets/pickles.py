"""Foreign pickles, read without running anything that they name.

A pickle is a program; this reader knows a handful of data classes and refuses every other name. scipy and chumpy
classes are replaced by stand-ins that only hold the stored state, so neither chumpy nor an old scipy is needed, and
the result holds plain arrays and current scipy matrices.
"""

from __future__ import annotations

import codecs
import collections
import io
import pickle
from collections.abc import Collection
from pathlib import Path
from typing import Any, BinaryIO, Literal, Self

import numpy as np

from headbench.harness.errors import DataError

__all__ = ["GROUPS", "restricted_load", "restricted_npy", "torch_load"]

_Globals = dict[tuple[str, str], Any]


class _State:
    """Holds whatever state the pickle gives an object; runs nothing."""

    state: dict[str, Any]

    def __new__(cls, *args: Any) -> Self:
        # Newer protocols make objects without __init__.
        made = super().__new__(cls)
        made.state = {}
        return made

    def __init__(self, *args: Any) -> None:
        pass

    def __setstate__(self, state: Any) -> None:
        # Classes with __slots__ store (dict, slots).
        parts = state if isinstance(state, tuple) else (state,)
        for part in parts:
            if isinstance(part, dict):
                self.state.update(part)

    def plain(self) -> Any:
        raise NotImplementedError


class _Csc(_State):
    kind = "csc"

    def plain(self) -> Any:
        import scipy.sparse as sparse

        state = self.state
        shape = state.get("_shape", state.get("shape"))
        if self.kind == "coo":
            where = state["coords"] if "coords" in state else (state["row"], state["col"])
            return sparse.coo_matrix((state["data"], tuple(where)), shape=shape)
        make = sparse.csc_matrix if self.kind == "csc" else sparse.csr_matrix
        return make((state["data"], state["indices"], state["indptr"]), shape=shape)


class _Csr(_Csc):
    kind = "csr"


class _Coo(_Csc):
    kind = "coo"


class _Ch(_State):
    """chumpy.ch.Ch: an array under the key x."""

    def plain(self) -> Any:
        return np.asarray(_plain(self.state["x"]))


class _Select(_State):
    """chumpy.reordering.Select: picked elements of the flattened array a, in a preferred shape."""

    def plain(self) -> Any:
        picked = np.asarray(_plain(self.state["a"])).ravel()[np.asarray(_plain(self.state["idxs"]))]
        shape = self.state.get("preferred_shape")
        return picked if shape is None else picked.reshape(_plain(shape))


def _reconstructor(cls: type, base: type, state: Any) -> Any:
    """What old pickle protocols make objects with; only stand-ins of this module are made that way."""
    if not issubclass(cls, _State) or base is not object or state is not None:
        raise pickle.UnpicklingError(f"an object of {cls.__module__}.{cls.__name__} built on {base.__name__}")
    return cls()


def _frombuffer(data: bytes, dtype: np.dtype, shape: tuple[int, ...], order: Literal["C", "F"]) -> np.ndarray:
    """What protocol 5 makes contiguous arrays with."""
    return np.frombuffer(data, dtype=dtype).reshape(shape, order=order)


def _numpy() -> _Globals:
    from numpy._core import multiarray

    known: _Globals = {("numpy", "ndarray"): np.ndarray, ("numpy", "dtype"): np.dtype}
    for module in ("numpy.core.multiarray", "numpy._core.multiarray"):
        known[module, "_reconstruct"] = multiarray._reconstruct
        known[module, "scalar"] = multiarray.scalar
    for module in ("numpy.core.numeric", "numpy._core.numeric"):
        known[module, "_frombuffer"] = _frombuffer
    return known


def _scipy() -> _Globals:
    known: _Globals = {}
    for stem, stand_in in (("csc", _Csc), ("csr", _Csr), ("coo", _Coo)):
        for module in (f"scipy.sparse.{stem}", f"scipy.sparse._{stem}"):
            for form in ("matrix", "array"):
                known[module, f"{stem}_{form}"] = stand_in
    return known


def _chumpy() -> _Globals:
    return {("chumpy.ch", "Ch"): _Ch, ("chumpy", "Ch"): _Ch, ("chumpy.reordering", "Select"): _Select}


def _containers() -> _Globals:
    known: _Globals = {("collections", "OrderedDict"): collections.OrderedDict, ("_codecs", "encode"): codecs.encode}
    for module in ("builtins", "__builtin__"):
        for kind in (set, frozenset, bytearray, complex, object):
            known[module, kind.__name__] = kind
    for module in ("copyreg", "copy_reg"):
        known[module, "_reconstructor"] = _reconstructor
    return known


def _storage(data: bytes) -> Any:
    """What a plain pickle of a tensor makes its storage with: a file of `torch.save` within the pickle."""
    import torch

    return torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)


def _tensor(*parts: Any) -> np.ndarray:
    """A tensor as a numpy array."""
    import torch

    made: torch.Tensor = torch._utils._rebuild_tensor_v2(*parts)
    return made.detach().numpy()


def _torch() -> _Globals:
    return {("torch._utils", "_rebuild_tensor_v2"): _tensor, ("torch.storage", "_load_from_bytes"): _storage}


GROUPS = {"numpy": _numpy, "scipy": _scipy, "chumpy": _chumpy, "torch": _torch}
"""What `allow` may name; plain containers are always allowed."""


class _Unpickler(pickle.Unpickler):
    def __init__(self, file: BinaryIO, known: _Globals) -> None:
        super().__init__(file, encoding="latin1")
        self._known = known

    def find_class(self, module: str, name: str) -> Any:
        try:
            return self._known[module, name]
        except KeyError:
            raise _RefusedError(f"{module}.{name}") from None


class _RefusedError(Exception):
    pass


def _plain(value: Any) -> Any:
    """`value` with stand-ins replaced by arrays, through all containers."""
    if isinstance(value, _State):
        return value.plain()
    if isinstance(value, dict):
        return type(value)((_plain(k), _plain(v)) for k, v in value.items())
    if isinstance(value, list | tuple):
        return type(value)(_plain(v) for v in value)
    if isinstance(value, np.ndarray) and value.dtype == object:
        flat = np.empty(value.size, dtype=object)
        for i, item in enumerate(value.ravel()):
            flat[i] = _plain(item)
        return flat.reshape(value.shape)
    return value


def restricted_load(path: Path, allow: Collection[str] = ("numpy",)) -> Any:
    """The content of a pickle file whose names are all in the allow-list; text of Python 2 is read as latin-1.

    Args:
        path: the file.
        allow: groups of names: numpy (arrays, dtypes, scalars), scipy (csc, csr, coo), chumpy (Ch and Select) and
            torch (tensors), both returned as numpy arrays. Dictionaries, lists, tuples, sets and text are always
            allowed.

    Raises:
        DataError: the file is missing, is no pickle, or names anything else; the message has the file and the name.
        ValueError: an unknown group.
    """
    known = _known(allow)
    try:
        with Path(path).open("rb") as file:
            return _unpickle(path, file, known, allow)
    except OSError as error:
        raise DataError(f"Cannot read {path}: {error.strerror or error}.") from error


def restricted_npy(path: Path, allow: Collection[str] = ("numpy",)) -> Any:
    """The array in an .npy file; one of objects, which numpy stores as a pickle, is read like `restricted_load`.

    Args:
        path: the file.
        allow: as for `restricted_load`.

    Raises:
        DataError: the file is missing, is no .npy, or its pickle names anything else.
        ValueError: an unknown group.
    """
    known = _known(allow)
    try:
        with Path(path).open("rb") as file:
            headers = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
            version = np.lib.format.read_magic(file)
            dtype = headers[version](file)[2]
            if dtype.hasobject:
                return _unpickle(path, file, known, allow)
            file.seek(0)
            return np.lib.format.read_array(file, allow_pickle=False)
    except OSError as error:
        raise DataError(f"Cannot read {path}: {error.strerror or error}.") from error
    except (KeyError, ValueError, MemoryError) as error:
        raise DataError(f"{path} is not a readable .npy file: {error}.") from error


def _known(allow: Collection[str]) -> _Globals:
    unknown = set(allow) - set(GROUPS)
    if unknown:
        raise ValueError(f"unknown groups {sorted(unknown)}; known are {sorted(GROUPS)}")
    known = _containers()
    for group in allow:
        known.update(GROUPS[group]())
    return known


def _unpickle(path: Path, file: BinaryIO, known: _Globals, allow: Collection[str]) -> Any:
    """The rest of `file` as a pickle that names nothing but `known`."""
    try:
        return _plain(_Unpickler(file, known).load())
    except _RefusedError as error:
        raise DataError(
            f"{path} names {error}, which is not among the data types that are read from pickles "
            f"({', '.join(sorted(allow))} and plain containers); it was not loaded."
        ) from error
    except Exception as error:  # a damaged pickle can raise anything
        raise DataError(f"{path} is not a readable pickle: {type(error).__name__}: {error}.") from error


def torch_load(path: Path) -> Any:
    """The content of a `torch.save` file on the CPU: tensors, numpy arrays and plain containers only.

    Raises:
        DataError: the file is missing or damaged, or names anything else.
    """
    import torch

    # numpy's dtypes are classes of their own since 1.25; torch asks for each by name.
    kinds = {type(np.dtype(code)) for code in "?bhilqBHILQefdU"}
    safe: list[Any] = [(value, f"{module}.{name}") for (module, name), value in _numpy().items()]
    try:
        with torch.serialization.safe_globals([*safe, *kinds]):
            return torch.load(path, map_location="cpu", weights_only=True)
    except OSError as error:
        raise DataError(f"Cannot read {path}: {error.strerror or error}.") from error
    except Exception as error:  # a damaged pickle can raise anything
        raise DataError(f"{path} was not loaded as tensors and arrays: {error}") from error
