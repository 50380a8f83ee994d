"""Avatar that is exported, as all formats see it."""

from __future__ import annotations

from dataclasses import dataclass

from headbench.export.poses import Pose
from headbench.harness.session import Session

__all__ = ["Source"]


@dataclass(frozen=True)
class Source:
    """Avatar that is exported, and how pictures of it look."""

    session: Session
    background: str = "white"
    """Colour behind the head in videos: white, black or green."""
    fps: int = 25
    """Frames per second of videos and recorded clips."""
    fit: bool = False
    """True: a page of an avatar that networks move holds a linear fit of it; False: a clip of its final Gaussians."""
    fitting: tuple[Pose, ...] = ()
    """Training frames, where `fit` asks for them."""
    may_share: bool = False
    """True where the user has permission to pass on the bases of a head model whose licence forbids it."""
