"""The `bench` command: a group whose verbs are imported when they are used."""

from __future__ import annotations

import importlib
import sys

import click

from headbench.harness.errors import BenchError, did_you_mean

COMMANDS = {
    "run": "headbench.harness.cli.run:run",
    "list": "headbench.harness.cli.list:list_",
    "status": "headbench.harness.cli.status:status",
    "score": "headbench.harness.cli.score:score",
    "report": "headbench.harness.cli.report:report",
    "render": "headbench.harness.cli.render:render",
    "plugins": "headbench.harness.cli.plugins:plugins",
    "doctor": "headbench.harness.cli.doctor:doctor",
    "data": "headbench.harness.cli.data:data",
    "assets": "headbench.harness.cli.assets:assets",
}
"""verb -> module:command"""


class _LazyGroup(click.Group):
    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        if name not in COMMANDS:
            raise click.UsageError(did_you_mean("command", name, COMMANDS))
        module, _, attribute = COMMANDS[name].partition(":")
        command: click.Command = getattr(importlib.import_module(module), attribute)
        return command


@click.group(cls=_LazyGroup)
def cli() -> None:
    """Train, render, score and tabulate Gaussian head avatars."""


def main() -> None:
    """Run `bench`; errors of the user's are printed without a traceback and exit with 1."""
    try:
        cli(standalone_mode=False)
    except BenchError as error:
        click.echo(f"error: {error}", err=True)
        sys.exit(1)
    except click.ClickException as error:
        error.show()
        sys.exit(1)
    except (KeyboardInterrupt, click.Abort):
        click.echo("interrupted", err=True)
        sys.exit(130)


if __name__ == "__main__":
    main()
