"""Reading of pickle, .npy and torch files; each fault becomes one sentence with the file and the fault."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from headbench.harness.archives import Archive, open_archive
from headbench.harness.arrays import NotPlain, npy_header, read_npy
from headbench.harness.assets.pickles.chumpies import CHUMPY
from headbench.harness.assets.pickles.containers import CONTAINERS
from headbench.harness.assets.pickles.legacy import legacy_parts, legacy_storage
from headbench.harness.assets.pickles.machine import Machine
from headbench.harness.assets.pickles.matrices import SCIPY
from headbench.harness.assets.pickles.numbers import NUMPY
from headbench.harness.assets.pickles.opcodes import Stream
from headbench.harness.assets.pickles.records import Made, Name, Refused
from headbench.harness.assets.pickles.storages import Storage, View, as_array, as_tensor
from headbench.harness.assets.pickles.tensors import tensor_names
from headbench.harness.assets.pickles.walk import Names, Walk
from headbench.harness.assets.pickles.zipped import Zipped
from headbench.harness.reading import Unreadable, fault_of, open_regular, read_bytes

__all__ = ["GROUPS", "restricted_load", "restricted_npy", "torch_load"]

FILE_BYTES = 2 * 2**30
"""Limit of a file's size in bytes; the largest that is known, VGG16 of torchvision, has 0.6 GB."""
_DAMAGE = (ValueError, TypeError, KeyError, IndexError, AttributeError, OverflowError, MemoryError, RecursionError)
"""Exceptions that a damaged file may cause."""
_BYTES = Name("torch.storage", "_load_from_bytes")
"""Function by which a plain pickle names the storage of a tensor."""


def restricted_load(path: Path, allow: Collection[str] = ("numpy",)) -> Any:
    """Read a pickle file whose names are all in the allow-list; text of Python 2 is read as latin-1.

    Args:
        path: the file.
        allow: groups of names: numpy (arrays, dtypes, scalars), scipy (csc, csr, coo), chumpy (Ch and Select) and
            torch (tensors), both returned as numpy arrays. Dictionaries, lists, tuples, sets and text are always
            allowed.

    Raises:
        Unreadable: the file cannot be opened, is no pickle, or names anything else; the message has the file and the
            name.
        ValueError: a group is unknown.
    """
    names = _names(allow)
    with _reported(path, "pickle"):
        return _loaded(read_bytes(path, FILE_BYTES), 0, names, allow)


def restricted_npy(path: Path, allow: Collection[str] = ("numpy",)) -> Any:
    """Read the array in an .npy file; one of objects, which numpy stores as a pickle, is read like `restricted_load`.

    Args:
        path: the file.
        allow: as for `restricted_load`.

    Raises:
        Unreadable: the file cannot be opened, is no .npy, or its pickle names anything else.
        ValueError: a group is unknown.
    """
    names = _names(allow)
    with _reported(path, "pickle"):
        with open_regular(path) as handle:
            header = npy_header(handle.read(10_000))
        if header.dtype is not None:
            return read_npy(path)
        array = _loaded(read_bytes(path, FILE_BYTES), header.start, names, allow)
        if not isinstance(array, np.ndarray) or not array.dtype.hasobject or array.shape != header.shape:
            raise Refused("that is not the array of objects that its file's header promises")
        return array


def torch_load(path: Path, arrays: bool = False) -> Any:
    """Read a `torch.save` file: tensors, numpy arrays and plain containers only.

    Tensors come to the CPU wherever they were; parameters and tensors with a gradient come as plain tensors.

    Args:
        path: the file, in today's format or that before torch 1.6.
        arrays: whether tensors come as arrays of numpy, bfloat16 as float32; torch is not imported then.

    Raises:
        Unreadable: the file cannot be opened, is damaged, or names anything else.
    """
    finish: Callable[[View], Any] = as_array if arrays else as_tensor
    with _reported(path, "torch file"):
        with open_regular(path) as handle:
            start, size = handle.read(512), os.fstat(handle.fileno()).st_size
        if start[:2] == b"PK":
            if size > FILE_BYTES:
                raise Refused(f"of {size:,} bytes, at most {FILE_BYTES:,} are read")
            with open_archive(path) as archive:
                return _from_archive(archive, size, finish)
        if start[257:262] == b"ustar":
            raise Refused("of the time before 0.1.10 (a tar archive), which is not read")
        return _from_legacy(read_bytes(path, FILE_BYTES), finish)


@contextmanager
def _reported(path: Path, what: str) -> Iterator[None]:
    """Convert errors of the block into an `Unreadable` of the file, which should be `what`: pickle or torch file."""
    try:
        yield
    except Refused as error:
        raise Unreadable(path, f"found a {what} {error}") from error
    except NotPlain as error:
        raise Unreadable(path, f"found an array that cannot be read: {error}") from error
    except OSError as error:
        raise fault_of(path, error) from error
    except _DAMAGE as error:
        raise Unreadable(path, f"found a {what} that is damaged") from error


def _refusing(allow: Collection[str]) -> Callable[[Name], Refused]:
    """Return what makes the refusal of a name that is not in the allowed groups."""
    read = f"{', '.join(sorted(allow))} and plain containers"
    return lambda name: Refused(
        f"that names {name}, which is not among the data types that are read ({read}); nothing of it was loaded"
    )


def _loaded(content: bytes, start: int, names: Names, allow: Collection[str]) -> Any:
    """Build the value of a pickle.

    Args:
        content: the file's bytes.
        start: offset at which the pickle begins.
        names: names that may occur, and what builds their values.
        allow: groups of names, for messages.
    """
    refuse = _refusing(allow)
    return Walk(names, len(content)).plain(Machine(Stream(content, start), names, refuse).run())


def _from_legacy(content: bytes, finish: Callable[[View], Any]) -> Any:
    """Build the value of a torch file from before 1.6; `finish` makes arrays or tensors."""
    found: list[Callable[[Any], Storage]] = []
    names = {**CONTAINERS, **NUMPY, **tensor_names(lambda walk, record: found[0](record), finish)}
    value, find = legacy_parts(content, names, _refusing(("numpy", "torch")))
    found.append(find)
    return Walk(names, len(content)).plain(value)


def _from_archive(archive: Archive, size: int, finish: Callable[[View], Any]) -> Any:
    """Build the value of a torch file since 1.6, of `size` bytes; `finish` makes arrays or tensors."""
    zipped = Zipped(archive, FILE_BYTES)
    names = {**CONTAINERS, **NUMPY, **tensor_names(lambda walk, record: zipped.find(record), finish)}
    value = Machine(Stream(zipped.record()), names, _refusing(("numpy", "torch"))).run()
    return Walk(names, size).plain(value)


def _torch() -> Names:
    """Return the names of tensors in a plain pickle, in which each storage is a file of torch.save."""
    known: dict[int, tuple[Made, Storage]] = {}

    def find(walk: Walk, record: Any) -> Storage:
        if not isinstance(record, Made) or record.of != _BYTES or len(record.arguments) != 1:
            raise Refused("with a tensor without a storage")
        if id(record) not in known:
            content = bytes(walk.raw(record.arguments[0]))
            known[id(record)] = record, legacy_storage(content, _refusing(("torch",)))
        return known[id(record)][1]

    return {_BYTES: None, **tensor_names(find, as_array)}


GROUPS: Mapping[str, Callable[[], Names]] = {
    "numpy": lambda: NUMPY,
    "scipy": lambda: SCIPY,
    "chumpy": lambda: CHUMPY,
    "torch": _torch,
}
"""Group that `allow` may name -> its names; plain containers are always allowed."""


def _names(allow: Collection[str]) -> Names:
    """Return all names of the groups and of plain containers."""
    unknown = set(allow) - set(GROUPS)
    if unknown:
        raise ValueError(f"unknown groups {sorted(unknown)}; known are {sorted(GROUPS)}")
    return {**CONTAINERS, **{name: builder for group in allow for name, builder in GROUPS[group]().items()}}
