"""FLAME parameters of a VHAP export: npz files, one per moment."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from headbench.datasets.common.documents import read_npz
from headbench.datasets.common.findings import Findings
from headbench.datasets.common.params import numbers
from headbench.datasets.common.threads import FEW_FILES, spread

__all__ = ["KEYS", "Parameters", "read_parameters"]

Floats = NDArray[np.float64]

KEYS = {"translation": 3, "rotation": 3, "neck_pose": 3, "jaw_pose": 3, "eyes_pose": 6, "expr": 100}
"""Array in a file -> how many numbers it holds, in a row of its own."""
SHAPES = 300
"""Number of identity coefficients."""
OFFSET_VERTICES = 5143
"""Vertices of a static offset: FLAME's 5023 and 120 of the teeth that VHAP adds."""
_MAKE = "VHAP's export_as_nerf_dataset.py writes it; metrical-tracker's results cannot be renamed to it"
_SAME = 1e-5
"""Largest difference of identity coefficients, or of offsets in metres, between moments of one subject."""


@dataclass(frozen=True)
class Parameters:
    """FLAME parameters of the moments that were asked for, and the identity."""

    moments: Mapping[int, Mapping[str, Floats]]
    """Timestep -> key -> numbers of `KEYS`."""
    shape: Floats
    """(300,) identity coefficients of the first moment."""
    static_offset: Floats | None
    """(V, 3) metres, of the first moment; None where there is none."""


def read_parameters(files: Sequence[tuple[int, Path]], head: str, findings: Findings) -> Parameters | None:
    """Read the parameters of all moments.

    Args:
        files: timestep and file, the first one of a training frame.
        head: the head model's tag, which says how many vertices a static offset has.
        findings: receives what is wrong, and notes.

    Returns:
        None where something is missing or wrong.
    """
    contents = spread(lambda item: _load(item[1], f"{item[0]:05d}"), files, few=len(files) <= FEW_FILES)
    moments: dict[int, dict[str, Floats]] = {}
    identity: tuple[Floats, Floats | None] | None = None
    moved: list[str] = []
    for (timestep, path), (content, found) in zip(files, contents, strict=True):
        name = f"{timestep:05d}"
        findings.problems += found.problems
        if content is None:
            continue
        values = _values(path, name, content, findings)
        shape = _one(path, "shape", content, (SHAPES,), name, findings)
        offset = _offset(path, name, content, head, findings)
        if values is not None:
            moments[timestep] = values
        if _moves(content.get("dynamic_offset")):
            moved.append(name)
        if shape is None:
            continue
        if identity is None:
            identity = shape, offset
        else:
            _check_same(path, name, identity, (shape, offset), files[0][1], findings)
    if moved:
        sentence = f"dynamic_offset of {len(moved)} moments is not used"
        findings.note(sentence)
        findings.warning(files[0][1].parent, f"{sentence}: no method here moves vertices frame by frame", moved[0])
    if identity is None or len(moments) < len(files):
        return None
    return Parameters(moments, *identity)


def _load(path: Path, name: str) -> tuple[dict[str, NDArray[Any]] | None, Findings]:
    """Read the npz file of a moment, whose name is for messages; returns what is wrong with it besides."""
    findings = Findings()
    return read_npz(path, "FLAME parameters (npz)", findings, name, _MAKE), findings


def _values(path: Path, name: str, content: Mapping[str, NDArray[Any]], findings: Findings) -> dict[str, Floats] | None:
    """Check the arrays of `KEYS` in one file; None where any is missing or wrong, which has been reported.

    Args:
        path: the file.
        name: the moment, for messages.
        content: its arrays.
        findings: receives what is wrong.
    """
    found = {key: _one(path, key, content, (size,), name, findings) for key, size in KEYS.items()}
    whole = {key: value for key, value in found.items() if value is not None}
    return whole if len(whole) == len(KEYS) else None


def _one(
    path: Path,
    key: str,
    content: Mapping[str, NDArray[Any]],
    shape: tuple[int | None, ...],
    name: str,
    findings: Findings,
) -> Floats | None:
    """Check one array of a file; None where it is missing or wrong, which has been reported.

    Args:
        path: the file.
        key: name of the array.
        content: arrays of the file.
        shape: expected shape; None stands for any length.
        name: the moment, for messages.
        findings: receives what is wrong.
    """
    if key not in content:
        findings.error(path, f"expected an array `{key}`, found {', '.join(sorted(content)) or 'none'}", name, _MAKE)
        return None
    if content[key].dtype.kind not in "fiu":
        expected = " x ".join("any" if side is None else str(side) for side in shape)
        findings.error(path, f"`{key}`: expected {expected} numbers, found {content[key].dtype} values", name, _MAKE)
        return None
    return numbers(
        path,
        key,
        content[key],
        shape,
        findings,
        name,
        "VHAP's FLAME has 300 for shape and 100 for expression; coefficients of other trackers are not interchangeable",
    )


def _offset(path: Path, name: str, content: Mapping[str, NDArray[Any]], head: str, findings: Findings) -> Floats | None:
    """Check the static offset in a file, (V, 3) metres; None where there is no right one.

    A wrong one is reported.

    Args:
        path: the file.
        name: the moment, for messages.
        content: its arrays.
        head: the head model's tag.
        findings: receives what is wrong.
    """
    if "static_offset" not in content:
        return None
    found = _one(path, "static_offset", content, (None, 3), name, findings)
    if found is not None and head != "openhead" and len(found) not in (OFFSET_VERTICES, OFFSET_VERTICES - 120):
        findings.error(
            path,
            f"`static_offset`: expected {OFFSET_VERTICES} x 3 numbers, found {len(found)} x 3",
            name,
            "track with VHAP's FLAME with teeth, or without static offset",
        )
        return None
    return found


def _moves(offset: NDArray[Any] | None) -> bool:
    """Tell whether a dynamic offset is there and not zero."""
    return offset is not None and offset.dtype.kind == "f" and bool(np.any(offset))


def _check_same(
    path: Path,
    name: str,
    first: tuple[Floats, Floats | None],
    other: tuple[Floats, Floats | None],
    where: Path,
    findings: Findings,
) -> None:
    """Warn of a moment whose shape or static offset is not that of the first one.

    Args:
        path: the moment's file.
        name: the moment, for messages.
        first: shape (300,) and static offset (V, 3) of the first moment.
        other: those of this moment.
        where: file of the first moment, for messages.
        findings: receives the warning and a note.
    """
    for key, a, b in zip(("shape", "static_offset"), first, other, strict=True):
        same = (a is None) == (b is None) and (
            a is None or b is None or (a.shape == b.shape and np.allclose(a, b, atol=_SAME))
        )
        if not same:
            findings.note(f"{key} differs between moments: that of the first one is used")
            findings.warning(
                path,
                f"`{key}`: expected that of {where.parent.parent.name}/{where.parent.name}/{where.name}, found "
                "another: a subject has one identity; the first is used",
                name,
                "sequences that were tracked one by one? track them with one shape",
            )
