"""Sliders and presets of a page."""

from __future__ import annotations

from collections.abc import Sequence, Set
from typing import Any

__all__ = ["controls_of", "moving", "presets_of"]

_SHOWN = 20
"""Number of expression coefficients without names that get a slider."""
_PARTS = ("mouth", "jaw", "brow", "eye", "cheek", "nose", "tongue")
"""Beginnings of the names of expression coefficients, in the order of their groups."""


def controls_of(names: Sequence[str], expressions: int, eyelids: bool) -> list[dict[str, Any]]:
    """Groups of sliders: joints first, then expression coefficients.

    Args:
        names: of the expression coefficients; empty where they have none.
        expressions: number of coefficients.
        eyelids: whether the head has eyelids of its own.
    """
    joints = [
        _slider("jaw open", ["jaw"], 0, -0.05, 0.5),
        _slider("jaw sideways", ["jaw"], 1, -0.2, 0.2),
        _slider("eyes left, right", ["eye_left", "eye_right"], 1, -0.5, 0.5),
        _slider("eyes up, down", ["eye_left", "eye_right"], 0, -0.4, 0.4),
        _slider("neck turn", ["neck"], 1, -0.6, 0.6),
        _slider("neck nod", ["neck"], 0, -0.4, 0.4),
    ]
    if eyelids and not names:
        joints += [_slider(f"{side} eyelid", ["eyelids"], row, 0, 1) for row, side in enumerate(("left", "right"))]
    groups = [{"title": "Jaw, eyes, neck", "open": True, "controls": joints}]
    if not names:
        sliders = [
            _slider(f"expression {row + 1}", ["expression"], row, -3, 3) for row in range(min(expressions, _SHOWN))
        ]
        return [*groups, {"title": "Expression", "open": True, "controls": sliders}] if sliders else groups
    left = dict(enumerate(names[:expressions]))
    for part in (*_PARTS, ""):
        rows = [row for row, name in left.items() if name.startswith(part)]
        sliders = [_slider(left.pop(row), ["expression"], row, 0, 1) for row in rows]
        if sliders:
            title = part.capitalize() if part else "Expression"
            groups.append({"title": title, "open": part == "mouth", "controls": sliders})
    return groups


def moving(groups: Sequence[dict[str, Any]], parameters: Set[tuple[str, int]]) -> list[dict[str, Any]]:
    """Groups without the sliders of parameters that move nothing, given those (field, index) that do."""
    left = []
    for group in groups:
        controls = [
            each for each in group["controls"] if any((name, each["index"]) in parameters for name in each["fields"])
        ]
        left += [{**group, "controls": controls}] if controls else []
    return left


def presets_of(
    names: Sequence[str], expressions: int, parameters: Set[tuple[str, int]] | None = None
) -> list[dict[str, Any]]:
    """Poses with one button each.

    Args:
        names: of the expression coefficients; empty where they have none.
        expressions: number of coefficients.
        parameters: those (field, index) that move something; None: all.
    """
    rows = {name: row for row, name in enumerate(names[:expressions])}
    smile = [(rows[name], 0.8) for name in ("mouthSmileLeft", "mouthSmileRight") if name in rows]
    blink = [(rows[name], 1.0) for name in ("eyeBlinkLeft", "eyeBlinkRight") if name in rows]
    presets: list[dict[str, Any]] = [
        {"name": "Neutral", "expression": []},
        {"name": "Open mouth", "expression": [], "jaw": [0.3, 0, 0]},
    ]
    presets += [{"name": "Smile", "expression": smile}] if smile else []
    presets += [{"name": "Blink", "expression": blink}] if blink else []
    if parameters is None:
        return presets
    return [each for each in presets if each["name"] == "Neutral" or _moved(each) & parameters]


def _moved(preset: dict[str, Any]) -> set[tuple[str, int]]:
    """Parameters (field, index) that a preset sets."""
    return {("expression", row) for row, _ in preset["expression"]} | ({("jaw", 0)} if "jaw" in preset else set())


def _slider(label: str, fields: list[str], index: int, low: float, high: float) -> dict[str, Any]:
    return {"label": label, "fields": fields, "index": index, "low": low, "high": high}
