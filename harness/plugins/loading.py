"""Find plugins and load them one by one, so that a broken one is a line in a list and nothing more."""

from __future__ import annotations

import importlib
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from importlib import metadata
from typing import TypeVar

from headbench.harness.plugins.aside import aside
from headbench.harness.plugins.memory import harms
from headbench.harness.plugins.trial import Candidate
from headbench.harness.problems import Problem, Where

__all__ = ["BUILTIN", "ENTRY_POINTS", "SWITCH", "Source", "find_sources", "guarded", "load_target"]

ENTRY_POINTS = "headbench"
"""Entry-point group of plugins."""
SWITCH = "HEADBENCH_PLUGINS"
"""Environment variable; 0 leaves the entry points alone, so that only built-in plugins are there."""
BUILTIN = (
    "headbench.methods.plugin",
    "headbench.datasets.plugin",
    "headbench.metrics.plugin",
    "headbench.stages.plugin",
    "headbench.harness.execution.plugin",
    "headbench.harness.plugins.stages",
)
"""Modules of the built-in plugins, which register in the same way as strangers'."""

_T = TypeVar("_T")


@dataclass(frozen=True)
class Source:
    """Plugin that has been found and not yet been loaded."""

    name: str
    load: Callable[[], object]
    """Loads and returns the module or object that has the hooks; may raise anything."""
    origin: str = "built in"
    """Distribution and version, for messages and lists."""
    candidate: Candidate | None = None
    """Entry point of a stranger's plugin, whose classes are tried before they are loaded; None for built-in ones."""


def guarded(plugin: str, doing: str, action: Callable[[], _T]) -> _T | Problem:
    """Call a plugin's code: its result, or a Problem for any exception but the user's interrupt.

    Plugins are strangers' code: an import may raise SystemExit as well as anything else. What they print goes to
    standard error.

    Args:
        plugin: name of the plugin, for the problem.
        doing: what `action` does, for the problem's message, such as "loading it".
        action: calls the plugin's code.
    """
    try:
        with aside():
            return action()
    except KeyboardInterrupt:
        raise
    except BaseException as error:
        text = " ".join(str(error).split())
        message = f"{doing} failed with {type(error).__name__}" + (f": {text}" if text else "")
        return Problem("error", Where(plugin), message)


def find_sources() -> tuple[list[Source], list[Problem]]:
    """Find plugins and problems: built-in ones first, then entry points by name; no stranger's is imported here."""
    sources = [Source(name, _importer(name)) for name in BUILTIN]
    problems: list[Problem] = []
    if os.environ.get(SWITCH, "1") == "0":
        return sources, problems
    found: dict[tuple[str, str], Candidate] = {}
    with aside():  # once, not for every distribution
        for distribution in metadata.distributions():
            whose = "an installed distribution"
            points = guarded(whose, "reading its entry points", lambda d=distribution: list(_points(d)))  # type: ignore[misc]
            if not points:  # as nearly all are: the name, for which all metadata are parsed, is not asked for
                continue
            name = guarded(whose, "reading its name", lambda d=distribution: d.name)  # type: ignore[misc]
            if isinstance(name, Problem) or not name:
                continue
            if isinstance(points, Problem):
                problems.append(replace(points, where=Where(name)))
                continue
            for point in points:
                found.setdefault((name, point.name), Candidate(name, distribution.version, point))
    candidates = [found[key] for key in sorted(found)]
    for candidate, harm in zip(candidates, harms(candidates), strict=True):
        point, origin = candidate.point, f"{candidate.distribution} {candidate.version}"
        if harm:
            help = f"installed with {origin}; `bench plugins --check` tries it again"
            problems.append(Problem("error", Where(point.name), f"left out: {harm}", help))
        else:
            sources.append(Source(point.name, point.load, origin, candidate))
    return sources, problems


def load_target(target: str) -> object:
    """Import the object that ``package.module:Name`` names.

    Raises:
        ImportError, AttributeError: the object does not exist; or whatever the module raises.
    """
    module, _, name = target.partition(":")
    return getattr(importlib.import_module(module), name)


def _importer(name: str) -> Callable[[], object]:
    return lambda: importlib.import_module(name)


def _points(distribution: metadata.Distribution) -> Iterator[metadata.EntryPoint]:
    # As nearly all have none of ours, what they have is not parsed.
    if ENTRY_POINTS in (distribution.read_text("entry_points.txt") or ""):
        yield from (point for point in distribution.entry_points if point.group == ENTRY_POINTS)
