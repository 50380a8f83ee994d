"""Types of options that several verbs have, with errors that name what was expected."""

from __future__ import annotations

import math
import os
from pathlib import Path
from typing import Any

import rich_click as click

__all__ = ["FiniteRange", "NotEmpty", "Place", "Seconds", "Size"]

LONGEST_NAME = 255
"""Bytes that file systems allow for one name."""


class Place(click.Path):
    """A path. A text that names no file is a mistake of the command line, not of the work."""

    def __init__(self, *, exists: bool = False, file_okay: bool = True, dir_okay: bool = True) -> None:
        super().__init__(exists=exists, file_okay=file_okay, dir_okay=dir_okay, path_type=Path)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """The path of a text."""
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
    """90, 90s, 30m or 2h."""

    name = "time"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Seconds of a text such as 30m."""
        from headbench.harness.run.request import seconds

        try:
            return float(seconds(value))
        except ValueError as error:
            self.fail(str(error), param, ctx)


class Size(click.ParamType):
    """16GB, 500MB or a number of bytes."""

    name = "size"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """Bytes of a text such as 16GB."""
        from headbench.harness.run.request import size_in_bytes

        try:
            return int(size_in_bytes(value))
        except ValueError as error:
            self.fail(str(error), param, ctx)


class NotEmpty(click.ParamType):
    """A text of at least one letter, which an unset variable of a shell is not."""

    name = "text"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """The text."""
        text = str(value)
        if not text.strip():
            self.fail("expected a name, found an empty text; leave the option out for none", param, ctx)
        return text


class FiniteRange(click.FloatRange):
    """A number, neither infinite nor nan."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """The number."""
        number = float(super().convert(value, param, ctx))
        if not math.isfinite(number):
            self.fail(f"expected a finite number, found {number}", param, ctx)
        return number
