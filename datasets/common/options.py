"""Readers' options: text from the command line, checked against what a reader knows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import fields
from typing import Any, TypeVar

from headbench.harness.errors import DataError, did_you_mean

__all__ = ["parse_options"]

_Options = TypeVar("_Options")


def parse_options(
    kind: type[_Options], options: Mapping[str, object], choices: Mapping[str, Sequence[str]], dataset: str
) -> _Options:
    """`options` as a `kind`, a dataclass of text fields; several values of one option are joined by commas.

    Args:
        choices: option -> its values; an option that is not named takes any text.
        dataset: the reader's name, for messages.

    Raises:
        DataError: an unknown option or value, with close matches.
    """
    known = [f.name for f in fields(kind)]  # type: ignore[arg-type]  # a dataclass
    found: dict[str, Any] = {}
    for name, value in options.items():
        if name not in known:
            raise DataError(did_you_mean(f"option of the {dataset} reader", name, known))
        if name in choices and value not in choices[name]:
            raise DataError(did_you_mean(f"value of the {dataset} option {name}:", str(value), choices[name]))
        found[name] = ",".join(map(str, value)) if isinstance(value, list | tuple) else str(value)
    return kind(**found)
