"""What plugins brought: methods, datasets, metrics, whoever registered them."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, TypeVar

import pluggy

from headbench.harness.errors import PluginError, did_you_mean
from headbench.harness.names import quoted
from headbench.harness.plugins import hookspecs
from headbench.harness.plugins.checks import HELP, Spec, spec_faults
from headbench.harness.plugins.datasets import DatasetReader
from headbench.harness.plugins.kinds import DATASETS, EXECUTORS, KINDS, METHODS, METRICS, STAGES, Kind
from headbench.harness.plugins.loading import Source, find_sources, guarded
from headbench.harness.plugins.memory import harms
from headbench.harness.plugins.specs import DatasetSpec, ExecutorSpec, MethodSpec, MetricSpec, StageSpec
from headbench.harness.plugins.stage_checks import portrait_of_stage
from headbench.harness.plugins.stages import TRAIN, TRAIN_PLUGIN
from headbench.harness.plugins.trial import Candidate
from headbench.harness.problems import Problem, Where

if TYPE_CHECKING:
    from headbench.harness.avatar import Portrait
    from headbench.harness.execution import Executor
    from headbench.harness.stage import Stage
    from headbench.metrics import Metric

__all__ = ["PluginInfo", "Registry", "registry"]

_Spec = TypeVar("_Spec", bound=Spec)


@dataclass
class PluginInfo:
    """One plugin, for `bench plugins`."""

    name: str
    origin: str
    """Distribution and version, or built in."""
    brought: dict[str, list[str]] = field(default_factory=dict)
    """Kind in the plural (methods) -> names, in the order of registration."""


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
        self._candidates: dict[str, Candidate] = {}
        """Plugins of strangers, as they were found."""
        self._tried: set[tuple[str, str]] = set()
        """Kind and name of their classes that did no harm."""
        self._tables: dict[str, dict[str, tuple[Any, str]]] = {kind.name: {} for kind in KINDS}
        """Kind -> lower-case name -> spec and plugin."""
        for source in sources:
            self._add(source)
        self._find_misspelt()
        for name in self._plugins:
            for kind in KINDS:
                self._call(name, kind)

        # What every method is trained by is there whatever plugins are asked.
        self._tables[STAGES.name].setdefault(TRAIN.name, (TRAIN, TRAIN_PLUGIN))

    def plugins(self) -> list[PluginInfo]:
        """The plugins that could be loaded, in the order of registration."""
        return list(self._plugins.values())

    def problems(self) -> list[Problem]:
        """What went wrong while plugins were loaded and registered; no class of theirs has been touched."""
        return list(self._problems)

    def specs(self, kind: Kind[_Spec]) -> dict[str, _Spec]:
        """Name as in tables -> spec, in the order of registration."""
        return {spec.name: spec for spec, _ in self._tables[kind.name].values()}

    def find(self, kind: Kind[_Spec], name: str) -> _Spec:
        """The one called `name`, without regard to case.

        Raises:
            PluginError: there is none; the message has close matches.
        """
        return self._find(kind, name)[0]

    def load(self, kind: Kind[Any], name: str) -> Any:
        """What the target of the one called `name` names, checked against the interface of its kind.

        Raises:
            PluginError: unknown, or broken in a way that the message names together with its plugin.
        """
        spec, plugin = self._find(kind, name)
        self._try(kind, spec, plugin)
        return kind.load(spec, plugin)

    def owner(self, spec: Spec) -> str:
        """The plugin that registered `spec`."""
        kind = next(kind for kind in KINDS if isinstance(spec, kind.spec))
        owner: str = self._tables[kind.name][spec.name.lower()][1]
        return owner

    def origin(self, spec: Spec) -> str:
        """Distribution and version of the plugin that registered `spec`, or ``built in``."""
        plugin = self._plugins.get(self.owner(spec))
        return "built in" if plugin is None else plugin.origin

    def methods(self) -> dict[str, MethodSpec]:
        """Methods; as `specs`."""
        return self.specs(METHODS)

    def datasets(self) -> dict[str, DatasetSpec]:
        """Datasets; as `specs`."""
        return self.specs(DATASETS)

    def metrics(self) -> dict[str, MetricSpec]:
        """Metrics; as `specs`."""
        return self.specs(METRICS)

    def executors(self) -> dict[str, ExecutorSpec]:
        """Executors; as `specs`."""
        return self.specs(EXECUTORS)

    def stages(self) -> dict[str, StageSpec]:
        """Stages; as `specs`."""
        return self.specs(STAGES)

    def stage(self, name: str) -> StageSpec:
        """A stage; as `find`."""
        return self.find(STAGES, name)

    def method(self, name: str) -> MethodSpec:
        """A method; as `find`."""
        return self.find(METHODS, name)

    def dataset(self, name: str) -> DatasetSpec:
        """A dataset; as `find`."""
        return self.find(DATASETS, name)

    def metric(self, name: str) -> MetricSpec:
        """A metric; as `find`."""
        return self.find(METRICS, name)

    def executor(self, name: str) -> ExecutorSpec:
        """An executor; as `find`."""
        return self.find(EXECUTORS, name)

    def load_method(self, name: str) -> type[Portrait]:
        """The class of a method, checked: interface, configuration type, presets; as `load`."""
        found: type[Portrait] = self.load(METHODS, name)
        return found

    def load_dataset(self, name: str) -> DatasetReader:
        """A reader of a dataset, checked; as `load`."""
        found: DatasetReader = self.load(DATASETS, name)
        return found

    def load_metric(self, name: str) -> type[Metric]:
        """The class of a metric, checked: interface, options, what its scope asks for; as `load`."""
        found: type[Metric] = self.load(METRICS, name)
        return found

    def load_executor(self, name: str) -> type[Executor]:
        """The class of an executor, checked: interface and options; as `load`."""
        found: type[Executor] = self.load(EXECUTORS, name)
        return found

    def load_stage(self, name: str) -> type[Stage]:
        """The class of a stage, checked: interface, options, presets; as `load`."""
        found: type[Stage] = self.load(STAGES, name)
        return found

    def load_portrait(self, loader: str) -> type[Portrait]:
        """The class that loads a portrait.

        Args:
            loader: ``method:NAME`` or ``stage:NAME``, as in stage.json.

        Raises:
            PluginError: it is of neither form, or no plugin that is there brings it; or as `load`.
        """
        kind, _, name = loader.partition(":")
        if kind == METHODS.name:
            return self.load_method(name)
        if kind == STAGES.name and (spec := self.stage(name)).portrait:
            self._try(STAGES, spec, self.owner(spec))
            return portrait_of_stage(spec, self.owner(spec))
        raise PluginError(
            f"found the loader {quoted(loader)}, expected method:NAME or stage:NAME.", help="bench plugins"
        )

    def check(self) -> list[Problem]:
        """All problems, those included that only loading every class and preset can show."""
        problems = self.problems()
        for kind in KINDS:
            for spec, plugin in self._tables[kind.name].values():
                try:
                    self.load(kind, spec.name)
                except PluginError as error:
                    problems.append(_problem(plugin, str(error.args[0]).removeprefix(f"{plugin}: ")))
        return problems

    def _try(self, kind: Kind[Any], spec: Spec, plugin: str) -> None:
        """Load a stranger's class in a process of its own, where that has not been done since its files changed.

        Raises:
            PluginError: that ends or stops the process.
        """
        candidate = self._candidates.get(plugin)
        if candidate is None or (kind.name, spec.name) in self._tried:
            return
        (harm,) = harms([replace(candidate, kind=kind.name, name=spec.name, target=spec.target)])
        if harm:
            raise PluginError(f"{plugin}: {kind.name} {spec.name}: {harm}", help=HELP)
        self._tried.add((kind.name, spec.name))

    def _add(self, source: Source) -> None:
        plugin = guarded(source.name, "loading it", source.load)
        if not isinstance(plugin, Problem):
            loaded, name = plugin, source.name
            if name in self._plugins:
                name = f"{source.name} ({source.origin})"
            registered = guarded(name, "registering its hooks", lambda: self._manager.register(loaded, name))
            if not isinstance(registered, Problem):
                self._plugins[name] = PluginInfo(name, source.origin)
                if source.candidate is not None:
                    self._candidates[name] = source.candidate
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

    def _call(self, plugin: str, kind: Kind[Any]) -> None:
        table, names = self._tables[kind.name], self._plugins[plugin].brought.setdefault(kind.plural, [])

        def register(spec: Any) -> None:
            faults = spec_faults(spec, kind.spec)
            right = isinstance(spec, kind.spec)
            faults += kind.faults(spec) if right else []
            if not faults and spec.name.lower() in table:
                other = table[spec.name.lower()]
                faults = [f"name {spec.name!r} is taken by {other[0].name} of plugin {other[1]}; the first one stays"]
            what = f"{kind.spec.__name__} {getattr(spec, 'name', '')!r}: " if right else ""
            self._problems.extend(_problem(plugin, what + fault) for fault in faults)
            if not faults:
                table[spec.name.lower()] = (spec, plugin)
                names.append(spec.name)

        mine = self._manager.get_plugin(plugin)
        others = [p for p in self._manager.get_plugins() if p is not mine]
        caller = self._manager.subset_hook_caller(kind.hook, others)
        outcome = guarded(plugin, f"{kind.hook}()", lambda: caller(register=register))
        if isinstance(outcome, Problem):
            self._problems.append(outcome)

    def _find(self, kind: Kind[Any], name: str) -> tuple[Any, str]:
        table = self._tables[kind.name]
        if name.lower() in table:
            return table[name.lower()]
        trouble = f"\n  {len(self._problems)} plugin problem(s): bench plugins" if self._problems else ""
        known = [spec.name for spec, _ in table.values()]
        raise PluginError(did_you_mean(kind.name, name, known) + trouble, help=f"bench list {kind.name}s")


def _problem(plugin: str, message: str) -> Problem:
    return Problem("error", Where(plugin), message)


@functools.cache
def registry() -> Registry:
    """The one registry of this process."""
    return Registry()
