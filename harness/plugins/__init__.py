"""Plugin interface: what a plugin imports, and the registry that the rest of headbench asks.

A plugin is a module named by an entry point of the group ``headbench``. It implements hooks::

    from headbench.harness.plugins import MethodSpec, hookimpl

    @hookimpl
    def register_methods(register):
        register(MethodSpec("Mine", "mine.avatar:Mine", presets={"demo": "mine:demo.yaml"}, default_preset="demo"))

With ``HEADBENCH_PLUGINS=0`` in the environment only the built-in plugins are loaded.
"""

from headbench.harness.plugins.datasets import DatasetReader
from headbench.harness.plugins.hookspecs import hookimpl
from headbench.harness.plugins.loading import Source
from headbench.harness.plugins.registry import PluginInfo, Registry, registry
from headbench.harness.plugins.specs import (
    DatasetSpec,
    ExecutorSpec,
    MethodSpec,
    MetricSpec,
    ProtocolSpec,
    StageSpec,
    TableFormatSpec,
    Variant,
    ViewPriorSpec,
)
from headbench.harness.problems import Problem, Where

__all__ = [
    "DatasetReader",
    "DatasetSpec",
    "ExecutorSpec",
    "MethodSpec",
    "MetricSpec",
    "PluginInfo",
    "Problem",
    "ProtocolSpec",
    "Registry",
    "Source",
    "StageSpec",
    "TableFormatSpec",
    "Variant",
    "ViewPriorSpec",
    "Where",
    "hookimpl",
    "registry",
]
