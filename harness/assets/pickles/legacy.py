"""torch's files before 1.6: five pickles one after another, then the bytes of storages."""

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
_PROTOCOL = 1001


def legacy_parts(
    content: bytes, names: Names, refuse: Callable[[Name], Refused]
) -> tuple[Any, Callable[[Any], Storage]]:
    """The records of a file's value, and what finds the storages that they name.

    Args:
        content: the whole file.
        names: names that may occur.
        refuse: what a name that is not known becomes.

    Raises:
        Refused: it is no such file, or damaged.
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
    """The one storage that a plain pickle of a tensor holds as a file within it.

    Raises:
        Refused: it is anything else.
    """
    value, find = legacy_parts(content, dict.fromkeys(STORAGES), refuse)
    return find(value)


def _next(stream: Stream) -> Any:
    """The value of the next pickle beside the file's own, which names nothing."""
    return Machine(stream, (), lambda name: Refused(f"that names {name} beside its value; nothing was loaded")).run()


def _texts(pairs: Pairs) -> list[tuple[Any, Any]]:
    return [(key.content.decode("latin-1") if isinstance(key, Old) else key, value) for key, value in pairs.pairs]


def _key(record: Any) -> str:
    if not isinstance(record, Persistent):
        raise Refused("with a tensor without a storage")
    return storage_id(record, 6).key


def _storages(stream: Stream, keys: Any, known: list[StorageId]) -> dict[str, Storage]:
    """Key -> storage, in the order in which the file lists them."""
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
