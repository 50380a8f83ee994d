"""Why a metric has no value: a kind that programs ask for, and a text that tables show. Needs no torch."""

from __future__ import annotations

import enum
from dataclasses import dataclass

__all__ = ["Absent", "AbsentKind"]


class AbsentKind(enum.StrEnum):
    """Kinds of reasons, as files of scores hold them.

    Example:
        >>> AbsentKind("no-weights") is AbsentKind.NO_WEIGHTS
        True
    """

    NOT_IN_PROTOCOL = "not-in-protocol"
    NOT_ASKED = "not-asked"
    """The protocol has it, and whoever scored named others."""
    SLOW_ON_CPU = "slow-on-cpu"
    NO_WEIGHTS = "no-weights"
    """A network's or an asset's file is not registered."""
    OTHER_WEIGHTS = "other-weights"
    """A file is registered that is not the protocol's."""
    NOT_AVAILABLE = "not-available"
    """The data lack what it needs, such as a mask or a head model."""
    NO_EARLIER = "no-earlier-frame"
    """A frame has none before it; it does not count as missing."""
    UNDEFINED = "undefined"
    """The metric has no value for this frame, such as one in which nothing is seen."""
    OTHER = "other"
    """What a file of an older layout says in other words."""


@dataclass(frozen=True)
class Absent:
    """Why there is no value.

    Example:
        >>> protocol = load_protocol("headbench@1")
        >>> Scores.of(protocol, [FrameScore("a", {"psnr": 30.0})]).why("edges")
        Absent(kind=<AbsentKind.NOT_IN_PROTOCOL: 'not-in-protocol'>, text='n/a (not part of headbench@1)')
    """

    kind: AbsentKind
    text: str
    """What a table shows in place of a number: ``n/a (weights missing: bench assets fetch lpips)``."""
