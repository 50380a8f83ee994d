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
Fit = Callable[[Any], Any]
"""Function that converts a value from JSON into the type of a field."""
_SEAL = "seal"
"""Key of a JSON file's digest over its other values."""
_LARGEST = 1e300
"""Limit of the magnitude of a number in a record."""
_ORDERED = json.JSONEncoder(sort_keys=True, separators=(",", ":"))
_PLAIN = {str: "a text", int: "a whole number", bool: "true or false"}


class _Misfit(Exception):
    """Error of a value that does not fit the type of its field.

    Args:
        found: the value, in words.
        expected: what the field takes, in words.
        name: path of the field, its parts joined by dots; empty for the whole.
    """

    def __init__(self, found: str, expected: str, name: str = "") -> None:
        super().__init__(found, expected, name)
        self.found, self.expected, self.name = found, expected, name

    def under(self, name: str) -> _Misfit:
        """The same error of a value that lies in the field `name`."""
        return _Misfit(self.found, self.expected, f"{name}.{self.name}" if self.name else name)


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
        return cast(T, _record(kind, values))
    except _Misfit as misfit:
        where = f" as {misfit.name}" if misfit.name else ""
        raise Unreadable(path, f"found {misfit.found}{where}, expected {misfit.expected}", help) from misfit


def _seal_of(values: Mapping[str, Any]) -> str:
    """Return the SHA-256 of values as JSON; the order of keys does not matter."""
    return hashlib.sha256(_ORDERED.encode(values).encode()).hexdigest()


@functools.cache
def _fields(kind: Any) -> dict[str, tuple[Fit, bool, type | None]]:
    """Return per field of a dataclass how its value is converted, whether it is required, and its type if plain."""
    hints, nothing = get_type_hints(kind, include_extras=True), dataclasses.MISSING
    found = {}
    for field in dataclasses.fields(kind):
        hint, needed = hints[field.name], field.default is field.default_factory is nothing
        found[field.name] = (_fit(hint), needed, hint if hint in _PLAIN else None)
    return found


def _record(kind: Any, value: Any) -> Any:
    """Convert an object from JSON into the dataclass `kind`; what is one already stays."""
    if type(value) is kind:
        return value
    if not isinstance(value, Mapping):
        raise _Misfit(quoted(value), "an object")
    fields = _fields(kind)
    if getattr(kind, "closed", False):
        strange = next((key for key in value if key not in fields), None)
        if strange is not None:
            raise _Misfit("an unknown key", f"one of {', '.join(fields)}", one_line(strange))
    found = {}
    for name, (fit, needed, plain) in fields.items():
        if name in value:
            each = value[name]
            # The usual text, number or flag needs no call: a run of a thousand cells has some hundred thousand.
            found[name] = each if type(each) is plain else _inside(fit, each, name)
        elif needed:
            raise _Misfit("nothing", "a value", name)
    return kind(**found)


def _inside(fit: Fit, value: Any, name: object) -> Any:
    """Convert a value that stands under `name` in an object or list; the name is only spelt out where it misfits."""
    try:
        return fit(value)
    except _Misfit as misfit:
        raise misfit.under(str(name)) from None


@functools.cache
def _fit(hint: Any) -> Fit:
    """Return the function that converts JSON values into the type `hint` of a field, or raises _Misfit.

    Types are taken apart once: a run of a thousand cells has some hundred thousand values.
    """
    origin, inner = get_origin(hint), get_args(hint)
    if hint is Any:
        return lambda value: value
    if origin is Annotated:
        return functools.partial(_checked, _fit(inner[0]), *inner[1])
    if origin in (Union, types.UnionType):
        (other,) = (each for each in inner if each is not type(None))
        return functools.partial(_optional, _fit(other))
    if origin is tuple:
        return functools.partial(_list, inner[0], _fit(inner[0]))
    if origin is not None:
        return functools.partial(_mapping, inner[1], _fit(inner[1]))
    return functools.partial(_record if dataclasses.is_dataclass(hint) else _single, hint)


def _checked(fit: Fit, check: Callable[[Any], bool], expected: str, value: Any) -> Any:
    found = fit(value)
    if not check(found):
        raise _Misfit(quoted(value), expected)
    return found


def _optional(fit: Fit, value: Any) -> Any:
    return None if value is None else fit(value)


def _list(kind: Any, fit: Fit, value: Any) -> tuple[Any, ...]:
    if not isinstance(value, list | tuple):
        raise _Misfit(quoted(value), "a list")
    if kind is str and set(map(type, value)) <= {str}:  # thousands of frame IDs
        return tuple(value)
    return tuple(_inside(fit, each, number) for number, each in enumerate(value))


def _mapping(kind: Any, fit: Fit, value: Any) -> dict[str, Any]:
    if not isinstance(value, Mapping):
        raise _Misfit(quoted(value), "an object")
    if kind is Any or (kind is str and set(map(type, value.values())) <= {str}):
        return dict(value)
    return {key: _inside(fit, each, key) for key, each in value.items()}


def _single(hint: Any, value: Any) -> Any:
    """Convert a JSON value into a type that is neither container nor record: text, number, bool or enumeration."""
    if type(value) is hint and hint is not float:
        return value
    if issubclass(hint, enum.Enum):
        try:
            return hint(value)
        except ValueError:
            raise _Misfit(quoted(value), f"one of {', '.join(each.value for each in hint)}") from None
    if hint is float:
        if isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < _LARGEST:
            return float(value)
        raise _Misfit(quoted(value), "a finite number")
    raise _Misfit(quoted(value), _PLAIN[hint])
