"""Combine the methods of a request with its presets: one configured entry per future row of the table."""

from __future__ import annotations

import functools
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from headbench.harness.errors import BenchError, PluginError, did_you_mean
from headbench.harness.plugins import DatasetSpec, MethodSpec, Registry
from headbench.harness.plugins.checks import preset_data, preset_values
from headbench.harness.run.cell import StageJob
from headbench.harness.run.config import Setting, apply_settings, config_hash
from headbench.harness.run.request import RunRequest
from headbench.harness.run.ways import stage_jobs
from headbench.harness.way import Way

if TYPE_CHECKING:
    from headbench.harness.avatar import MethodConfig, Portrait

__all__ = ["Entry", "check_owners", "chosen_methods", "entries_of", "owned"]


@dataclass(frozen=True)
class Entry:
    """Method with one preset and its configuration, or the reason why it could not be configured."""

    spec: MethodSpec
    preset: str
    note: str
    settings: tuple[Setting, ...]
    config: MethodConfig | None
    fault: str
    stages: tuple[StageJob, ...] = ()
    """Stage instances to make; empty where the method is not configured."""
    data: Mapping[str, Mapping[str, object]] = field(default_factory=dict)
    """Dataset -> options of its reader that the preset goes with."""

    @functools.cached_property
    def resolved(self) -> tuple[dict[str, Any], str]:
        """The configuration as plain values and its hash, which thousands of cells of a plan share; empty without."""
        values = self.config.model_dump(mode="json") if self.config is not None else {}
        return values, config_hash(values)

    def differs(self, dataset: str, settings: Sequence[Setting]) -> str:
        """Say what of a preset's reading of the data a run leaves out; empty where nothing, or the preset names none.

        Args:
            dataset: name of the dataset.
            settings: settings of the dataset.
        """
        wanted = next((found for name, found in self.data.items() if name.lower() == dataset.lower()), {})
        given = {setting.path: str(setting.value) for setting in settings}
        lacking = [f"{dataset}.{name}={value}" for name, value in wanted.items() if given.get(name) != str(value)]
        if not lacking:
            return ""
        return (
            f"{self.spec.name} ({self.preset}) on {dataset} does not reproduce the original, which reads the data in "
            f"its own way: {' '.join(f'--set {each}' for each in lacking)}"
        )


def chosen_methods(request: RunRequest, registry: Registry) -> list[MethodSpec]:
    """Registered methods that a request names, each once.

    Raises:
        BenchError: a name is unknown, or no method is registered.
    """
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
    """Refuse settings whose owner takes no part in the run.

    Args:
        settings: all settings of the request.
        methods: methods of the run.
        datasets: datasets of the run.
        stages: names of the run's stages.
        registry: knows the owners that the run could have had.

    Raises:
        BenchError: an owner is unknown (with a suggestion), or is registered and not part of this run.
    """
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
    """Settings of one owner (a method, dataset or stage, in upper or lower case), in their order.

    Args:
        settings: all settings of a request.
        owner: name of the method, dataset or stage.
    """
    return tuple(setting for setting in settings if setting.owner.lower() == owner.lower())


def entries_of(
    spec: MethodSpec,
    request: RunRequest,
    registry: Registry,
    settings: Sequence[Setting],
    ways: Sequence[Way],
) -> list[Entry]:
    """Entries of one method, one for each preset of the request; an unknown preset falls back to the default one.

    Args:
        spec: the method.
        request: names the presets.
        registry: loads the method's class and the stages.
        settings: all settings of the request; those of the method and of its stages count.
        ways: stage instances that were asked for.

    Raises:
        PluginError: a method that the request names cannot be loaded; one that only ``all`` means gets a fault.
        BenchError: an option is unknown, or a value does not fit.
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
        data: Mapping[str, Mapping[str, object]] = {}
        if portrait_type is not None:
            owner = registry.owner(spec)
            values, data = preset_values(spec, preset, owner), preset_data(spec, preset, owner)
            config = apply_settings(portrait_type, values, own)
        stages = stage_jobs(ways, portrait_type, registry, settings) if portrait_type is not None else ()
        entry = Entry(spec, preset, note, own, config, fault, stages, data)
        if preset not in entries or not note:
            entries[preset] = entry
    return list(entries.values())
