"""Synthetic subjects' own head in IMAvatar's layout: which face units the 50 numbers are, and landmark vertices."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from headbench.datasets.common.documents import read_object
from headbench.datasets.common.findings import Findings
from headbench.datasets.imavatar.tracking import EXPRESSIONS
from headbench.harness.errors import did_you_mean
from headbench.harness.head import load_head

__all__ = ["SyntheticHead", "read_synthetic_head"]

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class SyntheticHead:
    """Order of expressions and places of landmarks of a synthetic subject; the default stands for real data."""

    columns: tuple[int, ...] = ()
    """Column of the head's expression for each number in the file; empty: the same column."""
    width: int = EXPRESSIONS
    """Number of expression coefficients of the head."""
    landmarks: tuple[int, ...] = ()
    """Vertex of each landmark; empty where the file does not name them."""

    def expression(self, values: Floats) -> Floats:
        """Put the expressions of a file (T, 50) into the head's own order (T, E)."""
        if not self.columns:
            return values
        placed = np.zeros((len(values), self.width))
        placed[:, list(self.columns)] = values[:, : len(self.columns)]
        return placed


def read_synthetic_head(path: Path, head: str | None, findings: Findings) -> SyntheticHead:
    """Read the optional keys ``expression`` (names of units) and ``landmarks`` (vertices) of ``head_model.json``.

    Args:
        path: the file; it need not be there.
        head: the subject's head tag, None where it is not known; only openhead's keys are read.
        findings: receives what is wrong.
    """
    if head != "openhead" or not path.is_file():
        return SyntheticHead()
    content = read_object(path, "the head's name", findings) or {}
    names = load_head(head).expression_names
    units = content.get("expression", list(names[:EXPRESSIONS]))
    if not isinstance(units, list) or len(units) > EXPRESSIONS or not all(isinstance(unit, str) for unit in units):
        findings.error(path, f"`expression`: expected up to {EXPRESSIONS} names of face units, found something else")
        return SyntheticHead()
    for unit in units:
        if unit not in names:
            findings.error(path, did_you_mean("face unit", unit, names))
            return SyntheticHead()
    if len(set(units)) < len(units):
        findings.error(path, "`expression`: expected each face unit once, found one again")
        return SyntheticHead()
    columns = tuple(names.index(unit) for unit in units)
    return SyntheticHead(columns, len(names), _landmarks(path, content.get("landmarks", []), findings))


def _landmarks(path: Path, value: Any, findings: Findings) -> tuple[int, ...]:
    """Check the vertices of a synthetic head's landmarks; empty where they are wrong, which has been reported."""
    if not isinstance(value, list) or not all(isinstance(k, int) and not isinstance(k, bool) for k in value):
        findings.error(path, "`landmarks`: expected numbers of vertices, found something else")
        return ()
    count = len(load_head("openhead", "mouth_closed").template)
    if value and not (min(value) >= 0 and max(value) < count):
        findings.error(path, f"`landmarks`: expected vertices 0 to {count - 1}, found {min(value)} to {max(value)}")
        return ()
    return tuple(value)
