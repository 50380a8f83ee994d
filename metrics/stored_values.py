"""Checks of single values in score files of every layout. Needs no torch."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError

from headbench.harness.errors import DataError
from headbench.harness.names import quoted
from headbench.metrics.keys import split_key
from headbench.metrics.plugin import METRICS
from headbench.metrics.protocol import TrackingRule
from headbench.metrics.protocol.fields import ADDED
from headbench.metrics.scores import LARGEST

__all__ = ["added_frames", "check_fields", "number", "texts", "tracking"]

_LIMITED = {spec.name for spec in METRICS if not spec.unlimited}
"""Built-in metrics that are never infinite. Whether a plugin's metric may be is not known, so none is listed."""


def check_fields(values: Any, needed: Mapping[str, type], more: Mapping[str, type], where: str) -> None:
    """Check that a JSON value is an object with all needed fields, perhaps some optional ones, and no others.

    Args:
        values: parsed JSON.
        needed: field -> type.
        more: optional field -> type.
        where: beginning of messages: the line.

    Raises:
        DataError: it is anything else.
    """
    if not isinstance(values, dict):
        raise DataError(f"{where}: expected an object, found {type(values).__name__}.")
    missing = [name for name in needed if name not in values]
    if missing:
        raise DataError(f"{where} lacks {', '.join(missing)}.")
    unknown = [quoted(name) for name in values if name not in needed and name not in more]
    if unknown:
        # What a newer version writes may change what the numbers mean.
        raise DataError(f"{where} has {', '.join(unknown[:5])}, unknown here: a newer version of headbench wrote it.")
    for name, kind in {**needed, **more}.items():
        if name in values and (not isinstance(values[name], kind) or (kind is int and isinstance(values[name], bool))):
            raise DataError(f"{where}: {name} {quoted(values[name])}, expected {kind.__name__}.")


def texts(values: Mapping[str, Any], what: str) -> Mapping[str, str]:
    """Check that the values of a mapping in the first line of a score file are texts, and return it.

    Args:
        values: the mapping.
        what: its name, for messages.

    Raises:
        DataError: one is not.
    """
    for key, value in values.items():
        if not isinstance(value, str):
            raise DataError(f"line 1: {what} of {quoted(key)} is {quoted(value)}, expected a text.")
    return values


def number(stored: Any, key: str, where: str, name: str = "", expected: str = "a finite number") -> float:
    """Check a metric's value in a score file, and return it.

    Args:
        stored: parsed JSON.
        key: key of the metric.
        where: beginning of messages: the line.
        name: what the file calls the metric; empty where it is the key.
        expected: what the message says was expected.

    Raises:
        DataError: it is no finite number, nor "inf" of a metric that may be infinite.
    """
    if stored == "inf" and split_key(key)[0] not in _LIMITED:
        return math.inf
    if isinstance(stored, bool) or not isinstance(stored, int | float) or not -LARGEST < stored < LARGEST:
        raise DataError(f"{where}: {name or key} is {quoted(stored)}, expected {expected}.")
    return float(stored)


def tracking(values: Any) -> TrackingRule | None:
    """Test-time tracking that the first line of a score file records; None where it records none.

    Raises:
        DataError: it is no tracking rule.
    """
    try:
        return None if values is None else TrackingRule.model_validate(values)
    except ValidationError as error:
        where = ".".join(map(str, error.errors()[0]["loc"]))
        raise DataError(f"line 1: test_time_tracking has no valid {quoted(where)}.") from error


def added_frames(value: float) -> float:
    """Check the number that the first line of a score file adds to that of the frames, and return it.

    Raises:
        DataError: it is none of the numbers that a protocol may ask for.
    """
    if value not in (0.0, ADDED):
        raise DataError(f"line 1: added_frames {quoted(value)}, expected {ADDED}.")
    return value
