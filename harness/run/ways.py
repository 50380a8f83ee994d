"""Check the stage instances of a request against the registered stages, and configure them."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from headbench.harness.assets import NETWORKS, asset
from headbench.harness.errors import BenchError, MissingAsset, PluginError, did_you_mean
from headbench.harness.layout import CellFolder
from headbench.harness.reading import Unreadable, open_regular
from headbench.harness.run.cell import StageJob
from headbench.harness.run.config import Setting, apply_settings
from headbench.harness.validation import validate
from headbench.harness.way import TRAIN, Way, parse_ways, with_parents

if TYPE_CHECKING:
    from headbench.harness.avatar import Portrait
    from headbench.harness.plugins import Registry, StageSpec

__all__ = ["checked_ways", "stage_jobs", "stages_of", "with_kept"]

_LIST = "bench list stages"


def checked_ways(texts: Sequence[str], registry: Registry) -> tuple[Way, ...]:
    """Parse the stage instances that a request names, such as train/bake, and check them.

    Args:
        texts: names of stage instances, such as train/bake:decoder.
        registry: knows the stages.

    Raises:
        BenchError: a name is of no known form, comes twice, has an unknown stage or preset, or a wrong parent.
    """
    ways = parse_ways(texts)
    if not ways:
        raise BenchError("expected a stage such as train or train/bake, found none.", help="--stages train")
    for way in with_parents(ways):
        spec, above = registry.stage(way.stage), way.parent
        if above is None and spec.parents:
            raise BenchError(
                f"stage {spec.name} is made from {' or '.join(spec.parents)}, so {way} cannot come first.",
                help=f"--stages {spec.parents[0]}/{way}",
            )
        if above is not None and above.stage not in spec.parents:
            expected = " or ".join(spec.parents) or "nothing"
            raise BenchError(f"{way}: expected {expected} before {spec.name}, found {above.stage}.", help=_LIST)
        if way.label and way.label not in spec.presets and not spec.labels:
            raise BenchError(
                f"{way}: {did_you_mean(f'preset of stage {spec.name}', way.label, spec.presets)}", help=_LIST
            )
    return ways


def stages_of(ways: Sequence[Way]) -> set[str]:
    """Names of all stages that must be made for these instances, parents included."""
    return {way.stage for way in with_parents(ways)}


def stage_jobs(
    ways: Sequence[Way], portrait_type: type[Portrait], registry: Registry, settings: Sequence[Setting]
) -> tuple[StageJob, ...]:
    """Configure stage instances and their parents; one that the method cannot have carries the reason.

    Args:
        ways: stage instances that were asked for.
        portrait_type: class of the method.
        registry: knows the stages.
        settings: all settings of the request; those of stages count, such as ``--set tint.steps=2``.

    Returns:
        parents before children; a parent that leads to nothing that can be made is left out.

    Raises:
        BenchError: an option is unknown, or a value does not fit.
    """
    found: dict[Way, StageJob] = {}
    kinds: dict[Way, type[Portrait]] = {TRAIN: portrait_type}
    for way in with_parents(ways):
        above = portrait_type if way.parent is None else kinds.get(way.parent)
        if above is None:
            assert way.parent is not None
            found[way] = StageJob(str(way), way in ways, {}, found[way.parent].reason)
            continue
        asked = way in ways
        found[way] = StageJob("train", asked) if way == TRAIN else _job(way, asked, above, registry, settings)
        spec = registry.stage(way.stage)
        if not found[way].reason:
            kinds[way] = registry.load_portrait(f"stage:{spec.name}") if spec.portrait else above
    return tuple(job for way, job in found.items() if job.asked or _leads_on(way, found))


def with_kept(cell: CellFolder, jobs: Sequence[StageJob], registry: Registry) -> tuple[StageJob, ...]:
    """Stage instances of one cell, those that lack the file that they are made from with the one that the cell keeps.

    Where there is none, the instance carries that as the reason why it cannot be made.

    Args:
        cell: folder of the cell.
        jobs: instances as they were configured for all cells of the request.
        registry: knows the stages.
    """
    found: dict[Way, StageJob] = {}
    for job in jobs:
        way = Way.parse(job.way)
        spec, lost = registry.stage(way.stage), found.get(way.parent) if way.parent is not None else None
        if lost is not None and lost.reason and not job.reason:
            job = dataclasses.replace(job, reason=lost.reason)
        if spec.labels and not job.reason and spec.labels not in job.files:
            job = _from_kept(job, cell.stage(way).own / spec.kept, spec, registry)
        found[way] = job
    return tuple(found.values())


def _from_kept(job: StageJob, kept: Path, spec: StageSpec, registry: Registry) -> StageJob:
    """A stage instance that is made from the file that its cell keeps, or with the reason why it cannot be made.

    Args:
        job: the instance, without that file.
        kept: the file, which may be missing.
        spec: of the stage.
        registry: knows the stage.
    """
    if not kept.is_file():
        return dataclasses.replace(job, reason=f"{job.way} is made from a file: --set {spec.name}.{spec.labels}=FILE")
    values = {name: value for name, value in job.config.items() if name != spec.labels}
    files = {**job.files, spec.labels: str(kept.absolute())}
    stage_type = registry.load_stage(spec.name)
    try:
        networks = stage_type.networks(validate(stage_type.config_type, {**values, **files}, f"stage {job.way}"))
    except BenchError as error:
        return dataclasses.replace(job, reason=str(error.args[0]).rstrip("."))
    reason = "; ".join(_unregistered(networks))
    return dataclasses.replace(job, config=values, reason=reason, files=files, networks=tuple(sorted(networks)))


def _leads_on(way: Way, jobs: dict[Way, StageJob]) -> bool:
    """Whether an instance made from `way` was asked for and can be made."""
    return any(job.asked and not job.reason and other.is_below(way) for other, job in jobs.items())


def _job(way: Way, asked: bool, above: type[Portrait], registry: Registry, settings: Sequence[Setting]) -> StageJob:
    """Configure one stage instance, or find the reason why it cannot be made.

    Args:
        way: name of the instance.
        asked: whether it is rendered and scored.
        above: class of its parent's portrait.
        registry: knows the stage.
        settings: all settings of the request; those of the stage count.
    """
    from headbench.harness.stage import input_files, takes_folder

    spec = registry.stage(way.stage)
    try:
        stage_type = registry.load_stage(spec.name)
    except PluginError as error:
        return StageJob(str(way), asked, {}, str(error.args[0]).rstrip("."))
    own = [setting for setting in settings if setting.owner.lower() == spec.name]
    preset = dict(spec.presets.get(way.label or spec.default_preset, {}))
    given = {*preset, *(setting.path for setting in own)}
    for name, field in stage_type.config_type.model_fields.items():
        if field.is_required() and name not in given:
            raise BenchError(
                f"{way}: option {name} of stage {spec.name} is missing.", f"--set {spec.name}.{name}=VALUE"
            )
    config = apply_settings(stage_type, preset, own)
    named = input_files(config)
    files = {name: _there(path, spec.name, name, takes_folder(config, name)) for name, path in named.items()}
    values = {name: value for name, value in config.model_dump(mode="json").items() if name not in files}
    networks = tuple(sorted(stage_type.networks(config)))
    return StageJob(str(way), asked, values, _lacking(spec, above, networks), files, networks)


def _there(path: Path, stage: str, option: str, folder: bool) -> str:
    """Absolute path of a file, or of a folder where the option takes one, that a stage reads by its option `option`.

    Raises:
        Unreadable: the file cannot be read.
    """
    if folder and path.is_dir():
        return str(path.absolute())
    try:
        with open_regular(path.absolute()):
            return str(path.absolute())
    except Unreadable as error:
        error.help = f"--set {stage}.{option}=FILE"
        raise


def _lacking(spec: StageSpec, above: type[Portrait], networks: Collection[str]) -> str:
    """Why a stage cannot be made from a portrait of this class; empty where it can.

    Args:
        spec: of the stage.
        above: class of the parent's portrait.
        networks: registered networks that the instance's options need.
    """
    absent = sorted(name for name in spec.needs - {*NETWORKS} if not hasattr(above, name))
    reasons = [f"stage {spec.name} needs {_listed(absent)}, which {above.__name__} does not have"] if absent else []
    return "; ".join([*reasons, *_unregistered((spec.needs & {*NETWORKS}) | set(networks))])


def _unregistered(networks: Collection[str]) -> list[str]:
    """What is said of those networks whose files are not registered, with the command that helps."""
    reasons = []
    for network in sorted(networks):
        try:
            asset(NETWORKS[network])
        except MissingAsset as error:
            reasons.append(f"{str(error.args[0]).rstrip('.')}: {error.help}")
    return reasons


def _listed(names: Collection[str]) -> str:
    return " and ".join(names)
