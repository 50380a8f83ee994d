"""Views to render: from around the head, or as a sequence of frames drives it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from headbench.harness.head import load_head
from headbench.harness.session.orbit import orbit
from headbench.harness.session.renderer import View

if TYPE_CHECKING:
    from headbench.harness.train import LoadedPortrait
    from headbench.harness.types import Frame

__all__ = ["driven_views", "orbit_views"]


def orbit_views(loaded: LoadedPortrait, count: int, degrees: float = 360.0) -> Iterator[View]:
    """Views of the first training frame from cameras on a circle about the head, level with that frame's camera.

    Args:
        loaded: a trained portrait.
        count: how many views.
        degrees: angle of the circle; less than 360 swings there and back.

    Example:
        >>> views = orbit_views(open_checkpoint(checkpoint, "cpu").loaded, count=3)
        >>> [view.name for view in views]
        ['00000', '00001', '00002']
    """
    identity = loaded.identity
    head = load_head(identity.head, loaded.config.topology(), device=identity.shape.device)
    centre = head.bind(identity).vertices(identity.first).mean(dim=1)[0]
    for number, camera in enumerate(orbit(identity.camera, centre, count, degrees)):
        yield View(f"{number:05d}", identity.first, camera)


def driven_views(frames: Iterable[Frame]) -> Iterator[View]:
    """Views with the head parameters and the cameras of frames, whose images are not read.

    Example:
        >>> [view.name for view in driven_views(subject.train)]
        ['00000', '00001', '00002']
    """
    for frame in frames:
        yield View(frame.id, frame.params, frame.camera)
