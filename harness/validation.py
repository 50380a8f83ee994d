"""Typed values from files and command lines: the one place that words what pydantic found."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, get_args

from headbench.harness.errors import BenchError, did_you_mean

if TYPE_CHECKING:
    from pydantic import BaseModel, ValidationError

__all__ = ["faults", "validate"]


def validate(kind: type[BaseModel], values: Mapping[str, Any], where: str) -> Any:
    """`values` as a `kind`.

    Args:
        kind: a pydantic model.
        values: what a file or a command line gave.
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
    """What does not fit, one text per value: its dotted path, what was expected and what was given.

    Args:
        error: what pydantic raised.
        kind: the model that it was raised for; it knows the keys to suggest.
    """
    lines = []
    for fault in _told(error):
        path = ".".join(str(part) for part in fault["loc"])
        if fault["type"] == "extra_forbidden":
            section = kind
            for part in fault["loc"][:-1]:
                inner = section.model_fields.get(str(part))
                section = section if inner is None else _section(inner.annotation) or section
            lines.append(did_you_mean("key", path, [f.alias or name for name, f in section.model_fields.items()]))
        else:
            # A check of a whole section names what it found itself.
            whole = fault["type"] == "missing" or isinstance(fault["input"], Mapping)
            text = fault["msg"].removeprefix("Value error, ")
            got = "" if whole else f", got {fault['input']!r}"
            lines.append(f"{path or 'value'}: {text[0].lower()}{text[1:]}{got}")
    return lines


def _section(annotation: object) -> type[BaseModel] | None:
    """The section that an option's type is or holds, as a tuple of sections does."""
    if isinstance(annotation, type) and hasattr(annotation, "model_fields"):
        return annotation
    return next((found for part in get_args(annotation) if (found := _section(part)) is not None), None)


def _told(error: ValidationError) -> list[Any]:
    """Its faults. Where an option takes values of several types, pydantic tells why each of them did not fit and names
    the type behind the option; only what is wrong with a value of a right type is kept, if there is such a type."""
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
    return isinstance(part, str) and (
        part.startswith(("constrained-", "tuple[", "literal[")) or part in ("int", "float", "str")
    )
