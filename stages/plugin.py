"""Plugin of the built-in stages after training, registered like a stranger's. Data only: no torch is imported here."""

from __future__ import annotations

from collections.abc import Callable

from headbench.harness.plugins.hookspecs import hookimpl
from headbench.harness.plugins.specs import StageSpec

__all__ = ["STAGES", "register_stages"]

STAGES: tuple[StageSpec, ...] = ()


@hookimpl
def register_stages(register: Callable[[StageSpec], None]) -> None:
    """Register all built-in stages after training."""
    for spec in STAGES:
        register(spec)
