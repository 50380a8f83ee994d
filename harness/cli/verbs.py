"""Verbs of `bench`: a command group whose commands are imported when they are used."""

from __future__ import annotations

import importlib
import sys

import rich_click as click

from headbench.harness.console import forgive_encoding, say
from headbench.harness.errors import did_you_mean
from headbench.harness.names import printable

__all__ = ["COMMANDS", "call", "cli"]

COMMANDS = {
    "run": ("headbench.harness.cli.run:run", "Train, render and score methods on subjects; go on where it stopped."),
    "list": (
        "headbench.harness.cli.list:list_",
        "Show methods, datasets, metrics, stages, protocols, assets and the like.",
    ),
    "status": ("headbench.harness.cli.status:status", "Show where the cells of a run are."),
    "logs": ("headbench.harness.cli.logs:logs", "Print what a cell's worker has printed."),
    "stop": ("headbench.harness.cli.stop:stop", "End a run, or one of its cells, from another shell."),
    "score": ("headbench.harness.cli.score:score", "Score the stored renders of a run by protocols."),
    "verify": ("headbench.harness.cli.verify:verify", "Hash all files of a run; compute a sample of scores again."),
    "report": ("headbench.harness.cli.report:report", "Write the table, figures and videos of a run."),
    "compare": ("headbench.harness.cli.compare:compare", "Compare two runs; exit 3 where the second is worse."),
    "render": ("headbench.harness.cli.render:render", "Show a checkpoint from all around."),
    "view": ("headbench.harness.cli.view:view", "Show trained portraits in a browser and move them."),
    "reenact": ("headbench.harness.cli.reenact:reenact", "Drive avatars by another subject's performance."),
    "export": ("headbench.harness.cli.export:export", "Write a portrait in a format that other programs open."),
    "edit": ("headbench.harness.cli.edit:edit", "Edit the colours of a baked avatar: stickers, styles, swaps."),
    "import": ("headbench.harness.cli.import_:import_", "Take a checkpoint that a method's published code wrote."),
    "submit": ("headbench.harness.cli.submit:submit", "Make, check and count submissions to a dataset's benchmark."),
    "profile": ("headbench.harness.cli.profile:profile", "Measure where the time of a training step goes."),
    "plugins": ("headbench.harness.cli.plugins:plugins", "Show plugins and what is wrong with them."),
    "doctor": ("headbench.harness.cli.doctor:doctor", "Say what works on this machine and what to do."),
    "data": ("headbench.harness.cli.data:data", "Make synthetic subjects and check datasets."),
    "assets": ("headbench.harness.cli.assets:assets", "Register files that only you may have: FLAME, networks."),
}
"""Verb -> ``module:command``, and its line in `bench --help`."""


class _LazyGroup(click.RichGroup):
    """Command group that lists its verbs without importing them."""

    _listing = False

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        if name not in COMMANDS:
            raise click.UsageError(did_you_mean("command", name, COMMANDS), ctx)
        target, line = COMMANDS[name]
        if self._listing:
            return click.Command(name, help=line)
        module, _, attribute = target.partition(":")
        command: click.Command = getattr(importlib.import_module(module), attribute)
        return command

    def format_help(self, ctx: click.RichContext, formatter: click.RichHelpFormatter) -> None:  # type: ignore[override]
        self._listing = True
        try:
            super().format_help(ctx, formatter)
        finally:
            self._listing = False


@click.group(cls=_LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="headbench", prog_name="bench")
def cli() -> None:
    """Train, render, score and tabulate Gaussian head avatars from monocular video."""


def call() -> int:
    """Run the command line.

    Returns:
        exit code; errors have been printed.

    Raises:
        KeyboardInterrupt: the user interrupted.
        BrokenPipeError: nobody reads standard output any more.
    """
    forgive_encoding()
    try:
        code = cli(prog_name="bench", standalone_mode=False)
        # What is still in the buffer may meet a full disk, and that is an error like any other.
        if sys.stdout is not None:
            sys.stdout.flush()
    except click.Abort:
        raise KeyboardInterrupt from None
    except (KeyboardInterrupt, BrokenPipeError):
        raise
    except click.ClickException as error:
        # The message may hold a file's name, from a glob of the shell.
        error.message = printable(error.message)  # type: ignore[misc]
        error.show()
        return 1
    except SystemExit as error:
        # rich-click ends in this way where a verb is missing, after it has printed the help; strangers' code says why.
        if isinstance(error.code, str):
            say(f"error: {error.code}", err=True)
        # rich ends in this way where the reader of a table is gone.
        return 0 if isinstance(error.__context__, BrokenPipeError) else 1
    except BaseException as error:
        from headbench.harness.cli.faults import explained

        # Indented, so that no later line of a message looks like an error of its own.
        message = str(explained(error)).replace("\n", "\n  ").replace("\n    ", "\n  ")
        say(f"error: {message}", err=True)
        return 1
    return code if isinstance(code, int) else 0
