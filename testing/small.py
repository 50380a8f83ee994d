"""Small configurations of methods, which train within a second."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from headbench.harness.avatar import MethodConfig, Portrait
from headbench.harness.plugins.checks import preset_values
from headbench.harness.plugins.specs import MethodSpec
from headbench.harness.validation import validate

__all__ = ["STEPS", "TINY", "small_config"]

TINY = "tiny"
"""Name of the preset that checks take where a method has it."""
STEPS = 9
"""Number of steps, at most, for a method without a tiny preset."""
_ROUNDS = [{"epoch": 1, "images": 2}, {"epoch": 2, "images": 1}]
"""Batch schedule that replaces a preset's own stages."""


def small_config(spec: MethodSpec, kind: type[Portrait], preset: str = "") -> MethodConfig:
    """Make a configuration of a method that trains within a second or so.

    Where the method has a preset `tiny`, it is taken; another preset then keeps its choices (texts, switches and
    absent values) and takes the numbers of `tiny`. Where there is no `tiny`, the preset is taken with few steps, one
    image per step and images of the stored size.

    Args:
        spec: the method.
        kind: its class.
        preset: name of one of its presets; empty takes `tiny` or the default preset.

    Raises:
        BenchError: the preset does not fit the method's configuration.
    """

    def values(name: str) -> dict[str, Any]:
        where = f"method {spec.name}: preset {name}"
        made: MethodConfig = validate(kind.config_type, preset_values(spec, name), where)
        return made.model_dump(mode="json")

    if TINY in spec.presets and preset in ("", TINY):
        found = values(TINY)
    elif TINY in spec.presets:
        found = _with_numbers(values(preset), values(TINY))
    else:
        found = _shortened(values(preset or spec.default_preset))
    config: MethodConfig = validate(kind.config_type, found, f"method {spec.name}: preset {preset or TINY} in small")
    return config


def _shortened(values: dict[str, Any]) -> dict[str, Any]:
    train = values["train"]
    steps = STEPS if train["steps"] is None else min(train["steps"], STEPS)
    return {**values, "train": {**train, "epochs": None, "steps": steps, "batch": 1, "resolution": None}}


def _with_numbers(chosen: dict[str, Any], tiny: dict[str, Any]) -> dict[str, Any]:
    train, given = tiny["train"], chosen["train"]
    kept = {name: given[name] for name in ("background", "update_last", "schedules")}
    # Refining begins with the second epoch, so that a run has steps without it and with it.
    train = {**train, **kept, "finetune": {**given["finetune"], "start_epoch": 2}}
    if not isinstance(given["batch"], int):
        train |= {"batch": _ROUNDS, "batch_rates": given["batch_rates"]}
    return {**{name: _merged(value, tiny[name]) for name, value in chosen.items()}, "train": train}


def _merged(chosen: Any, tiny: Any) -> Any:
    """Merge two values key by key: `tiny` where both are numbers or both are lists, `chosen` otherwise."""
    if isinstance(chosen, Mapping) and isinstance(tiny, Mapping):
        return {name: _merged(value, tiny[name]) if name in tiny else value for name, value in chosen.items()}
    numbers = all(isinstance(value, int | float) and not isinstance(value, bool) for value in (chosen, tiny))
    lists = isinstance(chosen, list) and isinstance(tiny, list) and bool(chosen) and bool(tiny)
    return tiny if numbers or lists else chosen
