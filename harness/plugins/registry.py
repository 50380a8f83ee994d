"""The methods and datasets that are there, whoever brought them."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, TypeVar

import pluggy

from headbench.harness.errors import PluginError, did_you_mean
from headbench.harness.plugins import hookspecs
from headbench.harness.plugins.checks import dataset_reader, portrait_class, spec_faults
from headbench.harness.plugins.datasets import DatasetReader
from headbench.harness.plugins.loading import Source, find_sources, guarded
from headbench.harness.plugins.specs import DatasetSpec, MethodSpec
from headbench.harness.problems import Problem, Where

if TYPE_CHECKING:
    from headbench.harness.avatar import Portrait

__all__ = ["PluginInfo", "Registry", "registry"]

_Spec = TypeVar("_Spec", MethodSpec, DatasetSpec)


@dataclass
class PluginInfo:
    """One plugin, for `bench plugins`."""

    name: str
    origin: str
    methods: list[str] = field(default_factory=list)
    datasets: list[str] = field(default_factory=list)


class Registry:
    """What plugins registered. Listing needs no torch: classes are loaded and checked on use.

    Args:
        sources: plugins in the order of registration; None finds the built-in ones and the entry points.

    Of two specs with the same name (without regard to case) the first stays and the second is a problem of its
    plugin, so that no plugin can take a name away from another.
    """

    def __init__(self, sources: Sequence[Source] | None = None) -> None:
        self._problems: list[Problem] = []
        if sources is None:
            sources, self._problems = find_sources()
        self._manager = pluggy.PluginManager("headbench")
        self._manager.add_hookspecs(hookspecs)
        self._plugins: dict[str, PluginInfo] = {}
        self._methods: dict[str, tuple[MethodSpec, str]] = {}
        self._datasets: dict[str, tuple[DatasetSpec, str]] = {}
        for source in sources:
            self._add(source)
        self._find_misspelt()
        for name in self._plugins:
            self._call(name, "register_methods", MethodSpec, self._methods, self._plugins[name].methods)
            self._call(name, "register_datasets", DatasetSpec, self._datasets, self._plugins[name].datasets)

    def plugins(self) -> list[PluginInfo]:
        """The plugins that could be loaded, in the order of registration."""
        return list(self._plugins.values())

    def problems(self) -> list[Problem]:
        """What went wrong while plugins were loaded and registered; no class of theirs has been touched."""
        return list(self._problems)

    def methods(self) -> dict[str, MethodSpec]:
        """Name as in tables -> spec, in the order of registration."""
        return {spec.name: spec for spec, _ in self._methods.values()}

    def datasets(self) -> dict[str, DatasetSpec]:
        """Name -> spec, in the order of registration."""
        return {spec.name: spec for spec, _ in self._datasets.values()}

    def method(self, name: str) -> MethodSpec:
        """The method called `name`, without regard to case.

        Raises:
            PluginError: there is none; the message has close matches.
        """
        return self._find("method", name, self._methods)[0]

    def dataset(self, name: str) -> DatasetSpec:
        """The dataset called `name`, without regard to case.

        Raises:
            PluginError: there is none; the message has close matches.
        """
        return self._find("dataset", name, self._datasets)[0]

    def owner(self, spec: MethodSpec | DatasetSpec) -> str:
        """The plugin that registered `spec`."""
        table = self._methods if isinstance(spec, MethodSpec) else self._datasets
        return table[spec.name.lower()][1]

    def load_method(self, name: str) -> type[Portrait]:
        """The class of a method, checked: interface, configuration type, presets.

        Raises:
            PluginError: unknown, or broken in a way that the message names together with its plugin.
        """
        return portrait_class(*self._find("method", name, self._methods))

    def load_dataset(self, name: str) -> DatasetReader:
        """A reader of a dataset, checked.

        Raises:
            PluginError: unknown, or broken in a way that the message names together with its plugin.
        """
        return dataset_reader(*self._find("dataset", name, self._datasets))

    def check(self) -> list[Problem]:
        """All problems, those included that only loading every class and preset can show."""
        problems = self.problems()
        loads: list[tuple[str, Callable[[], object]]] = [
            (plugin, functools.partial(self.load_method, spec.name)) for spec, plugin in self._methods.values()
        ]
        loads += [(plugin, functools.partial(self.load_dataset, spec.name)) for spec, plugin in self._datasets.values()]
        for plugin, load in loads:
            try:
                load()
            except PluginError as error:
                problems.append(_problem(plugin, str(error.args[0]).removeprefix(f"{plugin}: ")))
        return problems

    def _add(self, source: Source) -> None:
        plugin = guarded(source.name, "loading it", source.load)
        if not isinstance(plugin, Problem):
            loaded, name = plugin, source.name
            if name in self._plugins:
                name = f"{source.name} ({source.origin})"
            registered = guarded(name, "registering its hooks", lambda: self._manager.register(loaded, name))
            if not isinstance(registered, Problem):
                self._plugins[name] = PluginInfo(name, source.origin)
                return
            if self._manager.has_plugin(name):
                self._manager.unregister(name=name)
            plugin = registered
        where = "" if source.origin == "built in" else f"installed with {source.origin}"
        self._problems.append(replace(plugin, help=where))

    def _find_misspelt(self) -> None:
        known = [name for name in vars(hookspecs) if name.startswith("register_")]
        for name, caller in sorted(vars(self._manager.hook).items()):
            if name.startswith("_") or caller.has_spec():
                continue
            for hook in caller.get_hookimpls():
                if not hook.optionalhook:
                    self._problems.append(_problem(hook.plugin_name, did_you_mean("hook", name, known)))

    def _call(
        self, plugin: str, hook: str, kind: type[_Spec], table: dict[str, tuple[_Spec, str]], names: list[str]
    ) -> None:
        def register(spec: _Spec) -> None:
            faults = spec_faults(spec, kind)
            if not faults and spec.name.lower() in table:
                other = table[spec.name.lower()]
                faults = [f"name {spec.name!r} is taken by {other[0].name} of plugin {other[1]}; the first one stays"]
            what = f"{kind.__name__} {getattr(spec, 'name', '')!r}: " if isinstance(spec, kind) else ""
            self._problems.extend(_problem(plugin, what + fault) for fault in faults)
            if not faults:
                table[spec.name.lower()] = (spec, plugin)
                names.append(spec.name)

        mine = self._manager.get_plugin(plugin)
        others = [p for p in self._manager.get_plugins() if p is not mine]
        caller = self._manager.subset_hook_caller(hook, others)
        outcome = guarded(plugin, f"{hook}()", lambda: caller(register=register))
        if isinstance(outcome, Problem):
            self._problems.append(outcome)

    def _find(self, kind: str, name: str, table: dict[str, tuple[_Spec, str]]) -> tuple[_Spec, str]:
        if name.lower() in table:
            return table[name.lower()]
        trouble = f"\n  {len(self._problems)} plugin problem(s): bench plugins" if self._problems else ""
        raise PluginError(
            did_you_mean(kind, name, [spec.name for spec, _ in table.values()]) + trouble, help=f"bench list {kind}s"
        )


def _problem(plugin: str, message: str) -> Problem:
    return Problem("error", Where(plugin), message)


@functools.cache
def registry() -> Registry:
    """The one registry of this process."""
    return Registry()
