"""Reasons why a metric has no value: a kind for programs and a text for tables. Needs no torch."""

from __future__ import annotations

import enum
from dataclasses import dataclass

__all__ = ["Absent", "AbsentKind"]


class AbsentKind(enum.StrEnum):
    """Kinds of reasons why a metric has no value, as score files store them.

    Example:
        >>> AbsentKind("no-weights") is AbsentKind.NO_WEIGHTS
        True
    """

    NOT_IN_PROTOCOL = "not-in-protocol"
    NOT_ASKED = "not-asked"
    """The protocol has the metric, but the caller of the scoring asked for others only."""
    SLOW_ON_CPU = "slow-on-cpu"
    NO_WEIGHTS = "no-weights"
    """A file that the metric needs, a network's weights or another asset, is not registered."""
    OTHER_WEIGHTS = "other-weights"
    """The registered weights are not those that the protocol names by their hash."""
    NOT_AVAILABLE = "not-available"
    """The data lack what the metric needs, such as a mask or a usable head model."""
    NO_EARLIER = "no-earlier-frame"
    """A metric of frame pairs, at a frame that has no earlier one in its sequence; it does not count as missing."""
    NO_VIEWS = "no-views"
    """The data lack the set of views that the protocol scores, such as those from all around the head."""
    TOO_FEW = "too-few-pixels"
    """A frame shows too little of what the metric looks at; it does not count as missing."""
    UNDEFINED = "undefined"
    """The metric has no value for this frame, such as one in which nothing is seen."""
    OTHER = "other"
    """Any other reason, read from a score file of an older layout."""

    @property
    def counts(self) -> bool:
        """Whether a frame without a value for this reason lacks one that it could have, so that there is no mean."""
        return self not in (AbsentKind.NO_EARLIER, AbsentKind.TOO_FEW)


@dataclass(frozen=True)
class Absent:
    """Why a metric has no value.

    Example:
        >>> protocol = load_protocol("headbench@1")
        >>> Scores.of(protocol, [FrameScore("a", {"psnr": 30.0})]).why("edges")
        Absent(kind=<AbsentKind.NOT_IN_PROTOCOL: 'not-in-protocol'>, text='n/a (not part of headbench@1)')
    """

    kind: AbsentKind
    text: str
    """Text that a table prints in place of a number: ``n/a (weights missing: bench assets fetch lpips)``."""
