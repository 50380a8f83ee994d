"""The methods of a request, each with a preset: rows of the table to be."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from headbench.harness.errors import BenchError, PluginError, did_you_mean
from headbench.harness.plugins import DatasetSpec, MethodSpec, Registry
from headbench.harness.plugins.checks import preset_values
from headbench.harness.run.cell import StageJob
from headbench.harness.run.config import Setting, apply_settings
from headbench.harness.run.request import RunRequest
from headbench.harness.run.ways import stage_jobs
from headbench.harness.way import Way

if TYPE_CHECKING:
    from headbench.harness.avatar import MethodConfig, Portrait

__all__ = ["Entry", "check_owners", "chosen_methods", "entries_of", "owned"]


@dataclass(frozen=True)
class Entry:
    """A method with one preset, configured, or why it could not be."""

    spec: MethodSpec
    preset: str
    note: str
    settings: tuple[Setting, ...]
    config: MethodConfig | None
    fault: str
    stages: tuple[StageJob, ...] = ()
    """Instances to make; none where it is not configured."""


def chosen_methods(request: RunRequest, registry: Registry) -> list[MethodSpec]:
    chosen: dict[str, MethodSpec] = {}
    for name in request.methods:
        found = registry.methods().values() if name.lower() == "all" else [registry.method(name)]
        chosen |= {spec.name: spec for spec in found}
    if not chosen:
        raise BenchError("No method is registered.", help="bench plugins")
    return list(chosen.values())


def check_owners(
    settings: Sequence[Setting],
    methods: Sequence[MethodSpec],
    datasets: Sequence[DatasetSpec],
    stages: Collection[str],
    registry: Registry,
) -> None:
    here = {spec.name.lower() for spec in methods} | {spec.name.lower() for spec in datasets} | {*stages}
    registered = [*registry.methods(), *registry.datasets(), *(name for name in registry.stages() if name != "train")]
    for setting in settings:
        if setting.owner.lower() in here:
            continue
        if setting.owner.lower() in {name.lower() for name in registered}:
            raise BenchError(f"--set {setting.text!r}: {setting.owner} is not part of this run.")
        raise BenchError(
            f"--set {setting.text!r}: {did_you_mean('method, dataset or stage', setting.owner, registered)}"
        )


def owned(settings: Sequence[Setting], owner: str) -> tuple[Setting, ...]:
    return tuple(setting for setting in settings if setting.owner.lower() == owner.lower())


def entries_of(
    spec: MethodSpec,
    request: RunRequest,
    registry: Registry,
    settings: Sequence[Setting],
    ways: Sequence[Way],
) -> list[Entry]:
    """A method with each preset of the request.

    Args:
        settings: all of the request.
        ways: stage instances that were asked for.
    """
    own = owned(settings, spec.name)
    try:
        portrait_type: type[Portrait] | None = registry.load_method(spec.name)
        fault = ""
    except PluginError as error:
        if spec.name.lower() in {name.lower() for name in request.methods}:
            raise
        portrait_type, fault = None, str(error.args[0])
    entries: dict[str, Entry] = {}
    for asked in request.preset:
        preset, note = asked, ""
        if asked not in spec.presets:
            preset = spec.default_preset
            note = f"{spec.name} has no preset {asked!r}; its default {preset!r} was used"
        config = None
        if portrait_type is not None:
            values = preset_values(spec, preset, registry.owner(spec))
            config = apply_settings(portrait_type, values, own)
        stages = stage_jobs(ways, portrait_type, registry, settings) if portrait_type is not None else ()
        entry = Entry(spec, preset, note, own, config, fault, stages)
        if preset not in entries or not note:
            entries[preset] = entry
    return list(entries.values())
