"""Records: dataclasses whose JSON files are read with every value checked against the field's type.

All bookkeeping of a run goes through here, so that an empty, cut or strange file is refused everywhere with one
sentence that names the file, the field, what was expected and what was found.
"""

from __future__ import annotations

import datetime
import functools
import hashlib
import json
from collections.abc import Callable, Hashable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar, cast

from headbench.harness.files import read_json, write_json
from headbench.harness.reading import Unreadable

if TYPE_CHECKING:
    from pydantic import TypeAdapter

__all__ = ["Moment", "parsed", "read_record", "read_sealed", "write_sealed"]

T = TypeVar("T")
_SEAL = "seal"
_SHOWN = 60
"""Characters of a wrong value that a message shows."""


class _IsMoment:
    """Makes pydantic look at a text as a moment."""

    @staticmethod
    def __get_pydantic_core_schema__(source: Any, handler: Any) -> Any:
        from pydantic_core import core_schema

        return core_schema.no_info_after_validator_function(_moment, handler(source))


Moment = Annotated[str, _IsMoment]
"""UTC as ISO 8601 with its offset; empty where it has not come yet."""


def write_sealed(path: Path, values: Mapping[str, Any]) -> None:
    """Write a JSON file with a digest over its own values, so that `read_record` sees when one of them has changed."""
    plain = {name: value for name, value in values.items() if name != _SEAL}
    write_json(path, {**plain, _SEAL: _seal_of(plain)})


def read_sealed(path: Path, fits: Callable[[dict[str, Any]], T]) -> T:
    """What `fits` makes of the object in a JSON file, which is as it was sealed, or was written without a seal.

    A value of the wrong kind is told before the seal is looked at, since that tells more.

    Raises:
        Unreadable: it is missing, no JSON object, or has changed; or as `fits`.
    """
    values = read_json(path)
    seal = values.pop(_SEAL, None)
    found = fits(values)
    if seal is not None and seal != _seal_of(values):
        raise Unreadable(path, "found values that have changed since it was written")
    return found


def read_record(kind: type[T], path: Path, help: str = "") -> T:
    """The record that a JSON file holds.

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
    """`values`, as JSON gave them, as a `kind`; unknown keys of newer versions are left alone.

    Raises:
        Unreadable: a field is missing or has a value of another kind; the message names `path` and the field.
    """
    from pydantic import ValidationError

    try:
        # As JSON once more, since only there pydantic is strict and takes lists for tuples and texts for enumerations.
        found: T = _adapter(cast(Hashable, kind)).validate_json(json.dumps(values, allow_nan=False), strict=True)
        return found
    except ValidationError as error:
        raise Unreadable(path, _fault(error), help) from error
    except (ValueError, RecursionError) as error:
        raise Unreadable(path, "found a number that is not finite", help) from error


def _seal_of(values: Mapping[str, Any]) -> str:
    """SHA-256 of the values as JSON, whatever the order of keys and the spaces between them."""
    text = json.dumps(values, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


@functools.cache
def _adapter(kind: Any) -> TypeAdapter[Any]:
    from pydantic import TypeAdapter

    return TypeAdapter(kind)


def _moment(text: str) -> str:
    try:
        if text and datetime.datetime.fromisoformat(text).tzinfo is None:
            raise ValueError(text)
    except ValueError as error:
        raise ValueError("a moment such as 2025-01-31T12:00:00+00:00") from error
    return text


def _fault(error: Any) -> str:
    """What is wrong with the first wrong field."""
    first = error.errors(include_url=False)[0]
    if first["type"] == "json_invalid":
        return "found a text with half a character in it"
    name = ".".join(str(part) for part in first["loc"] if not str(part).startswith(("dataclass-", "function-")))
    if first["type"] == "missing":
        return f"found no {name}, which is expected there"
    expected = first["msg"].removeprefix("Value error, ").removeprefix("Input should be ").removeprefix("a valid ")
    value = json.dumps(first["input"], default=str)
    shown = value if len(value) <= _SHOWN else value[:_SHOWN] + "…"
    return f"found {shown} as {name}, expected {expected}" if name else f"found {shown}, expected {expected}"
