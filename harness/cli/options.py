"""Types of command-line options that several verbs have, with errors that name what was expected."""

from __future__ import annotations

import math
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import rich_click as click

__all__ = ["FiniteRange", "NotEmpty", "Place", "Seconds", "Size", "background_option", "device_options"]

_Command = TypeVar("_Command", bound=Callable[..., Any])

LONGEST_NAME = 255
"""Number of bytes that file systems allow for one name."""


class Place(click.Path):
    """Option that is a path; a text that can name no file is refused as a mistake of the command line."""

    def __init__(self, *, exists: bool = False, file_okay: bool = True, dir_okay: bool = True) -> None:
        super().__init__(exists=exists, file_okay=file_okay, dir_okay=dir_okay, path_type=Path)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Convert a text to a path."""
        text = os.fspath(value)
        if not text:
            self.fail("an empty text is no path; the current folder is .", param, ctx)
        try:
            longest = max((len(part.encode()) for part in Path(text).parts), default=0)
        except UnicodeEncodeError:
            shown = text.encode("utf-8", "backslashreplace").decode()
            self.fail(f"{shown} is no UTF-8 text; rename the file or folder", param, ctx)
        if longest > LONGEST_NAME:
            self.fail(f"a name of {longest} bytes is too long; at most {LONGEST_NAME} are allowed", param, ctx)
        return super().convert(value, param, ctx)


class Seconds(click.ParamType):
    """Option that is a time: 90, 90s, 30m or 2h."""

    name = "time"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Convert a text such as 30m to seconds."""
        from headbench.harness.run.request import seconds

        try:
            return float(seconds(value))
        except ValueError as error:
            self.fail(str(error), param, ctx)


class Size(click.ParamType):
    """Option that is a size of memory: 16GB, 500MB or a number of bytes."""

    name = "size"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """Convert a text such as 16GB to bytes."""
        from headbench.harness.run.request import size_in_bytes

        try:
            return int(size_in_bytes(value))
        except ValueError as error:
            self.fail(str(error), param, ctx)


class NotEmpty(click.ParamType):
    """Option that is a text of at least one letter, which an unset variable of a shell is not."""

    name = "text"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Check that a text is not empty, and return it."""
        text = str(value)
        if not text.strip():
            self.fail("expected a name, found an empty text; leave the option out for none", param, ctx)
        return text


class FiniteRange(click.FloatRange):
    """Option that is a number, neither infinite nor NaN."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Convert a text to a finite number."""
        number = float(super().convert(value, param, ctx))
        if not math.isfinite(number):
            self.fail(f"expected a finite number, found {number}", param, ctx)
        return number


def device_options(command: _Command) -> _Command:
    """Add ``--device`` and ``--rasterizer`` to a verb that renders trained avatars."""
    rasterizer = click.option(
        "--rasterizer", default="auto", show_default=True, help="auto, gsplat, cuda, numba or torch."
    )
    return click.option("--device", default="auto", show_default=True, help="auto, cpu, cuda or cuda:K.")(
        rasterizer(command)
    )


def background_option(help: str = "Colour behind the head.") -> Callable[[_Command], _Command]:
    """Decorator that adds ``--background``.

    Args:
        help: text of the option.
    """
    colours = click.Choice(["white", "black", "green"])
    return click.option("--background", default="white", show_default=True, type=colours, help=help)
