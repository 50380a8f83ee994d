"""Registry of what plugins bring: methods, datasets, metrics, protocols, stages, priors, executors, table formats."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, TypeVar

import pluggy

from headbench.harness.errors import PluginError, did_you_mean
from headbench.harness.names import quoted
from headbench.harness.plugins import hookspecs
from headbench.harness.plugins.aside import aside
from headbench.harness.plugins.checks import HELP, Spec, importers_of, spec_faults
from headbench.harness.plugins.datasets import DatasetReader
from headbench.harness.plugins.kinds import (
    DATASETS,
    EXECUTORS,
    KINDS,
    METHODS,
    METRICS,
    PROTOCOLS,
    STAGES,
    TABLE_FORMATS,
    VIEW_PRIORS,
    Kind,
)
from headbench.harness.plugins.loading import Source, find_sources, guarded
from headbench.harness.plugins.memory import harms
from headbench.harness.plugins.specs import (
    DatasetSpec,
    ExecutorSpec,
    MethodSpec,
    MetricSpec,
    ProtocolSpec,
    StageSpec,
    TableFormatSpec,
    ViewPriorSpec,
)
from headbench.harness.plugins.stage_checks import portrait_of_stage
from headbench.harness.plugins.stages import TRAIN, TRAIN_PLUGIN
from headbench.harness.plugins.trial import Candidate
from headbench.harness.problems import Problem, Where

if TYPE_CHECKING:
    from headbench.harness.avatar import Portrait
    from headbench.harness.execution import Executor
    from headbench.harness.importing import Importer
    from headbench.harness.stage import Stage
    from headbench.harness.view_prior import ViewPrior
    from headbench.metrics import Metric
    from headbench.reports import TableFormat

__all__ = ["PluginInfo", "Registry", "registry"]

_Spec = TypeVar("_Spec", bound=Spec)


@dataclass
class PluginInfo:
    """Loaded plugin with what it registered, for `bench plugins`."""

    name: str
    origin: str
    """Distribution and version of the plugin, or built in."""
    brought: dict[str, list[str]] = field(default_factory=dict)
    """Kind in the plural (methods) -> registered names, in the order of registration."""


class Registry:
    """Registry of what plugins registered. Listing needs no torch: classes are loaded and checked on use.

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
        """Plugin name -> entry point, for strangers' plugins."""
        self._tried: set[tuple[str, str]] = set()
        """Kind and name of strangers' classes that were tried and did no harm."""
        self._tables: dict[str, dict[str, tuple[Any, str]]] = {kind.name: {} for kind in KINDS}
        """Kind -> lower-case name -> spec and plugin."""
        with aside():  # once, not for every call of a plugin's code
            for source in sources:
                self._add(source)
            self._find_misspelt()
            for name in self._plugins:
                for kind in KINDS:
                    self._call(name, kind)

        # The stage that trains every method is there whichever plugins are asked.
        self._tables[STAGES.name].setdefault(TRAIN.name, (TRAIN, TRAIN_PLUGIN))

    def plugins(self) -> list[PluginInfo]:
        """Plugins that could be loaded, in the order of registration."""
        return list(self._plugins.values())

    def problems(self) -> list[Problem]:
        """Problems of loading and registering plugins; their classes have not been loaded for this."""
        return list(self._problems)

    def specs(self, kind: Kind[_Spec]) -> dict[str, _Spec]:
        """Specs of one kind by name as in tables, in the order of registration."""
        return {spec.name: spec for spec, _ in self._tables[kind.name].values()}

    def find(self, kind: Kind[_Spec], name: str) -> _Spec:
        """Spec of one kind that is called `name`, without regard to case.

        Args:
            kind: kind of thing, such as `METHODS`.
            name: name of the spec.

        Raises:
            PluginError: no spec has that name; the message has close matches.
        """
        return self._find(kind, name)[0]

    def load(self, kind: Kind[Any], name: str) -> Any:
        """Load what the spec called `name` points to, and check it against the interface of its kind.

        Args:
            kind: kind of thing, such as `METHODS`.
            name: name of the spec.

        Raises:
            PluginError: the name is unknown, or the target is broken; the message names fault and plugin.
        """
        spec, plugin = self._find(kind, name)
        self._try(kind, spec, plugin)
        return kind.load(spec, plugin)

    def owner(self, spec: Spec) -> str:
        """Name of the plugin that registered `spec`."""
        kind = next(kind for kind in KINDS if isinstance(spec, kind.spec))
        owner: str = self._tables[kind.name][spec.name.lower()][1]
        return owner

    def origin(self, spec: Spec) -> str:
        """Distribution and version of the plugin that registered `spec`, or ``built in``."""
        plugin = self._plugins.get(self.owner(spec))
        return "built in" if plugin is None else plugin.origin

    def methods(self) -> dict[str, MethodSpec]:
        """Specs of the registered methods by name, in the order of registration."""
        return self.specs(METHODS)

    def datasets(self) -> dict[str, DatasetSpec]:
        """Specs of the registered datasets by name, in the order of registration."""
        return self.specs(DATASETS)

    def metrics(self) -> dict[str, MetricSpec]:
        """Specs of the registered metrics by name, in the order of registration."""
        return self.specs(METRICS)

    def executors(self) -> dict[str, ExecutorSpec]:
        """Specs of the registered executors by name, in the order of registration."""
        return self.specs(EXECUTORS)

    def stages(self) -> dict[str, StageSpec]:
        """Specs of the registered stages by name, in the order of registration."""
        return self.specs(STAGES)

    def view_priors(self) -> dict[str, ViewPriorSpec]:
        """Specs of the registered view priors by name, in the order of registration."""
        return self.specs(VIEW_PRIORS)

    def protocols(self) -> dict[str, ProtocolSpec]:
        """Specs of the protocols that plugins brought, by name without version, in the order of registration."""
        return self.specs(PROTOCOLS)

    def table_formats(self) -> dict[str, TableFormatSpec]:
        """Specs of the table formats that plugins brought, by name, in the order of registration."""
        return self.specs(TABLE_FORMATS)

    def stage(self, name: str) -> StageSpec:
        """Spec of the stage called `name`, without regard to case; a PluginError where there is none."""
        return self.find(STAGES, name)

    def view_prior(self, name: str) -> ViewPriorSpec:
        """Spec of the view prior called `name`, without regard to case; a PluginError where there is none."""
        return self.find(VIEW_PRIORS, name)

    def method(self, name: str) -> MethodSpec:
        """Spec of the method called `name`, without regard to case; a PluginError where there is none."""
        return self.find(METHODS, name)

    def dataset(self, name: str) -> DatasetSpec:
        """Spec of the dataset called `name`, without regard to case; a PluginError where there is none."""
        return self.find(DATASETS, name)

    def metric(self, name: str) -> MetricSpec:
        """Spec of the metric called `name`, without regard to case; a PluginError where there is none."""
        return self.find(METRICS, name)

    def executor(self, name: str) -> ExecutorSpec:
        """Spec of the executor called `name`, without regard to case; a PluginError where there is none."""
        return self.find(EXECUTORS, name)

    def load_method(self, name: str) -> type[Portrait]:
        """Load the class of a method; interface, configuration type and presets are checked, with a PluginError."""
        found: type[Portrait] = self.load(METHODS, name)
        return found

    def load_importers(self, name: str) -> tuple[Importer, ...]:
        """Make the importers of a method's published checkpoints.

        Args:
            name: of the method.

        Raises:
            PluginError: the method is unknown or has none, or one leaves a part of the interface out.
        """
        spec, plugin = self._find(METHODS, name)
        if not spec.importers:
            able = [each.name for each in self.methods().values() if each.importers]
            raise PluginError(
                f"{spec.name} has no importer of published checkpoints; {', '.join(able) or 'no method'} has.",
                help="bench list methods",
            )
        self._try(METHODS, spec, plugin)
        return importers_of(spec, plugin)

    def load_dataset(self, name: str) -> DatasetReader:
        """Make the reader of a dataset; its interface is checked, with a PluginError."""
        found: DatasetReader = self.load(DATASETS, name)
        return found

    def load_metric(self, name: str) -> type[Metric]:
        """Load the class of a metric; interface, options and needs of its scope are checked, with a PluginError."""
        found: type[Metric] = self.load(METRICS, name)
        return found

    def load_executor(self, name: str) -> type[Executor]:
        """Load the class of an executor; interface and options are checked, with a PluginError."""
        found: type[Executor] = self.load(EXECUTORS, name)
        return found

    def load_stage(self, name: str) -> type[Stage]:
        """Load the class of a stage; interface, options and presets are checked, with a PluginError."""
        found: type[Stage] = self.load(STAGES, name)
        return found

    def load_view_prior(self, name: str) -> type[ViewPrior]:
        """Load the class of a view prior; interface and options are checked, with a PluginError."""
        found: type[ViewPrior] = self.load(VIEW_PRIORS, name)
        return found

    def load_table_format(self, name: str) -> type[TableFormat]:
        """Load the class of a table format; its interface is checked, with a PluginError."""
        found: type[TableFormat] = self.load(TABLE_FORMATS, name)
        return found

    def load_portrait(self, loader: str) -> type[Portrait]:
        """Load the class that loads a stored portrait.

        Args:
            loader: ``method:NAME`` or ``stage:NAME``, as in stage.json.

        Raises:
            PluginError: `loader` is of neither form, no installed plugin brings it, or the class is broken.
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
        """Find all problems of plugins, those included that only loading every class and preset can show."""
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
            PluginError: loading the class ends or stops the process.
        """
        candidate = self._candidates.get(plugin)
        if candidate is None or (kind.name, spec.name) in self._tried:
            return
        (harm,) = harms([replace(candidate, kind=kind.name, name=spec.name, target=spec.target)])
        if harm:
            raise PluginError(f"{plugin}: {kind.name} {spec.name}: {harm}", help=HELP)
        self._tried.add((kind.name, spec.name))

    def _add(self, source: Source) -> None:
        """Load a plugin and register its hooks; a broken one becomes a problem."""
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
        """Note hooks of plugins whose names no hook has."""
        known = [name for name in vars(hookspecs) if name.startswith("register_")]
        for name, caller in sorted(vars(self._manager.hook).items()):
            if name.startswith("_") or caller.has_spec():
                continue
            for hook in caller.get_hookimpls():
                if not hook.optionalhook:
                    self._problems.append(_problem(hook.plugin_name, did_you_mean("hook", name, known)))

    def _call(self, plugin: str, kind: Kind[Any]) -> None:
        """Call a plugin's hook of one kind; faulty specs become problems, and of two equal names the first stays."""
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
        """Spec that is called `name`, without regard to case, and its plugin's name."""
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
    """Registry of this process, made on first use."""
    return Registry()
