"""Checks of registered stages: the spec at registration, and the classes when they are loaded."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from headbench.harness.errors import BenchError, PluginError, did_you_mean
from headbench.harness.names import name_fault, quoted
from headbench.harness.plugins.checks import HELP, checked_class
from headbench.harness.plugins.loading import guarded, load_target
from headbench.harness.plugins.specs import StageSpec
from headbench.harness.problems import Problem
from headbench.harness.way import Step

if TYPE_CHECKING:
    from headbench.harness.avatar import Portrait
    from headbench.harness.stage import Stage

__all__ = ["portrait_of_stage", "stage_class", "stage_faults"]

_TASKS = ("track",)
"""Names that a stage without parents may not have, since tasks keep their files in folders of these names."""


def stage_faults(spec: StageSpec) -> list[str]:
    """Faults of a stage's spec besides the forms of its name and target."""
    faults: list[str] = []
    if not isinstance(spec.parents, tuple) or not all(isinstance(each, str) for each in spec.parents):
        return [f"parents must be a tuple of names of stages, got {spec.parents!r}"]
    if not isinstance(spec.needs, frozenset):
        faults.append(f"needs must be a frozenset of names, got {spec.needs!r}")
    if not isinstance(spec.presets, Mapping) or not all(isinstance(v, Mapping) for v in spec.presets.values()):
        return [*faults, f"presets must map names to mappings of options, got {spec.presets!r}"]
    if not isinstance(spec.labels, str) or bool(spec.labels) != bool(spec.kept):
        faults.append(f"labels and kept must both be names, or both be empty, got {spec.labels!r} and {spec.kept!r}")
    if spec.kept and (fault := name_fault(spec.kept)):
        faults.append(f"kept {quoted(spec.kept)}: {fault}")
    if spec.default_preset and spec.default_preset not in spec.presets:
        faults.append(did_you_mean("default preset", str(spec.default_preset), map(str, spec.presets)))
    for text in (spec.name, *(f"{spec.name}:{preset}" for preset in spec.presets)):
        try:
            Step.parse(str(text))
        except BenchError as error:
            faults.append(str(error.args[0]).rstrip("."))
    if not spec.parents and spec.name in _TASKS:
        faults.append(f"name {quoted(spec.name)} is taken by a task")
    return faults


def stage_class(spec: StageSpec, plugin: str) -> type[Stage]:
    """Load the class of a stage, and check its interface, its options and all presets.

    Args:
        spec: the registered spec.
        plugin: name of the plugin that registered it, for messages.

    Raises:
        PluginError: the class cannot be imported, is no Stage or leaves a part of the interface out, or a preset does
            not fit.
    """
    from headbench.harness.validation import validate

    loaded: Any = checked_class("stage", spec, plugin, "headbench.harness.stage:Stage")
    section: Any = load_target("headbench.harness.avatar:Section")
    config_type: Any = getattr(loaded, "config_type", None)
    if not isinstance(config_type, type) or not issubclass(config_type, section):
        where = f"{plugin}: stage {spec.name}: {spec.target}.config_type"
        raise PluginError(f"{where} must be a class derived from headbench.harness.avatar.Section", help=HELP)
    if spec.labels and spec.labels not in _files(config_type):
        where = f"{plugin}: stage {spec.name}: labels {quoted(spec.labels)}"
        raise PluginError(f"{where} must be an option of {spec.target} made by input_file()", help=HELP)
    for name, values in spec.presets.items():
        where = f"{plugin}: stage {spec.name}: preset {name}"
        found = guarded(plugin, where, lambda v=values, w=where: validate(config_type, v, w))  # type: ignore[misc]
        if isinstance(found, Problem):
            raise PluginError(found.text(), help=HELP)
    if spec.portrait:
        portrait_of_stage(spec, plugin)
    found_class: type[Stage] = loaded
    return found_class


def _files(config_type: Any) -> list[str]:
    """Options of a stage that name files of the user's and may be left out."""
    from headbench.harness.stage import file_options

    return [name for name in file_options(config_type) if not config_type.model_fields[name].is_required()]


def portrait_of_stage(spec: StageSpec, plugin: str) -> type[Portrait]:
    """Load the class that loads the portraits of a stage, where that is not the parent's class.

    Args:
        spec: the registered spec.
        plugin: name of the plugin that registered it, for messages.

    Raises:
        PluginError: the class cannot be imported, or is no Portrait.
    """
    base: Any = load_target("headbench.harness.avatar:Portrait")
    loaded: Any = guarded(plugin, f"stage {spec.name}: loading {spec.portrait}", lambda: load_target(spec.portrait))
    if isinstance(loaded, Problem):
        raise PluginError(loaded.text(), help=HELP)
    if not isinstance(loaded, type) or not issubclass(loaded, base):
        expected = "a class derived from headbench.harness.avatar.Portrait"
        raise PluginError(f"{plugin}: stage {spec.name}: {spec.portrait} must be {expected}, got {loaded!r}", help=HELP)
    found: type[Portrait] = loaded
    return found
