"""`bench plugins`: show installed plugins and what is wrong with them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import rich_click as click
from click.exceptions import Exit

from headbench.harness.console import say
from headbench.harness.errors import BenchError, PluginError

if TYPE_CHECKING:
    from headbench.harness.plugins import DatasetSpec, MethodSpec, Registry
    from headbench.testing import Outcome

__all__ = ["plugins"]


@click.command()
@click.argument("names", nargs=-1)
@click.option(
    "--check", is_flag=True, help="Try every plugin again; load every class and preset as well, and check them."
)
@click.option(
    "--train",
    is_flag=True,
    help="With --check: train each method in small and read each dataset's sample, and check what the harness relies "
    "on. NAMES are methods and datasets; without them all that are not built in.",
)
def plugins(names: tuple[str, ...], check: bool, train: bool) -> None:
    """Show plugins with what they bring, and every problem with the plugin's name.

    Exit code 2 if there is a problem, 1 if a check of --train fails.
    """
    from headbench.harness.plugins import registry
    from headbench.harness.plugins.kinds import KINDS
    from headbench.harness.plugins.memory import forget
    from headbench.harness.problems import grouped

    if (train and not check) or (names and not train):
        raise BenchError("NAMES go with --train, and --train with --check: bench plugins --check --train [NAMES].")
    if check:
        # What did harm when it was tried gets another chance.
        forget()
    found = registry()
    asked = _asked(found, names) if train else []
    for plugin in found.plugins():
        say(f"{plugin.name} ({plugin.origin})")
        for kind, brought in plugin.brought.items():
            if brought:
                say(f"  {kind}: {', '.join(brought)}")
    problems = found.check() if check else found.problems()
    for group in grouped(problems):
        say(group.line("plugin"), err=True)
    failed = False
    if train and not asked:
        say("nothing to train: all methods and datasets are built in; name some to try them")
    for outcome in _outcomes(found, asked):
        say(outcome.line())
        failed |= outcome.failure is not None
    if problems or failed:
        raise Exit(2 if problems else 1)
    if check:
        sizes = {kind: len(found.specs(kind)) for kind in KINDS}
        counts = [f"{size} {kind.plural if size != 1 else kind.name}" for kind, size in sizes.items()]
        say(f"{', '.join(counts[:-1])} and {counts[-1]} loaded with all their presets; no problem found")


def _asked(found: Registry, names: tuple[str, ...]) -> list[MethodSpec | DatasetSpec]:
    """Methods and datasets to try: those named, or without names all that are not built in.

    Raises:
        PluginError: a name is neither a method's nor a dataset's.
    """
    both: list[MethodSpec | DatasetSpec] = [*found.methods().values(), *found.datasets().values()]
    if not names:
        return [spec for spec in both if found.origin(spec) != "built in"]
    wanted = {name.lower() for name in names}
    chosen = [spec for spec in both if spec.name.lower() in wanted]
    for name in sorted(wanted - {spec.name.lower() for spec in chosen}):
        found.method(name)
    return chosen


def _outcomes(found: Registry, asked: list[MethodSpec | DatasetSpec]) -> Iterator[Outcome]:
    """Outcomes of the conformance suites, one by one; what cannot be tried is passed over with a line."""
    if not asked:  # then torch, which the suites bring, is not needed
        return
    from headbench.harness.plugins import MethodSpec
    from headbench.harness.plugins.aside import aside
    from headbench.harness.plugins.kinds import DATASETS, METHODS
    from headbench.testing import try_dataset, try_method

    for spec in asked:
        kind = METHODS if isinstance(spec, MethodSpec) else DATASETS
        try:
            found.load(kind, spec.name)  # in a process of its own first
        except PluginError:
            say(f"{kind.name} {spec.name}: not tried: it cannot be loaded")
            continue
        if not isinstance(spec, MethodSpec) and not spec.sample:
            say(f"dataset {spec.name}: not tried: its DatasetSpec names no sample")
            continue
        outcomes = try_method(spec) if isinstance(spec, MethodSpec) else try_dataset(spec)
        while True:
            with aside():
                outcome = next(outcomes, None)
            if outcome is None:
                break
            yield outcome
