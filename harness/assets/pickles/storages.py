"""Tensors as views of storages (shared bytes); a view is checked before any of its bytes are read."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.lib.stride_tricks import as_strided
from numpy.typing import NDArray

from headbench.harness.arrays import NotPlain, values_in
from headbench.harness.assets.pickles.records import Name, Persistent, Refused

if TYPE_CHECKING:
    import torch

__all__ = ["KINDS", "STORAGES", "Storage", "StorageId", "View", "as_array", "as_tensor", "storage_id", "view_of"]

KINDS = {
    "float64": "f8",
    "float32": "f4",
    "float16": "f2",
    "bfloat16": "u2",
    "complex64": "c8",
    "complex128": "c16",
    "int64": "i8",
    "int32": "i4",
    "int16": "i2",
    "int8": "i1",
    "uint64": "u8",
    "uint32": "u4",
    "uint16": "u2",
    "uint8": "u1",
    "bool": "u1",
}
"""Data type of torch -> numpy's code of one with as many bytes; bfloat16 and bool are converted afterwards."""
_TYPED = {
    "Double": "float64",
    "Float": "float32",
    "Half": "float16",
    "BFloat16": "bfloat16",
    "ComplexDouble": "complex128",
    "ComplexFloat": "complex64",
    "Long": "int64",
    "Int": "int32",
    "Short": "int16",
    "Char": "int8",
    "Byte": "uint8",
    "Bool": "bool",
}
"""Prefix of torch's class of storages -> data type of its numbers."""
_UNTYPED = Name("torch.storage", "UntypedStorage")
"""Class of storages of plain bytes, by its module of today."""
STORAGES: dict[Name, str] = {
    **{Name("torch", f"{name}Storage"): kind for name, kind in _TYPED.items()},
    Name("torch", "UntypedStorage"): "",
    _UNTYPED: "",
}
"""Class of storages -> data type of their numbers; empty for untyped ones, which are bytes."""


@dataclass(frozen=True)
class StorageId:
    """Reference of a pickle to a storage outside it: data type, key and size."""

    kind: str
    """Data type of `KINDS`, or empty for plain bytes."""
    key: str
    """Name of the storage in the file."""
    count: int
    """Number of its numbers; of bytes where it has no data type."""

    @property
    def size(self) -> int:
        """Size of the storage in bytes."""
        return self.count * (np.dtype(KINDS[self.kind]).itemsize if self.kind else 1)


@dataclass
class Storage:
    """Storage: bytes that tensors share."""

    content: NDArray[np.uint8]
    """(n,) the bytes."""
    kind: str
    """Data type of `KINDS`; empty where each tensor has its own."""
    big: bool = False
    """Whether numbers are big-endian."""
    numbers: dict[str, NDArray[Any]] = field(default_factory=dict)
    """Data type -> the bytes as its numbers, so that tensors share them and none is copied twice."""

    def of_kind(self, kind: str) -> NDArray[Any]:
        """Return the storage as numbers (n,) of a data type of `KINDS`."""
        if kind not in self.numbers:
            dtype = np.dtype(KINDS[kind])
            numbers = self.content[: self.content.size // dtype.itemsize * dtype.itemsize].view(dtype)
            if self.big:
                numbers = numbers.byteswap()
            self.numbers[kind] = numbers != 0 if kind == "bool" else numbers
        return self.numbers[kind]


@dataclass(frozen=True)
class View:
    """Tensor as a view of a storage, within which it lies."""

    numbers: NDArray[Any]
    """(n,) all numbers of the storage."""
    kind: str
    """Data type of `KINDS`."""
    offset: int
    """Index of the tensor's first number in `numbers`."""
    shape: tuple[int, ...]
    """Sizes of the axes."""
    strides: tuple[int, ...]
    """Distances along the axes, in numbers."""


def storage_id(record: Persistent, parts: int) -> StorageId:
    """Parse the id of something outside a pickle, which must be a storage.

    Args:
        record: the reference.
        parts: number of parts of the id: 5 in archives, 6 in the format before 1.6.

    Raises:
        Refused: the id is of anything else.
    """
    known = record.id
    if not isinstance(known, tuple) or len(known) != parts or known[0] != "storage":
        raise Refused("with a value outside the pickle that is no storage")
    _, cls, key, place, count, *view = known
    if not isinstance(cls, Name) or cls not in STORAGES or not isinstance(key, str) or not isinstance(place, str):
        raise Refused("with a storage of a kind that is not read")
    if type(count) is not int or not 0 <= count < 2**40 or view not in ([], [None]):
        raise Refused("with a storage whose size is not read")
    return StorageId(STORAGES[cls], key, count)


def view_of(storage: Storage, kind: str, offset: Any, shape: Any, strides: Any) -> View:
    """Return a tensor as a view of its storage, once it is found to lie within.

    Args:
        storage: the tensor's storage.
        kind: data type of the tensor; empty for that of its storage.
        offset: index of the first number, not checked yet.
        shape: sizes of the axes, not checked yet.
        strides: distances along the axes in numbers, not checked yet.

    Raises:
        Refused: these are no offset, shape and strides, or they reach beyond the storage.
    """
    if not (kind or storage.kind) or (storage.kind and kind not in ("", storage.kind)) or (storage.big and kind):
        raise Refused("with a tensor whose kind is not that of its storage")
    numbers = storage.of_kind(kind or storage.kind)
    try:
        if not isinstance(shape, tuple) or not isinstance(strides, tuple) or len(shape) != len(strides):
            raise NotPlain("it has no shape")
        count = values_in(shape)
        # Strides and the offset are numbers of the same sort as sizes.
        for number in (*strides, offset):
            values_in((number,))
    except NotPlain as error:
        raise Refused(f"with a tensor that is not read: {error}") from error
    last = offset + sum((side - 1) * stride for side, stride in zip(shape, strides, strict=True))
    if count and last >= numbers.size:
        raise Refused(f"with a tensor that reaches beyond its storage (to number {last:,} of {numbers.size:,})")
    return View(numbers, kind or storage.kind, offset if count else 0, shape, strides)


def as_array(view: View) -> NDArray[Any]:
    """Convert a tensor's view to a numpy array; bfloat16 becomes float32."""
    if not values_in(view.shape):
        array = np.empty(view.shape, view.numbers.dtype)
    else:
        step = view.numbers.itemsize
        array = as_strided(view.numbers[view.offset :], view.shape, tuple(stride * step for stride in view.strides))
    return (array.astype(np.uint32) << 16).view(np.float32) if view.kind == "bfloat16" else array


def as_tensor(view: View) -> torch.Tensor:
    """Convert a tensor's view to a torch tensor on the CPU, without a gradient."""
    import torch

    numbers = torch.from_numpy(view.numbers)
    if view.kind == "bfloat16":
        numbers = numbers.view(torch.bfloat16)
    return torch.as_strided(numbers, view.shape, view.strides, view.offset)
