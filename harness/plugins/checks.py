"""Checks of what plugins register: specs at registration, and the classes they name when they are loaded."""

from __future__ import annotations

import copy
import functools
import re
from collections.abc import Iterable, Mapping
from dataclasses import replace
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, cast

from headbench.harness.errors import BenchError, PluginError, did_you_mean
from headbench.harness.names import name_fault, quoted
from headbench.harness.plugins.datasets import DatasetReader
from headbench.harness.plugins.loading import guarded, load_target
from headbench.harness.plugins.specs import CHECKED, DatasetSpec, MethodSpec
from headbench.harness.problems import Problem
from headbench.harness.reading import parse_yaml, read_text
from headbench.harness.validation import validate

if TYPE_CHECKING:
    from headbench.harness.avatar import MethodConfig, Portrait
    from headbench.harness.importing import Importer

__all__ = [
    "HELP",
    "NAME",
    "check_preset",
    "checked_class",
    "dataset_reader",
    "importers_of",
    "method_faults",
    "preset_data",
    "portrait_class",
    "preset_values",
    "spec_faults",
]

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]*")
_TARGET = re.compile(r"[\w.]+:\w+")
HELP = "bench plugins --check"


class Spec(Protocol):
    """Fields that specs of every kind of thing (method, dataset, …) have."""

    @property
    def name(self) -> str: ...

    @property
    def target(self) -> str: ...


def spec_faults(spec: object, expected: type[Spec]) -> list[str]:
    """Faults of a registered object that specs of any kind can have, found without importing its target.

    Args:
        spec: object that a plugin registered.
        expected: class that its kind of spec must have.
    """
    if not isinstance(spec, expected):
        return [f"registered {type(spec).__name__} {spec!r}, expected a {expected.__name__}"]
    faults = []
    if not isinstance(spec.name, str) or not NAME.fullmatch(spec.name):
        faults.append(f"name {spec.name!r} must be letters, digits, - and _, starting with a letter or digit")
    if not isinstance(spec.target, str) or not _TARGET.fullmatch(spec.target):
        faults.append(f"target {spec.target!r} must read package.module:Class")
    return faults


def checked_class(kind: str, spec: Spec, plugin: str, interface: str) -> type[Any]:
    """Load the class that a spec's target names, and check that it implements its interface.

    Args:
        kind: name of the spec's kind for messages, such as method.
        spec: the registered spec.
        plugin: name of the plugin that registered it, for messages.
        interface: ``package.module:Class`` of the base class, which is imported only now.

    Raises:
        PluginError: the class cannot be imported, is not derived from the interface, or leaves a part of it out.
    """
    loaded = guarded(plugin, f"{kind} {spec.name}: loading {spec.target}", lambda: load_target(spec.target))
    if isinstance(loaded, Problem):
        raise PluginError(loaded.text(), help=HELP)
    where, base = f"{plugin}: {kind} {spec.name}: {spec.target}", load_target(interface)
    assert isinstance(base, type)
    if not isinstance(loaded, type) or not issubclass(loaded, base):
        expected = interface.replace(":", ".")
        raise PluginError(f"{where} must be a class derived from {expected}, got {loaded!r}", help=HELP)
    left = sorted(getattr(loaded, "__abstractmethods__", ()))
    if left:
        these = "it" if len(left) == 1 else "them"
        raise PluginError(f"{where} lacks {', '.join(left)}: every {kind} must define {these}", help=HELP)
    return loaded


def method_faults(spec: MethodSpec) -> list[str]:
    """Faults of a method's spec besides its name and target: in presets, needs and claims."""
    return _preset_faults(spec) + _checked_faults(spec) + _importer_faults(spec)


def _importer_faults(spec: MethodSpec) -> list[str]:
    if not isinstance(spec.importers, tuple):
        return [f"importers must be a tuple of package.module:Class, got {spec.importers!r}"]
    wrong = [each for each in spec.importers if not isinstance(each, str) or not _TARGET.fullmatch(each)]
    return [f"importer {each!r} must read package.module:Class" for each in wrong]


def _preset_faults(spec: MethodSpec) -> list[str]:
    if not isinstance(spec.presets, Mapping) or not spec.presets:
        return [f"presets {spec.presets!r} must map preset names to package:path"]
    faults = [
        f"preset {name!r} is {where!r}, expected package:path/to/preset.yaml"
        for name, where in spec.presets.items()
        if not isinstance(where, str) or not all(where.partition(":"))
    ]
    faults += [f"preset {quoted(name)}: {fault}" for name in spec.presets if (fault := name_fault(name))]
    if spec.default_preset not in spec.presets:
        faults.append(did_you_mean("default preset", str(spec.default_preset), map(str, spec.presets)))
    if not isinstance(spec.needs, frozenset):
        faults.append(f"needs must be a frozenset of names, got {spec.needs!r}")
    return faults


def _checked_faults(spec: MethodSpec) -> list[str]:
    if not isinstance(spec.checked, Mapping):
        return [f"checked must map dataset names to one of {', '.join(CHECKED)}, got {spec.checked!r}"]
    return [
        f"checked on {name!r}: " + did_you_mean("claim", str(claim), CHECKED)
        for name, claim in spec.checked.items()
        if claim not in CHECKED
    ]


def check_preset(preset: str, methods: Iterable[MethodSpec]) -> None:
    """Refuse a preset that no method has; a method that lacks it takes its default instead.

    Args:
        preset: name of the preset.
        methods: all methods that could have it.

    Raises:
        BenchError: no method has the preset, and it is not official, the one that is taken where none is named.
    """
    known = {name for spec in methods for name in spec.presets}
    if preset not in known | {"official"}:
        raise BenchError(did_you_mean("preset", preset, known), help="bench list methods")


DATA = "data"
"""Key of a preset that holds no option of the method: the options of datasets' readers that the preset goes with."""


def preset_values(spec: MethodSpec, preset: str, plugin: str = "") -> dict[str, object]:
    """Options of a method's preset as its YAML file holds them, not yet validated.

    Args:
        spec: the method.
        preset: name of one of its presets.
        plugin: name of the plugin that brings the method, for messages.

    Raises:
        PluginError: the preset's file is missing, is no YAML or holds no mapping; the message names plugin, method and
            file.
    """
    return {name: value for name, value in _preset_file(spec, preset, plugin).items() if name != DATA}


def preset_data(spec: MethodSpec, preset: str, plugin: str = "") -> dict[str, dict[str, object]]:
    """Options of datasets' readers that a method's preset goes with: dataset -> option -> value; mostly none.

    Args:
        spec: the method.
        preset: name of one of its presets.
        plugin: name of the plugin that brings the method, for messages.

    Raises:
        PluginError: as for `preset_values`, or `data` has another form.
    """
    found = _preset_file(spec, preset, plugin).get(DATA, {})
    good = isinstance(found, dict) and all(
        isinstance(name, str) and isinstance(each, dict) for name, each in found.items()
    )
    if not good:
        raise PluginError(
            f"{plugin or spec.name}: method {spec.name}: preset {preset}: data must map datasets to options of their "
            f"readers, such as {{insta: {{fov: fateavatar}}}}, got {quoted(found)}",
            help=HELP,
        )
    return cast("dict[str, dict[str, object]]", found)


def _preset_file(spec: MethodSpec, preset: str, plugin: str) -> dict[str, object]:
    """Content of a preset's YAML file."""
    where = spec.presets[preset]
    package, _, path = where.partition(":")

    def read() -> object:
        with resources.as_file(resources.files(package).joinpath(path)) as file:
            about = file.stat()
            return copy.deepcopy(_parsed(file, about.st_mtime_ns, about.st_size))

    values = guarded(plugin or spec.name, f"method {spec.name}: reading preset {preset} from {where}", read)
    if isinstance(values, Problem):
        raise PluginError(values.text(), help=HELP)
    if not isinstance(values, dict):
        raise PluginError(
            f"{plugin or spec.name}: method {spec.name}: preset {preset} in {where} must be a mapping, "
            f"got {type(values).__name__}",
            help=HELP,
        )
    return values


@functools.lru_cache(maxsize=256)
def _parsed(file: Path, changed: int, size: int) -> object:
    """Read a preset's file, which several checks look into; time of change and size tell when to read it again."""
    return cast(object, parse_yaml(read_text(file), file))


def portrait_class(spec: MethodSpec, plugin: str) -> type[Portrait]:
    """Load the class of a method, and check its interface, its configuration type and all presets.

    Args:
        spec: the registered spec.
        plugin: name of the plugin that registered it, for messages.

    Raises:
        PluginError: the class cannot be imported, is no Portrait or leaves a part of the interface out, or a preset
            does not fit.
    """
    from headbench.harness.avatar import MethodConfig

    loaded = checked_class("method", spec, plugin, "headbench.harness.avatar:Portrait")
    config_type = getattr(loaded, "config_type", None)
    if not isinstance(config_type, type) or not issubclass(config_type, MethodConfig):
        where = f"{plugin}: method {spec.name}: {spec.target}.config_type"
        raise PluginError(f"{where} must be a class derived from MethodConfig, got {config_type!r}", help=HELP)
    for preset in spec.presets:
        _check_values(spec, preset, plugin, config_type)
    importers_of(spec, plugin)
    return loaded


def importers_of(spec: MethodSpec, plugin: str) -> tuple[Importer, ...]:
    """Make the importers that a method's spec names, and check them against the interface.

    Args:
        spec: the registered spec.
        plugin: name of the plugin that registered it, for messages.

    Raises:
        PluginError: an importer cannot be imported or made, or leaves a part of the interface out.
    """
    found = []
    for target in spec.importers:
        named = replace(spec, target=target)
        loaded = checked_class("importer", named, plugin, "headbench.harness.importing:Importer")
        made = guarded(plugin, f"method {spec.name}: making {target} with no arguments", loaded)
        if isinstance(made, Problem):
            raise PluginError(made.text(), help=HELP)
        found.append(cast("Importer", made))
    return tuple(found)


def _check_values(spec: MethodSpec, preset: str, plugin: str, config_type: type[MethodConfig]) -> None:
    """Validate a method's preset; a configuration's own checks are a stranger's code and may raise anything.

    Args:
        spec: the method.
        preset: name of the preset.
        plugin: name of the plugin that brings the method, for messages.
        config_type: class of the method's configuration.

    Raises:
        PluginError: the preset does not fit; every fault is named with its path.
    """
    preset_data(spec, preset, plugin)
    values, where = preset_values(spec, preset, plugin), f"method {spec.name}: preset {preset}"

    def check() -> str:
        try:
            validate(config_type, values, f"{plugin}: {where}")
        except BenchError as error:
            return str(error.args[0])
        return ""

    found = guarded(plugin, where, check)
    if found:
        raise PluginError(found.text() if isinstance(found, Problem) else found, help=HELP)


def dataset_reader(spec: DatasetSpec, plugin: str) -> DatasetReader:
    """Make the reader of a dataset, and check it against the interface.

    Args:
        spec: the registered spec.
        plugin: name of the plugin that registered it, for messages.

    Raises:
        PluginError: the reader cannot be imported or made, or leaves a part of the interface out.
    """
    loaded = checked_class("dataset", spec, plugin, "headbench.harness.plugins:DatasetReader")
    made = guarded(plugin, f"dataset {spec.name}: making {spec.target} with no arguments", loaded)
    if isinstance(made, Problem):
        raise PluginError(made.text(), help=HELP)
    return cast(DatasetReader, made)
