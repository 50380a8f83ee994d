"""Validation of options from files and command lines by pydantic, with messages in the project's words."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, get_args

from headbench.harness.errors import BenchError, did_you_mean

if TYPE_CHECKING:
    from pydantic import BaseModel, ValidationError

__all__ = ["faults", "validate"]


def validate(kind: type[BaseModel], values: Mapping[str, Any], where: str) -> Any:
    """Convert values from a file or a command line into a pydantic model, or raise one error that names every fault.

    Args:
        kind: a pydantic model.
        values: option -> value, as given.
        where: the start of the message, such as the file's path.

    Raises:
        BenchError: they do not fit; every fault is named with its path, unknown keys with a suggestion.
    """
    from pydantic import ValidationError

    try:
        return kind.model_validate(dict(values))
    except ValidationError as error:
        raise BenchError(f"{where}: " + "; ".join(faults(error, kind))) from error


def faults(error: ValidationError, kind: type[BaseModel]) -> list[str]:
    """Return one text per value that does not fit: its dotted path, what was expected and what was given.

    Args:
        error: what pydantic raised.
        kind: the model that it was raised for; it knows the keys to suggest.
    """
    lines = []
    for fault in _faults(error):
        path = ".".join(str(part) for part in fault["loc"])
        if fault["type"] == "extra_forbidden":
            section = kind
            for part in fault["loc"][:-1]:
                inner = section.model_fields.get(str(part))
                section = section if inner is None else _section(inner.annotation) or section
            lines.append(did_you_mean("key", path, [f.alias or name for name, f in section.model_fields.items()]))
        else:
            # The message of a check of a whole section says itself what was found.
            whole = fault["type"] == "missing" or isinstance(fault["input"], Mapping)
            text = fault["msg"].removeprefix("Value error, ")
            got = "" if whole else f", got {fault['input']!r}"
            lines.append(f"{path or 'value'}: {text[0].lower()}{text[1:]}{got}")
    return lines


def _section(annotation: object) -> type[BaseModel] | None:
    """Return the pydantic model that an option's type is or holds (as a tuple of models does), or None."""
    if isinstance(annotation, type) and hasattr(annotation, "model_fields"):
        return annotation
    return next((found for part in get_args(annotation) if (found := _section(part)) is not None), None)


def _faults(error: ValidationError) -> list[Any]:
    """Return the faults that pydantic found, without those of types that the value was never meant to have.

    Where an option takes values of several types, pydantic reports for each of them why it did not fit, and adds the
    type to the path; only faults of a value that has a right type are kept, if there is such a type.
    """
    faults: list[Any] = error.errors(include_url=False)
    places = [tuple(part for part in fault["loc"] if not _is_type(part)) for fault in faults]
    alternatives = {place for fault, place in zip(faults, places, strict=True) if len(place) < len(fault["loc"])}
    kept = []
    for fault, place in zip(faults, places, strict=True):
        rivals = [f for f, p in zip(faults, places, strict=True) if p[: len(place)] == place and f is not fault]
        if place in alternatives and fault["type"].endswith("_type") and rivals:
            continue
        kept.append({**fault, "loc": place})
    return kept


def _is_type(part: object) -> bool:
    """Whether a part of pydantic's path to a value names a type, and not an option."""
    return isinstance(part, str) and (
        part.startswith(("constrained-", "tuple[", "literal[")) or part in ("int", "float", "str")
    )
