"""Records: dataclasses whose JSON files are read with every value checked against the field's type.

All bookkeeping of a run goes through here, so that an empty, cut or strange file is refused everywhere with one
sentence that names the file, the field, what was expected and what was found.
"""

from __future__ import annotations

import dataclasses
import datetime
import enum
import functools
import hashlib
import json
import types
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Any, TypeVar, Union, cast, get_args, get_origin, get_type_hints

from headbench.harness.files import read_json, write_json
from headbench.harness.names import one_line, quoted
from headbench.harness.reading import Unreadable

__all__ = ["Moment", "parsed", "read_record", "read_sealed", "write_sealed"]

T = TypeVar("T")
_SEAL = "seal"
"""Key of a JSON file's digest over its other values."""
_LARGEST = 1e300
"""Limit of the magnitude of a number in a record."""
_PLAIN = {str: "a text", int: "a whole number", bool: "true or false"}


class _Misfit(Exception):
    """Error of a value that does not fit the type of its field.

    Args:
        name: path of the field, its parts joined by dots.
        found: the value, in words.
        expected: what the field takes, in words.
    """

    def __init__(self, name: str, found: str, expected: str) -> None:
        super().__init__(name, found, expected)
        self.name, self.found, self.expected = name, found, expected


def _moment(text: str) -> bool:
    """Whether a text is a time in ISO 8601 with its offset from UTC, or empty."""
    try:
        return not text or datetime.datetime.fromisoformat(text).tzinfo is not None
    except ValueError:
        return False


Moment = Annotated[str, (_moment, "a moment such as 2025-01-31T12:00:00+00:00")]
"""Time in UTC as ISO 8601 with its offset; empty for a time that has not come yet."""


def write_sealed(path: Path, values: Mapping[str, Any]) -> None:
    """Write a JSON file with a digest over its own values, so that `read_record` notices later changes."""
    plain = {name: value for name, value in values.items() if name != _SEAL}
    write_json(path, {**plain, _SEAL: _seal_of(plain)})


def read_sealed(path: Path, fits: Callable[[dict[str, Any]], T]) -> T:
    """Read a JSON file, convert its object by `fits`, and check that it has not changed since `write_sealed`.

    A file without a seal is read, too. `fits` runs before the seal is compared, since its error says more.

    Args:
        path: the file.
        fits: converts the object; it raises Unreadable for values that do not fit.

    Raises:
        Unreadable: the file is missing, holds no JSON object, or has changed; or what `fits` raises.
    """
    values = read_json(path)
    seal = values.pop(_SEAL, None)
    found = fits(values)
    if seal is not None and seal != _seal_of(values):
        raise Unreadable(path, "found values that have changed since it was written")
    return found


def read_record(kind: type[T], path: Path, help: str = "") -> T:
    """Read a JSON file as a dataclass, with every value checked against the type of its field.

    Args:
        kind: a dataclass of plain types.
        path: the file.
        help: what the user can do about a file that does not fit.

    Raises:
        Unreadable: it is missing, no JSON object, changed since it was sealed, or a field is missing or has a value of
            another kind.
    """
    try:
        return read_sealed(path, lambda values: parsed(kind, values, path))
    except Unreadable as error:
        error.help = error.help or help
        raise


def parsed(kind: type[T], values: Mapping[str, Any], path: Path, help: str = "") -> T:
    """Convert values from JSON into the dataclass `kind`.

    Unknown keys, of newer versions, are ignored, but for a dataclass with a true `closed`, which people write by hand.

    Args:
        kind: a dataclass of plain types.
        values: key -> value, as JSON gave them.
        path: the file that they are from, for messages.
        help: what the user can do about values that do not fit.

    Raises:
        Unreadable: a field is missing or has a value of another kind; the message names `path` and the field.
    """
    try:
        return cast(T, _record(kind, values, ""))
    except _Misfit as misfit:
        where = f" as {misfit.name}" if misfit.name else ""
        raise Unreadable(path, f"found {misfit.found}{where}, expected {misfit.expected}", help) from misfit


def _seal_of(values: Mapping[str, Any]) -> str:
    """Return the SHA-256 of values as JSON; the order of keys does not matter."""
    text = json.dumps(values, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


@functools.cache
def _fields(kind: Any) -> list[tuple[str, Any, bool]]:
    """Return name, type and whether it is required of each field of a dataclass."""
    hints = get_type_hints(kind, include_extras=True)
    nothing = dataclasses.MISSING
    return [(f.name, hints[f.name], f.default is f.default_factory is nothing) for f in dataclasses.fields(kind)]


def _record(kind: Any, value: Any, name: str) -> Any:
    """Convert an object from JSON, found under the dotted path `name`, into the dataclass `kind`."""
    if not isinstance(value, Mapping):
        raise _Misfit(name, quoted(value), "an object")
    found = {}
    known = [field for field, _, _ in _fields(kind)]
    strange = [key for key in value if key not in known] if getattr(kind, "closed", False) else []
    if strange:
        path = f"{name}.{one_line(strange[0])}" if name else one_line(strange[0])
        raise _Misfit(path, "an unknown key", f"one of {', '.join(known)}")
    for field, hint, needed in _fields(kind):
        path = f"{name}.{field}" if name else field
        if field in value:
            found[field] = _fitting(hint, value[field], path)
        elif needed:
            raise _Misfit(path, "nothing", "a value")
    return kind(**found)


def _fitting(hint: Any, value: Any, name: str) -> Any:
    """Convert a JSON value, found under the dotted path `name`, into the type `hint` of a field, or raise _Misfit."""
    origin, inner = get_origin(hint), get_args(hint)
    if hint is Any:
        return value
    if origin is Annotated:
        check, expected = inner[1]
        found = _fitting(inner[0], value, name)
        if not check(found):
            raise _Misfit(name, quoted(value), expected)
        return found
    if origin in (Union, types.UnionType):
        (other,) = (each for each in inner if each is not type(None))
        return None if value is None else _fitting(other, value, name)
    if origin is tuple:
        if not isinstance(value, list | tuple):
            raise _Misfit(name, quoted(value), "a list")
        if inner[0] is str and set(map(type, value)) <= {str}:  # thousands of frame IDs
            return tuple(value)
        return tuple(_fitting(inner[0], each, f"{name}.{number}") for number, each in enumerate(value))
    if origin is not None:
        if not isinstance(value, Mapping):
            raise _Misfit(name, quoted(value), "an object")
        if inner[1] is str and set(map(type, value.values())) <= {str}:
            return dict(value)
        return {key: _fitting(inner[1], each, f"{name}.{key}") for key, each in value.items()}
    return _record(hint, value, name) if dataclasses.is_dataclass(hint) else _single(hint, value, name)


def _single(hint: Any, value: Any, name: str) -> Any:
    """Convert a JSON value into a type that is neither container nor record: text, number, bool or enumeration."""
    if issubclass(hint, enum.Enum):
        known = [each.value for each in hint]
        if value not in known:
            raise _Misfit(name, quoted(value), f"one of {', '.join(known)}")
        return hint(value)
    if hint is float:
        if isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < _LARGEST:
            return float(value)
        raise _Misfit(name, quoted(value), "a finite number")
    if type(value) is not hint:
        raise _Misfit(name, quoted(value), _PLAIN[hint])
    return value
