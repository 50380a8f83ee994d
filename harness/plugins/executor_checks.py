"""Checks of registered executors: the spec at registration, and the class when it is loaded."""

from __future__ import annotations

from typing import TYPE_CHECKING

from headbench.harness.errors import PluginError
from headbench.harness.plugins.checks import HELP, checked_class
from headbench.harness.plugins.specs import ExecutorSpec

if TYPE_CHECKING:
    from headbench.harness.execution import Executor

__all__ = ["executor_class", "executor_faults"]

_INTERFACE = "headbench.harness.execution.executor:Executor"


def executor_faults(spec: ExecutorSpec) -> list[str]:
    """Faults of an executor's spec besides its name and target."""
    if not isinstance(spec.needs, frozenset) or not all(isinstance(name, str) and name for name in spec.needs):
        return [f"needs must be a frozenset of names of programs, got {spec.needs!r}"]
    return []


def executor_class(spec: ExecutorSpec, plugin: str) -> type[Executor]:
    """Load the class of an executor, and check it against the interface.

    Args:
        spec: the registered spec.
        plugin: name of the plugin that registered it, for messages.

    Raises:
        PluginError: the class cannot be imported, is no Executor, leaves a part of it out, or its options are no
            pydantic model that refuses unknown names.
    """
    loaded = checked_class("executor", spec, plugin, _INTERFACE)
    from pydantic import BaseModel

    options = getattr(loaded, "options_type", None)
    if (
        not isinstance(options, type)
        or not issubclass(options, BaseModel)
        or options.model_config.get("extra") != "forbid"
    ):
        expected = "a class derived from headbench.harness.execution.ExecutorOptions"
        raise PluginError(
            f"{plugin}: executor {spec.name}: {spec.target}.options_type must be {expected}, got {options!r}", help=HELP
        )
    return loaded
