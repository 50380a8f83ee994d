"""Records of what a pickle asks for: names, calls, states and containers, none of which has been made."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from headbench.harness.names import one_line

__all__ = ["Group", "Made", "Name", "Old", "Pairs", "Persistent", "Refused"]


class Refused(Exception):
    """Error of a file that is not read; its text follows "found a pickle": ``that is damaged: it ends too soon``."""


@dataclass(frozen=True, slots=True)
class Name:
    """Name of a class or function in a pickle; it is only looked up in a list, and never imported."""

    module: str
    name: str

    def __str__(self) -> str:
        text = one_line(f"{self.module}.{self.name}")
        return text if len(text) <= 80 else f"{text[:80]}…"


class Made:
    """Record of a call: its name and arguments, then the states and pairs that the pickle adds to its result."""

    __slots__ = ("arguments", "of", "pairs", "states")

    def __init__(self, of: Name, arguments: tuple[Any, ...] = ()) -> None:
        self.of = of
        self.arguments = arguments
        self.states: list[Any] = []
        self.pairs: list[tuple[Any, Any]] = []


class Pairs:
    """Record of a dictionary as pairs; keys are only compared when all of it is known."""

    __slots__ = ("pairs",)

    def __init__(self) -> None:
        self.pairs: list[tuple[Any, Any]] = []


class Group:
    """Record of a set, or of a frozen one."""

    __slots__ = ("frozen", "items")

    def __init__(self, items: list[Any], frozen: bool) -> None:
        self.items = items
        self.frozen = frozen


class Old:
    """Record of a Python 2 string, which may be text in latin-1 or the bytes of an array."""

    __slots__ = ("content",)

    def __init__(self, content: bytes | memoryview) -> None:
        self.content = content

    def text(self) -> str:
        """Return the string as text."""
        return str(self.content, "latin-1")


class Persistent:
    """Record of a reference to something outside the pickle, such as a tensor's storage, by the pickle's id of it."""

    __slots__ = ("id",)

    def __init__(self, id: Any) -> None:
        self.id = id
