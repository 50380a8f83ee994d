"""Reading of torch files since 1.6: a zip archive of one pickle and the storages that it names."""

from __future__ import annotations

import zipfile

from headbench.harness.archives import Archive
from headbench.harness.assets.pickles.records import Persistent, Refused
from headbench.harness.assets.pickles.storages import Storage, StorageId, storage_id

__all__ = ["Zipped"]

_RECORD = "data.pkl"
"""Name of the pickle in the archive."""
_RECORD_BYTES = 64 * 2**20
"""Limit of the size of the pickle without its storages, in bytes."""


class Zipped:
    """Archive that `torch.save` wrote.

    Args:
        archive: the open archive.
        limit: the most bytes that a storage may have.

    Raises:
        Refused: the archive is not of `torch.save`, or holds a program.
    """

    def __init__(self, archive: Archive, limit: int) -> None:
        members = archive.members
        roots = [
            name.removesuffix(_RECORD) for name in members if name.count("/") == 1 and name.endswith(f"/{_RECORD}")
        ]
        if len(roots) != 1:
            raise Refused(f"with {len(roots)} members {_RECORD} where one should be")
        self._archive, self._root, self._limit = archive, roots[0], limit
        if f"{self._root}constants.pkl" in members:
            raise Refused("with a program (TorchScript), which is not read")
        for info in members.values():
            # torch can be set to write no check sums; zipfile then must not compare any.
            if info.CRC == 0:
                info.CRC = None  # type: ignore[assignment]
        order = f"{self._root}byteorder"
        self._order = bytes(archive.read(order, 10)) if order in members else b"little"
        if self._order not in (b"little", b"big"):
            raise Refused("with an order of bytes that there is not")
        self._storages: dict[str, tuple[StorageId, Storage]] = {}

    def record(self) -> bytes:
        """Return the bytes of the pickle."""
        return bytes(self._archive.read(f"{self._root}{_RECORD}", _RECORD_BYTES))

    def find(self, record: object) -> Storage:
        """Return the storage to which a record of the pickle refers.

        Raises:
            Refused: the record refers to no storage, or to one of another type or size.
            Unreadable: the storage is missing or damaged.
        """
        if not isinstance(record, Persistent):
            raise Refused("with a tensor without a storage")
        known = storage_id(record, 5)
        if known.key not in self._storages:
            self._storages[known.key] = known, self._read(known)
        said, storage = self._storages[known.key]
        if said != known:
            raise Refused("with a storage of two kinds or sizes")
        return storage

    def _read(self, known: StorageId) -> Storage:
        """Read a storage from the archive."""
        name = f"{self._root}data/{known.key}"
        info = self._archive.members.get(name)
        if info is not None and info.compress_type != zipfile.ZIP_STORED:
            raise Refused("whose storages are packed, which torch never does")
        content = self._archive.read(name, self._limit)
        if content.size != known.size:
            raise Refused(f"with a storage of {content.size:,} bytes whose tensors expect {known.size:,}")
        return Storage(content, known.kind, self._order == b"big")
