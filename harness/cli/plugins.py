"""`bench plugins`: what is installed and what is wrong with it."""

from __future__ import annotations

import rich_click as click
from click.exceptions import Exit

from headbench.harness.console import say

__all__ = ["plugins"]


@click.command()
@click.option(
    "--check", is_flag=True, help="Try every plugin again; load every class and preset as well, and check them."
)
def plugins(check: bool) -> None:
    """Show plugins with what they bring, and every problem with the plugin's name.

    Exit code 2 if there is a problem.
    """
    from headbench.harness.plugins import registry
    from headbench.harness.plugins.kinds import KINDS
    from headbench.harness.plugins.memory import forget
    from headbench.harness.problems import grouped

    if check:
        # What did harm when it was tried gets another chance.
        forget()
    found = registry()
    for plugin in found.plugins():
        say(f"{plugin.name} ({plugin.origin})")
        for kind, names in plugin.brought.items():
            if names:
                say(f"  {kind}: {', '.join(names)}")
    problems = found.check() if check else found.problems()
    for group in grouped(problems):
        say(group.line("plugin"), err=True)
    if problems:
        raise Exit(2)
    if check:
        sizes = {kind: len(found.specs(kind)) for kind in KINDS}
        counts = [f"{size} {kind.plural if size != 1 else kind.name}" for kind, size in sizes.items()]
        say(f"{', '.join(counts[:-1])} and {counts[-1]} loaded with all their presets; no problem found")
