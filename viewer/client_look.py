"""What one page looks at: a value that is replaced as a whole, so that a picture is always of one moment."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from headbench.viewer.client_camera import PageCamera

__all__ = ["BESIDE", "ERROR", "NOTHING", "SPLIT", "TRUTH", "Look"]

NOTHING = "nothing"
"""Name of the choice to compare with nothing."""
TRUTH = "ground truth"
"""Name of the dataset's picture of the frame among what may be compared with."""
ERROR = "error map"
"""Name of the difference to the dataset's picture among what may be compared with."""
SPLIT = "split"
"""Layout of two pictures of one view with a border between them."""
BESIDE = "side by side"
"""Layout of two pictures beside each other."""


@dataclass(frozen=True)
class Look:
    """All that a picture of a page depends on."""

    camera: PageCamera
    """The page's camera; it also has the size of its canvas."""
    through: bool = True
    """Whether the frame's own camera is looked through, with the size of its image; otherwise the page's."""
    frame: int = 0
    """Index in the timeline."""
    values: Mapping[str, float] = field(default_factory=dict)
    """Controls that were moved away from the frame's pose, by name."""
    avatar: int = 0
    """Index of the avatar."""
    against: str = NOTHING
    """Label of another avatar, `TRUTH`, `ERROR` or `NOTHING`."""
    layout: str = SPLIT
    border: float = 0.5
    """Place of the border in a split picture as a part of its width."""
    background: str = "white"
    """white, black or green."""
    overlay: str = NOTHING
    """What is drawn over the avatars' pictures."""

    @property
    def exact(self) -> bool:
        """Whether the picture is seen through the frame's camera, as everything has to be that the image is held to."""
        return self.through or self.against in (TRUTH, ERROR)

    @property
    def seen(self) -> Look:
        """What the picture shows of all this: looking through the frame's camera, the page's gives its size alone."""
        return replace(self, camera=self.camera.unposed()) if self.exact else self
