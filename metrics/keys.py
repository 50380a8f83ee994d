"""Keys of metrics: a name such as ``psnr``, or a name with a variant such as ``lpips/alex``. Needs no torch."""

from __future__ import annotations

import re

from headbench.harness.errors import DataError
from headbench.harness.names import quoted

__all__ = ["field_of", "is_key", "join_key", "metric_key", "split_key"]

_KEY = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}(/[A-Za-z0-9][A-Za-z0-9_-]{0,63})?")


def is_key(text: object) -> bool:
    """Whether `text` has the form of a metric key, such as ``psnr`` or ``lpips/alex``."""
    return isinstance(text, str) and _KEY.fullmatch(text) is not None


def metric_key(text: object, where: str) -> str:
    """Check that `text` has the form of a metric key, and return it.

    Args:
        text: a value from a file.
        where: beginning of messages: the line or field.

    Raises:
        DataError: it has not.
    """
    if not is_key(text) or not isinstance(text, str):
        raise DataError(f"{where}: {quoted(text)} names no metric: expected a name such as psnr or lpips/alex.")
    return text


def split_key(key: str) -> tuple[str, str]:
    """Split a metric key such as ``lpips/alex`` into name and variant; the variant is empty where there is none."""
    name, _, variant = key.partition("/")
    return name, variant


def join_key(name: str, variant: str) -> str:
    """Metric key of a name and a variant, which may be empty; the inverse of `split_key`."""
    return f"{name}/{variant}" if variant else name


def field_of(key: str) -> str:
    """Name of a metric's column in CSV and JSON: ``lpips_alex`` for the key ``lpips/alex``."""
    return key.replace("/", "_")
