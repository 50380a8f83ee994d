"""Reading of torch files from before 1.6: five pickles one after another, then the bytes of storages."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from headbench.harness.assets.pickles.machine import Machine
from headbench.harness.assets.pickles.opcodes import Stream
from headbench.harness.assets.pickles.records import Name, Old, Pairs, Persistent, Refused
from headbench.harness.assets.pickles.storages import STORAGES, Storage, StorageId, storage_id
from headbench.harness.assets.pickles.walk import Names

__all__ = ["MAGIC", "legacy_parts", "legacy_storage"]

MAGIC = 0x1950A86A20F9469CFC6C
"""Number in the first pickle of a torch file from before 1.6."""
_PROTOCOL = 1001
"""Number in the second pickle: the version of the format."""


def legacy_parts(
    content: bytes, names: Names, refuse: Callable[[Name], Refused]
) -> tuple[Any, Callable[[Any], Storage]]:
    """Return the value of a torch file in records, and a function that finds the storages that they name.

    Args:
        content: the whole file.
        names: names that may occur.
        refuse: makes the error for a name that is not known.

    Raises:
        Refused: the content is no torch file from before 1.6, or is damaged.
    """
    stream = Stream(content)
    if _next(stream) != MAGIC:
        raise Refused("that is no file of torch.save")
    if _next(stream) != _PROTOCOL:
        raise Refused("of another version of torch.save")
    machine = _next(stream)
    if not isinstance(machine, Pairs) or ("little_endian", True) not in _texts(machine):
        raise Refused("of a machine with another order of bytes")
    main = Machine(stream, names, refuse)
    value = main.run()
    storages = _storages(stream, _next(stream), [storage_id(each, 6) for each in main.persistent])
    return value, lambda record: storages[_key(record)]


def legacy_storage(content: bytes, refuse: Callable[[Name], Refused]) -> Storage:
    """Return the storage in a torch file that is embedded in the plain pickle of a tensor.

    Args:
        content: the embedded file.
        refuse: makes the error for a name that is not known.

    Raises:
        Refused: the content is anything else.
    """
    value, find = legacy_parts(content, dict.fromkeys(STORAGES), refuse)
    return find(value)


def _next(stream: Stream) -> Any:
    """Read one of the pickles around a file's value, which may name nothing."""
    return Machine(stream, (), lambda name: Refused(f"that names {name} beside its value; nothing was loaded")).run()


def _texts(pairs: Pairs) -> list[tuple[Any, Any]]:
    """Return the pairs of a dictionary with keys of Python 2 as text."""
    return [(key.text() if isinstance(key, Old) else key, value) for key, value in pairs.pairs]


def _key(record: Any) -> str:
    """Return the key of the storage that a tensor's record names."""
    if not isinstance(record, Persistent):
        raise Refused("with a tensor without a storage")
    return storage_id(record, 6).key


def _storages(stream: Stream, keys: Any, known: list[StorageId]) -> dict[str, Storage]:
    """Read the storages at the end of a file by key.

    Args:
        stream: at the first storage.
        keys: of the storages, in the file's order.
        known: storages that the value names.
    """
    said: dict[str, StorageId] = {}
    for each in known:
        if said.setdefault(each.key, each) != each:
            raise Refused("with a storage of two kinds or sizes")
    if not isinstance(keys, list) or not all(isinstance(key, str) and key in said for key in keys):
        raise Refused("with a list of storages that does not fit its tensors")
    if sorted(keys) != sorted(said):
        raise Refused("with a list of storages that does not fit its tensors")
    found: dict[str, Storage] = {}
    for key in keys:
        if int.from_bytes(stream.take(8), "little", signed=True) != said[key].count:
            raise Refused("with a storage whose size is not that of its tensors")
        content = np.frombuffer(stream.take(said[key].size), np.uint8).copy()
        found[key] = Storage(content, said[key].kind)
    return found
