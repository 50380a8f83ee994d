"""Poses of one avatar that were drawn last, with what was made of them, so that moving cameras pose nothing anew."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from headbench.harness.avatar import Avatar
from headbench.harness.types import Camera, Gaussians, HeadParams

if TYPE_CHECKING:
    from torch import Tensor

    from headbench.harness.session import Session
    from headbench.harness.session.drawn import Drawn

__all__ = ["KEPT", "Posed", "Poses"]

KEPT = 2
"""Number of poses of an avatar that are kept: one that is shown, and one of another page or of before."""


@dataclass
class Posed:
    """An avatar in one pose; Gaussians and mesh are made when they are first asked for."""

    session: Session
    params: HeadParams
    """Pose, B = 1, on the host."""
    _gaussians: Gaussians | None = None
    _mesh: Tensor | None = None
    _drawn: int = 0

    @property
    def gaussians(self) -> Gaussians:
        """The Gaussians of the pose, on the session's device."""
        if self._gaussians is None:
            self._gaussians = self.session.gaussians(self.params)
        return self._gaussians

    def mesh(self, tracked: Callable[[HeadParams], Tensor]) -> Tensor:
        """Vertices (V, 3) of the mesh that carries the Gaussians, on the host; of the tracked one where none does.

        Args:
            tracked: poses the head model as it was tracked, (V, 3) on the host.
        """
        if self._mesh is None:
            found = self.session.carrier(self.params)
            self._mesh = tracked(self.params) if found is None else found[0].cpu()
        return self._mesh

    def points(self) -> Tensor | None:
        """Centres (N, 3) of the Gaussians, on the host; None of an avatar that shows pictures."""
        if not isinstance(self.session.loaded.portrait, Avatar):
            return None
        means = self.gaussians.means
        return (means[0] if means.ndim == 3 else means).cpu()

    def draw(self, camera: Camera, background: str) -> Drawn:
        """The picture of the pose, which may be on its way (see `Session.draw`).

        Gaussians are kept of a pose that is drawn again; where posing is no replay, of every pose.

        Args:
            camera: B = 1.
            background: white, black or green.
        """
        self._drawn += 1
        keep = self.session.draws_gaussians and (self._drawn > 1 or not self.session.replays)
        return self.session.draw(self.gaussians if keep else self.params, camera, background)


class Poses:
    """The last poses of one avatar; used by one thread at a time.

    Args:
        session: of the avatar.
    """

    def __init__(self, session: Session) -> None:
        self._session = session
        self._kept: OrderedDict[object, Posed] = OrderedDict()

    def at(self, frame: int, values: Mapping[str, float], pose: Callable[[], HeadParams]) -> Posed:
        """The avatar in a frame's pose with controls moved away from it.

        Args:
            frame: index in the timeline.
            values: controls that were moved, by name.
            pose: makes the head parameters, B = 1, on the host, where they are not kept.
        """
        key = (frame, frozenset(values.items()))
        found = self._kept.get(key)
        if found is None:
            while len(self._kept) >= KEPT:
                self._kept.popitem(last=False)
            found = self._kept[key] = Posed(self._session, pose())
        self._kept.move_to_end(key)
        return found
