"""What a value is called: a metric's name, or its name with a variant. Needs no torch."""

from __future__ import annotations

import re

from headbench.harness.errors import DataError
from headbench.harness.names import quoted

__all__ = ["field_of", "is_key", "join_key", "metric_key", "split_key"]

_KEY = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}(/[A-Za-z0-9][A-Za-z0-9_-]{0,63})?")


def is_key(text: object) -> bool:
    """Whether `text` names a metric, as ``psnr`` or ``lpips/alex`` does."""
    return isinstance(text, str) and _KEY.fullmatch(text) is not None


def metric_key(text: object, where: str) -> str:
    """`text` as the name of a metric, with or without a variant.

    Raises:
        DataError: it is none.
    """
    if not is_key(text) or not isinstance(text, str):
        raise DataError(f"{where}: {quoted(text)} names no metric: expected a name such as psnr or lpips/alex.")
    return text


def split_key(key: str) -> tuple[str, str]:
    """``lpips/alex`` as name and variant; the variant is empty where there is none."""
    name, _, variant = key.partition("/")
    return name, variant


def join_key(name: str, variant: str) -> str:
    """The opposite of `split_key`."""
    return f"{name}/{variant}" if variant else name


def field_of(key: str) -> str:
    """What a column of CSV and JSON is called: ``lpips_alex``."""
    return key.replace("/", "_")
