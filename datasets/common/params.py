"""Numbers of trackers, checked for shape and finiteness, and stacked to one batch of head parameters for all frames."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from headbench.datasets.common.documents import found_instead
from headbench.datasets.common.findings import Findings
from headbench.harness.types import HeadParams, Similarity

__all__ = ["each_row", "head_params", "numbers", "numbers_of_all", "tensor"]

Floats = NDArray[np.float64]
_LARGEST = 1e6
"""Largest number that any tracker gives, in whatever unit."""
_FOREIGN = "coefficients of another tracker or FLAME version are not interchangeable"


def tensor(values: NDArray[Any]) -> Tensor:
    """Convert an array to a float32 tensor of the same shape."""
    return torch.from_numpy(np.array(values, dtype=np.float64)).to(torch.float32)


def numbers(
    path: Path,
    name: str,
    value: Any,
    shape: tuple[int | None, ...],
    findings: Findings,
    frame: str = "",
    help: str = _FOREIGN,
    limit: float = _LARGEST,
) -> Floats | None:
    """Convert a value from a file to float64 numbers of a given shape; None where that fails, which has been reported.

    Args:
        path: the file, for messages.
        name: the key in the file, for messages.
        value: nested lists of JSON, or an array.
        shape: None stands for any length. Sides of 1 that `value` lacks or has too many, at the front, do not matter.
        findings: receives what is wrong.
        frame: id of the frame that the value belongs to; empty where all frames share it.
        help: what the user can do where the shape or the size of the numbers is wrong.
        limit: no number may be larger than this either way.
    """
    expected = " x ".join("any" if side is None else str(side) for side in shape) or "1"
    try:
        raw = np.asarray(value)
        if raw.dtype.kind == "c":
            findings.error(path, f"`{name}`: expected {expected} real numbers, found complex ones", frame, help)
            return None
        array = np.asarray(raw, dtype=np.float64)
    except (TypeError, ValueError, OverflowError):
        found, remedy = found_instead(value)
        findings.error(path, f"`{name}`: expected {expected} numbers, found {found}", frame, remedy or help)
        return None
    while array.ndim > len(shape) and array.shape[0] == 1:
        array = array[0]
    while array.ndim < len(shape) and shape[len(shape) - array.ndim - 1] in (1, None):
        array = array[None]
    fits = array.ndim == len(shape) and all(s in (None, n) for s, n in zip(shape, array.shape, strict=True))
    if not fits:
        found = " x ".join(map(str, np.shape(value))) or "1"
        findings.error(path, f"`{name}`: expected {expected} numbers, found {found}", frame, help)
        return None
    odd = np.argwhere(~np.isfinite(array))
    if len(odd):
        place = ", ".join(str(int(k)) for k in odd[0])
        findings.error(
            path, f"`{name}`: expected finite numbers, found {array[tuple(odd[0])]} at [{place}]", frame, "track again"
        )
        return None
    if array.size and np.abs(array).max() > limit:
        findings.error(path, f"`{name}`: expected numbers below {limit:g}, found {np.abs(array).max():g}", frame, help)
        return None
    return array


def numbers_of_all(values: Sequence[Any], shape: tuple[int | None, ...]) -> Floats | None:
    """Convert the values of many frames to float64 numbers (T, ...) at once.

    None where a value has another shape than the first, or may not pass `numbers`, which then says why.

    Args:
        values: nested lists of JSON, one per frame.
        shape: shape of each; None stands for any length.
    """
    try:
        array = np.asarray(values)
    except (TypeError, ValueError, OverflowError):
        return None
    # Numbers alone: a text that reads like one is left to `numbers`, and so is a side of 1 too many.
    if array.dtype.kind not in "iuf" or array.ndim != 1 + len(shape):
        return None
    array = array.astype(np.float64)
    fits = all(side in (None, found) for side, found in zip(shape, array.shape[1:], strict=True))
    good = fits and bool(np.isfinite(array).all()) and not (array.size and np.abs(array).max() > _LARGEST)
    return array if good else None


def each_row(params: HeadParams) -> list[HeadParams]:
    """Parameters of each member of a batch, B = 1: what ``rows(slice(k, k + 1))`` gives for every k, in less time."""
    fields = {name: value for name, value in vars(params).items() if isinstance(value, Tensor)}
    split = zip(*(value.split(1) for value in fields.values()), strict=True)
    moved = params.similarity
    still = (
        [Similarity(*parts) for parts in zip(moved.scale.split(1), moved.R.split(1), moved.t.split(1), strict=True)]
        if moved is not None
        else [None] * len(params.expression)
    )
    return [
        replace(params, **dict(zip(fields, parts, strict=True)), similarity=similarity)
        for parts, similarity in zip(split, still, strict=True)
    ]


def head_params(
    head: str,
    expression: Floats,
    *,
    root: Floats | None = None,
    neck: Floats | None = None,
    jaw: Floats | None = None,
    eye_left: Floats | None = None,
    eye_right: Floats | None = None,
    translation: Floats | None = None,
    eyelids: Floats | None = None,
    similarity: tuple[Floats, Floats, Floats] | None = None,
) -> HeadParams:
    """Stack the parameters of all frames to one batch, B = T; ``rows(slice(k, k + 1))`` of it is the part of frame k.

    What is not given is zero.

    Args:
        head: the head model's tag.
        expression: (T, E) coefficients.
        root, neck, jaw, eye_left, eye_right: (T, 3) axis-angle radians.
        translation: (T, 3) metres.
        eyelids: (T, 2) left, right; None where the tracker gives none.
        similarity: scale (T,), R (T, 3, 3), t (T, 3) in metres; None where the head has no global similarity.
    """
    count = len(expression)
    vectors = {
        "root": root,
        "neck": neck,
        "jaw": jaw,
        "eye_left": eye_left,
        "eye_right": eye_right,
        "translation": translation,
    }
    stacked = {name: torch.zeros(count, 3) if rows is None else tensor(rows) for name, rows in vectors.items()}
    _same_length(count, [*stacked.values()])
    return HeadParams(
        head=head,
        expression=tensor(expression),
        eyelids=None if eyelids is None else tensor(eyelids),
        similarity=None if similarity is None else Similarity(*(tensor(part) for part in similarity)),
        **stacked,
    )


def _same_length(count: int, parts: Sequence[Tensor]) -> None:
    """Refuse stacked parameters whose numbers of rows differ from `count`."""
    lengths = {len(part) for part in parts}
    if lengths != {count}:
        raise ValueError(f"{count} expressions, but other parameters for {sorted(lengths)} frames")
