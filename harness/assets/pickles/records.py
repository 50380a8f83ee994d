"""What a pickle says, noted down: names, calls, states and containers, none of which has been made."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from headbench.harness.names import one_line

__all__ = ["Group", "Made", "Name", "Old", "Pairs", "Persistent", "Refused"]


class Refused(Exception):
    """Why a file is not read. The text goes on after "found a pickle": ``that is damaged: it ends too soon``."""


@dataclass(frozen=True, slots=True)
class Name:
    """A class or function that a pickle names; it is only looked up in a list, and never imported."""

    module: str
    name: str

    def __str__(self) -> str:
        text = one_line(f"{self.module}.{self.name}")
        return text if len(text) <= 80 else f"{text[:80]}…"


class Made:
    """A call that a pickle asks for, with what it asks to be done to its result."""

    __slots__ = ("arguments", "of", "pairs", "states")

    def __init__(self, of: Name, arguments: tuple[Any, ...] = ()) -> None:
        self.of = of
        self.arguments = arguments
        self.states: list[Any] = []
        self.pairs: list[tuple[Any, Any]] = []


class Pairs:
    """A dictionary: keys are looked at when all of it is known."""

    __slots__ = ("pairs",)

    def __init__(self) -> None:
        self.pairs: list[tuple[Any, Any]] = []


class Group:
    """A set, or a frozen one."""

    __slots__ = ("frozen", "items")

    def __init__(self, items: list[Any], frozen: bool) -> None:
        self.items = items
        self.frozen = frozen


class Old:
    """A string of Python 2, which may be text in latin-1 or the bytes of an array."""

    __slots__ = ("content",)

    def __init__(self, content: bytes) -> None:
        self.content = content


class Persistent:
    """What lies outside the pickle, such as a tensor's storage, by what the pickle calls it."""

    __slots__ = ("id",)

    def __init__(self, id: Any) -> None:
        self.id = id
