"""Ways: the names of stage instances, such as ``train`` or ``train/bake:decoder``. Needs no torch."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Self

from headbench.harness.errors import BenchError
from headbench.harness.names import name_fault, quoted

__all__ = ["TRAIN", "Step", "Way", "parse_ways", "with_parents"]

_FORM = "name it as train, or train/bake:LABEL"

TAKEN = ("previews", "scratch", "checkpoint", "checkpoints")
"""Names in a stage's folder that no stage may have."""


@dataclass(frozen=True)
class Step:
    """One step of a way: the name of a stage and a label."""

    stage: str
    """Name of the stage."""
    label: str = ""
    """The stage's preset, or the label of its options; empty for the stage's default."""

    def __str__(self) -> str:
        return f"{self.stage}:{self.label}" if self.label else self.stage

    @classmethod
    def parse(cls, text: str, way: str = "") -> Self:
        """Parse a step such as ``bake`` or ``bake:decoder``.

        Args:
            text: stage, or stage and label.
            way: text of the whole way, for messages.

        Raises:
            BenchError: a part is no plain name.
        """
        stage, colon, label = text.partition(":")
        for what, name in (("stage", stage), *((("label", label),) if colon else ())):
            fault = name_fault(name) or ("expected one colon" if ":" in name else "")
            if not fault and what == "stage" and (not _plain(name) or name.startswith(TAKEN)):
                fault = "expected lower-case letters, digits, dashes and underscores, and no name of a folder of stages"
            if fault:
                raise BenchError(f"{what} {quoted(name)} in {quoted(way or text)}: {fault}.", help=_FORM)
        return cls(stage, label)


@dataclass(frozen=True)
class Way:
    """Name of a stage instance: the stages from the root to it, such as train/bake. It also names its folder and row.

    Args:
        steps: at least one; the first is the root.
    """

    steps: tuple[Step, ...]

    def __str__(self) -> str:
        return "/".join(map(str, self.steps))

    @classmethod
    @functools.lru_cache(maxsize=1024)  # a plan has thousands of cells with the same few ways
    def parse(cls, text: str) -> Self:
        """Parse the text of a way, such as ``train/bake:decoder``.

        Raises:
            BenchError: it is empty or a part is no plain name; nothing is said about whether such stages exist.
        """
        if not text.strip():
            raise BenchError("expected a stage such as train or train/bake, found nothing.", help=_FORM)
        return cls(tuple(Step.parse(part, text.strip()) for part in text.strip().split("/")))

    @property
    def last(self) -> Step:
        """The step that makes the instance from its parent."""
        return self.steps[-1]

    @property
    def stage(self) -> str:
        """Name of the last step's stage."""
        return self.last.stage

    @property
    def label(self) -> str:
        """Label of the last step, empty for the default."""
        return self.last.label

    @property
    def parent(self) -> Way | None:
        """The instance that this one is made from; None for a root."""
        return Way(self.steps[:-1]) if len(self.steps) > 1 else None

    def ancestors(self) -> tuple[Way, ...]:
        """All instances above this one, the root first."""
        return tuple(Way(self.steps[:count]) for count in range(1, len(self.steps)))

    def is_below(self, other: Way) -> bool:
        """Whether `other` is an ancestor of this one."""
        return len(self.steps) > len(other.steps) and self.steps[: len(other.steps)] == other.steps


TRAIN = Way((Step("train"),))
"""Way of the root ``train``, which every method has."""


def with_parents(ways: Iterable[Way]) -> tuple[Way, ...]:
    """The ways with all their ancestors, each once, parents before children, otherwise in the order given."""
    found: dict[Way, None] = {}
    for way in ways:
        for each in (*way.ancestors(), way):
            found.setdefault(each)
    return tuple(found)


def parse_ways(texts: Sequence[str]) -> tuple[Way, ...]:
    """Parse the texts of ways that a user named.

    Raises:
        BenchError: one cannot be parsed, or is named twice.
    """
    ways = [Way.parse(text) for text in texts]
    for number, way in enumerate(ways):
        if way in ways[:number]:
            raise BenchError(f"stage {way} is asked for twice.", help="name each once")
    return tuple(ways)


def _plain(name: str) -> bool:
    return all(c.isascii() and (c.islower() or c.isdigit() or c in "-_") for c in name)
