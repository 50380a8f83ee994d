"""Controls of a head: named values that a person moves, and the head parameters that they stand for."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from headbench.harness.avatar import Avatar
from headbench.harness.errors import BenchError, did_you_mean
from headbench.harness.head import load_head
from headbench.harness.names import quoted
from headbench.harness.types import HeadParams, Identity

if TYPE_CHECKING:
    from headbench.harness.train import LoadedPortrait

__all__ = ["EXPRESSIONS", "Control", "Posing", "rest_of"]

EXPRESSIONS = 20
"""Number of the first expression coefficients that have a control, besides those that a preset moves."""
FACE_UNITS = (0.0, 1.0)
"""Range of a named expression coefficient: 0 at rest, 1 at full strength."""
DEVIATIONS = (-3.0, 3.0)
"""Range of a nameless expression coefficient of FLAME, in standard deviations of the scans that it was made from."""
_DEGREE = math.pi / 180
_SMILE = {"mouthSmileLeft": 1.0, "mouthSmileRight": 1.0, "cheekSquintLeft": 0.5, "cheekSquintRight": 0.5}
_BLINK = {"eyeBlinkLeft": 1.0, "eyeBlinkRight": 1.0}
_SAME = 1e-6
"""Part of a control's range by which a value may differ from a base's and still be the same."""
_SEEN = 1e-5
"""Change of a Gaussian, in metres or as a part of its opacity or colour, that counts."""
_OPEN = 14.0
"""Angle of the jaw in degrees in the preset of the open mouth: that of a loud vowel."""


@dataclass(frozen=True)
class Control:
    """One value of a head that a person moves; it rests at 0."""

    name: str
    """Unique among a head's controls, and readable: ``jaw open``, ``mouthSmileLeft``, ``expression 1``."""
    group: str
    """jaw, neck, eyes, eyelids or expression."""
    low: float
    high: float
    step: float
    unit: str
    """``°``, or empty for coefficients."""
    help: str
    """One sentence that says what a positive value does."""
    places: tuple[tuple[str, int], ...]
    """Field and column of `HeadParams` that it moves; of several, its value is their mean."""

    def clamped(self, value: float) -> float:
        """The value that is nearest in the control's range."""
        return min(max(value, self.low), self.high)


def _angle(name: str, most: tuple[float, float], help: str, *places: tuple[str, int]) -> Control:
    return Control(name, name.split()[0], *most, 0.5, "°", help, places)


_ANGLES = (
    _angle("jaw open", (-5.0, 30.0), "Opens the mouth.", ("jaw", 0)),
    _angle("jaw left", (-10.0, 10.0), "Moves the chin to the subject's left.", ("jaw", 1)),
    _angle("neck down", (-30.0, 30.0), "Nods the head down.", ("neck", 0)),
    _angle("neck left", (-45.0, 45.0), "Turns the head to the subject's left.", ("neck", 1)),
    _angle("neck tilt", (-30.0, 30.0), "Tilts the head to the subject's right shoulder.", ("neck", 2)),
    _angle("eyes down", (-25.0, 25.0), "Turns both eyes down.", ("eye_left", 0), ("eye_right", 0)),
    _angle("eyes left", (-35.0, 35.0), "Turns both eyes to the subject's left.", ("eye_left", 1), ("eye_right", 1)),
)
"""Controls that every head has: components of the joints' axis-angle vectors, in degrees."""
_LIDS = tuple(
    Control(f"eyelid {side}", "eyelids", *FACE_UNITS, 0.01, "", f"Closes the subject's {side} eye.", (("eyelids", k),))
    for k, side in enumerate(("left", "right"))
)


class Posing:
    """Controls and presets of one subject's head, to head parameters and back.

    Controls: the joints jaw, neck and both eyes as angles; the eyelids where they move this head; the first
    `EXPRESSIONS` expression coefficients, by their names (the open head's are ARKit's, 0 to 1) or as ``expression 1``
    and so on (FLAME's, -3 to 3 standard deviations); and the coefficients that a preset moves.

    Presets: neutral, open mouth (the jaw's joint), blink (by eyeBlink units, or by the eyelids) and smile. A preset is
    offered only where its meaning is sure. FLAME's coefficients are principal components without names, of which none
    is a smile by itself and whose signs differ between releases, so FLAME has no smile; it has a blink where its
    tracker gave eyelids.

    Args:
        identity: of the subject; root, translation and global similarity of its first frame place the head.
        names: of the head model's expression coefficients; empty where they have none.
        eyelids: whether eyelids move this avatar.

    Example:
        >>> posing = Posing(identity, head.expression_names, eyelids=False)
        >>> params = posing.params_of({"jaw open": 10, "mouthSmileLeft": 2.0})
        >>> values = posing.values_of(params)
        >>> round(values["jaw open"], 3), values["mouthSmileLeft"]
        (10.0, 1.0)
    """

    def __init__(self, identity: Identity, names: tuple[str, ...], eyelids: bool) -> None:
        self.identity = identity.to("cpu")
        self._size = min(identity.mean_expression.shape[1], len(names) or identity.mean_expression.shape[1])
        self._eyelids = eyelids and identity.first.eyelids is not None
        known = set(names[: self._size])
        self.presets: Mapping[str, Mapping[str, float]] = MappingProxyType(self._presets(known))
        """Name -> values of the controls that are not 0 in it."""
        moved = {name for values in self.presets.values() for name in values}
        self.controls: tuple[Control, ...] = (*_ANGLES, *(_LIDS if self._eyelids else ()), *self._units(names, moved))
        """Controls in the order in which a page shows them."""
        self._by_name = {control.name: control for control in self.controls}

    @classmethod
    def of(cls, loaded: LoadedPortrait) -> Posing:
        """Controls of a trained portrait, which no other thread uses meanwhile.

        Eyelids count where its tracker gave them and closing them moves its Gaussians.

        Raises:
            MissingAsset: the head model's files are not registered.
        """
        head = load_head(loaded.identity.head, loaded.config.topology())
        return cls(loaded.identity, head.expression_names, _uses_eyelids(loaded))

    def rest(self) -> HeadParams:
        """Head parameters at rest (see `rest_of`)."""
        return rest_of(self.identity)

    def preset(self, name: str) -> dict[str, float]:
        """Values of all controls in a preset.

        Raises:
            BenchError: this head has no such preset.
        """
        if name not in self.presets:
            raise BenchError(did_you_mean("preset", name, self.presets))
        return {control.name: self.presets[name].get(control.name, 0.0) for control in self.controls}

    def values_of(self, params: HeadParams) -> dict[str, float]:
        """Values of all controls for head parameters, clamped to the controls' ranges.

        Args:
            params: B = 1, of this head model.
        """
        return {control.name: control.clamped(_value(control, params)) for control in self.controls}

    def params_of(self, values: Mapping[str, float], base: HeadParams | None = None) -> HeadParams:
        """Head parameters, B = 1, on the host, in which the controls have these values.

        What no control moves (root, translation, global similarity, further coefficients, the difference between the
        eyes) is the base's. A value that is what `values_of` shows of the base leaves the base exactly as it is, also
        where it lies beyond the control's range; so ``params_of(values_of(p), p)`` is ``p``.

        Args:
            values: name of a control -> value, clamped to its range; controls that are not named stay as in the base.
            base: B = 1, such as a tracked frame's; None: the head at rest.

        Raises:
            BenchError: there is no such control, or a value is not finite.
        """
        base = (self.rest() if base is None else base).to("cpu")
        changed: dict[str, Tensor] = {}
        for name, value in values.items():
            if name not in self._by_name:
                raise BenchError(did_you_mean("control", name, self._by_name))
            if not math.isfinite(value):
                raise BenchError(f"control {quoted(name)}: expected a finite number, found {value}.")
            control = self._by_name[name]
            before = _value(control, base)
            if abs(control.clamped(value) - control.clamped(before)) < _SAME * (control.high - control.low):
                continue
            for field, column in control.places:
                if field not in changed:
                    changed[field] = _field(base, field, column)
                changed[field][0, column] += (control.clamped(value) - before) * _unit(control)
        return replace(base, **changed)  # type: ignore[arg-type]  # tensor fields by name

    def _units(self, names: tuple[str, ...], moved: set[str]) -> list[Control]:
        """Controls of expression coefficients: the first ones, and those that presets move."""
        if not names:
            help = "Moves the face along a principal component of the head model's expressions."
            count = min(EXPRESSIONS, self._size)
            return [
                Control(f"expression {k + 1}", "expression", *DEVIATIONS, 0.05, "", help, (("expression", k),))
                for k in range(count)
            ]
        return [
            Control(name, "expression", *FACE_UNITS, 0.01, "", f"Face unit {name}.", (("expression", k),))
            for k, name in enumerate(names[: self._size])
            if k < EXPRESSIONS or name in moved
        ]

    def _presets(self, known: set[str]) -> dict[str, dict[str, float]]:
        """Presets of a head with these names of coefficients."""
        found: dict[str, dict[str, float]] = {"neutral": {}}
        if known.issuperset(_SMILE):
            found["smile"] = _SMILE
        found["open mouth"] = {"jaw open": _OPEN}
        if known.issuperset(_BLINK):
            found["blink"] = _BLINK
        elif self._eyelids:
            found["blink"] = {lid.name: 1.0 for lid in _LIDS}
        return found


def rest_of(identity: Identity) -> HeadParams:
    """Head parameters at rest, B = 1, on the host: all controls at 0, placed as in the first training frame."""
    first = identity.first.to("cpu")
    zero = torch.zeros_like(first.root)
    return replace(
        first,
        expression=torch.zeros_like(identity.mean_expression, device="cpu"),
        neck=zero,
        jaw=zero,
        eye_left=zero,
        eye_right=zero,
        eyelids=None if first.eyelids is None else torch.zeros_like(first.eyelids),
    )


@torch.no_grad()
def _uses_eyelids(loaded: LoadedPortrait) -> bool:
    """Whether closed eyelids change an avatar: methods may ignore them, whatever their options are called."""
    first, portrait = loaded.identity.first, loaded.portrait
    if first.eyelids is None or not isinstance(portrait, Avatar):
        return False
    lids = (torch.zeros_like(first.eyelids), torch.ones_like(first.eyelids))
    opened, closed = (portrait.gaussians(replace(first, eyelids=each)) for each in lids)
    pairs = ((getattr(opened, name), getattr(closed, name)) for name in ("means", "scales", "opacities", "colours"))
    return any(float((one - other).abs().max()) > _SEEN for one, other in pairs)


def _unit(control: Control) -> float:
    """Size of one unit of a control in the unit of `HeadParams`."""
    return _DEGREE if control.unit == "°" else 1.0


def _field(params: HeadParams, name: str, column: int) -> Tensor:
    """Copy of a field (1, n) of parameters, filled up with zeros to hold a column; zeros where it is not given."""
    given: Tensor | None = getattr(params, name)
    value = params.root.new_zeros(1, 2) if given is None else given.clone()
    missing = max(0, column + 1 - value.shape[1])
    return torch.cat([value, value.new_zeros(1, missing)], 1) if missing else value


def _value(control: Control, params: HeadParams) -> float:
    """Value of a control, not clamped; what is not given is at rest."""
    values = [float(_field(params, field, column)[0, column]) for field, column in control.places]
    return sum(values) / len(values) / _unit(control)
