"""Conversion of a pickle's records to plain values, each once, by the function registered for its name.

The walk is bounded. Records may nest `DEPTH` deep; one that holds itself is refused; and the size of the value, once
all that is shared in it is written out, may be a small multiple of the file's, so that a loop over it ends.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from headbench.harness.assets.pickles.records import Group, Made, Name, Old, Pairs, Persistent, Refused

__all__ = ["Builder", "Names", "Walk"]

DEPTH = 64
"""Limit of the levels that records nest; FLAME's files and trackers' nest fewer than 10."""
_SLACK = 64 * 2**20
"""Bytes that a value may take beyond four times the file's size."""
_EACH = 64
"""Bytes that every value counts for, besides its content."""
_ORDERED = Name("collections", "OrderedDict")
_ATOMS = (type(None), bool, int, float, str, bytes)
"""Types of records that are values already."""


class Walk:
    """Converter of one file's records to plain values.

    Args:
        names: names that may occur, and what builds their values.
        size: of the file in bytes.
    """

    def __init__(self, names: Names, size: int) -> None:
        self._names = names
        self._limit = 4 * size + _SLACK
        self._used = 0
        self._depth = 0
        self._open: set[int] = set()
        self._done: dict[int, tuple[Any, Any, int]] = {}

    def plain(self, record: Any) -> Any:
        """Convert a record to a plain value.

        Raises:
            Refused: the record is of a value that is not read.
        """
        if isinstance(record, _ATOMS):
            self.count(len(record) if isinstance(record, str | bytes) else 0)
            return record
        if isinstance(record, Old):
            self.count(len(record.content))
            return record.text()
        if id(record) in self._done:
            _, value, used = self._done[id(record)]
            self.count(used)
            return value
        return self._first(record)

    def count(self, size: int) -> None:
        """Add a value of `size` bytes to what the file stands for.

        Raises:
            Refused: the file stands for more than it may.
        """
        self._used += size + _EACH
        if self._used > self._limit:
            raise Refused(f"that stands for more than {self._limit // 2**20:,} MiB, which it does not hold")

    def raw(self, record: Any) -> bytes | bytearray | memoryview:
        """Return the bytes of a record: a Python 2 string, or bytes in any of the ways that protocols write them."""
        value = record
        if isinstance(record, Old):
            return record.content
        if isinstance(record, Made):
            value = self.plain(record)
        if not isinstance(value, bytes | bytearray):
            raise Refused("with another value where bytes should be")
        return value

    def state(self, made: Made) -> dict[str, Any]:
        """Return the stored attributes of an object: name -> record."""
        found: dict[str, Any] = {}
        for state in made.states:
            # Classes with __slots__ store two dictionaries.
            for part in state if isinstance(state, tuple) else (state,):
                if isinstance(part, Pairs):
                    found |= {str(self.plain(key)): value for key, value in part.pairs if isinstance(key, str | Old)}
                elif part is not None:
                    raise Refused(f"with an object of {made.of} whose state is no dictionary")
        return found

    def _first(self, record: Any) -> Any:
        """Convert a record that has not been converted before, and remember its value."""
        if id(record) in self._open:
            raise Refused("with a value that holds itself")
        if self._depth >= DEPTH:
            raise Refused(f"that nests more than {DEPTH} levels deep")
        self._open.add(id(record))
        self._depth += 1
        used = self._used
        self.count(0)
        value = self._made(record)
        self._depth -= 1
        self._open.discard(id(record))
        # The record is kept, so that its id stays its own.
        self._done[id(record)] = record, value, self._used - used
        return value

    def _made(self, record: Any) -> Any:
        """Convert a record by its type, or by what is registered for its name."""
        if isinstance(record, list):
            return [self.plain(item) for item in record]
        if isinstance(record, tuple):
            return tuple([self.plain(item) for item in record])
        if isinstance(record, Pairs):
            return self.pairs(record.pairs)
        if isinstance(record, Group):
            items = [_key(self.plain(item)) for item in record.items]
            return frozenset(items) if record.frozen else set(items)
        if isinstance(record, Made):
            builder = self._names[record.of]
            if builder is None or isinstance(builder, str):
                raise Refused(f"that calls {record.of} outside of what it belongs to")
            if record.pairs and record.of != _ORDERED:
                raise Refused("that sets keys of what is no dictionary")
            return builder(self, record)
        if isinstance(record, Name) and isinstance(self._names[record], str):
            return self._names[record]
        if isinstance(record, Persistent):
            raise Refused("with a storage outside a tensor or another value outside the pickle")
        raise Refused(f"with {record} as a value")

    def pairs(self, pairs: list[tuple[Any, Any]]) -> dict[Any, Any]:
        """Convert pairs of records to a dictionary."""
        return {_key(self.plain(key)): self.plain(value) for key, value in pairs}


Builder = Callable[[Walk, Made], Any]
"""Function that builds the value of a call."""
Names = Mapping[Name, Builder | str | None]
"""Name that may occur -> what builds its value.

A text is the value itself; None: the name may only be an argument of a call."""


def _key(value: Any) -> Any:
    """Return a key of a dictionary or set, if comparing and hashing it is cheap, else refuse it."""
    whole = isinstance(value, int) and not -(2**63) <= value < 2**64
    if whole or not isinstance(value, _ATOMS):
        raise Refused(f"with {_called(value)} as a key")
    return value


def _called(value: Any) -> str:
    """Describe a value by its type, for a message."""
    return f"a value of the kind {type(value).__name__}"
