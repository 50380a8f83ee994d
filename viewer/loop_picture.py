"""Pictures of what a page looks at: posed, rendered, compared and fitted to its canvas."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import cast

import numpy as np

from headbench.harness.train.frames import BACKGROUNDS
from headbench.harness.types import Camera, HeadParams
from headbench.viewer.client_camera import fitted, size_of
from headbench.viewer.client_look import BESIDE, ERROR, NOTHING, TRUTH, Look
from headbench.viewer.loop_posed import Poses
from headbench.viewer.loop_timing import Times
from headbench.viewer.overlay import Kind, Overlay
from headbench.viewer.pictures import Rgb8, beside, error_picture, split, truth_picture
from headbench.viewer.server_avatars import Shown, Timeline

__all__ = ["QUARTER", "Painter", "Picture", "filled"]

QUARTER = 4
"""Part of a picture's sides that is rendered while something moves."""


@dataclass(frozen=True)
class Picture:
    """Picture of a page with the times that it took."""

    image: Rgb8
    """(H, W, 3), in the proportions of the page's canvas."""
    times: Times


class Painter:
    """Renders what pages look at; used by one thread at a time.

    Args:
        avatars: that may be looked at.
        timeline: frames that pose them.
        longest: limit of the longer side of a picture in pixels.
    """

    def __init__(self, avatars: Sequence[Shown], timeline: Timeline, longest: int) -> None:
        self.avatars, self.timeline, self.longest = avatars, timeline, longest
        self._overlays: dict[int, Overlay] = {}
        self._poses = [Poses(shown.session) for shown in avatars]
        self._truth = lru_cache(maxsize=16)(self._read_truth)

    def paint(self, look: Look, part: int = 1) -> Picture:
        """Render what a page looks at.

        Args:
            look: what it looks at.
            part: 1 for the full size; `QUARTER` while something moves.

        Raises:
            BenchError: a picture cannot be made.
        """
        begun, spent = time.perf_counter(), Times()
        image = self._whole(look, part, spent)
        whole = (time.perf_counter() - begun) * 1e3
        return Picture(image, Times(spent.drive, max(whole - spent.drive - spent.read, 0.0), spent.read))

    def overlay(self, avatar: int) -> Overlay:
        """What can be drawn over an avatar's pictures.

        Args:
            avatar: its index.
        """
        found = self._overlays.get(avatar)
        return found or self._overlays.setdefault(avatar, Overlay.of(self.avatars[avatar].session.loaded))

    def pose(self, look: Look, avatar: int) -> HeadParams:
        """Head parameters of an avatar as a page poses it, B = 1, on the host.

        Args:
            look: gives the frame and the controls that were moved.
            avatar: its index.
        """
        base = self.timeline.poses[avatar][look.frame].params
        if not look.values:
            return base
        posing = self.avatars[avatar].posing
        # Another avatar may have controls that this one's method does not use, such as eyelids.
        known = {control.name for control in posing.controls}
        return posing.params_of({name: value for name, value in look.values.items() if name in known}, base)

    def camera(self, look: Look, part: int = 1, columns: int = 1) -> Camera:
        """Camera of a page's picture, B = 1, on the host.

        Args:
            look: what the page looks at.
            part: 1 for the full size; `QUARTER` while something moves.
            columns: number of pictures that share the canvas's width.
        """
        page = look.camera
        if not look.exact:
            width, height = size_of(page.width, page.height, self.longest, part)
            return page.camera(max(width // columns, 1), height)
        frame = self.timeline.poses[look.avatar][look.frame].camera
        if look.against in (TRUTH, ERROR):
            # As it is scored, so that pixels of both pictures are the same places.
            return fitted(frame, size_of(frame.width, frame.height, self.longest), part)
        width, height = size_of(page.width, page.height, self.longest)
        return fitted(frame, (max(width // columns, 1), height), part)

    def _whole(self, look: Look, part: int, spent: Times) -> Rgb8:
        page = look.camera
        if look.against == NOTHING:
            image = self._avatar(look, look.avatar, self.camera(look, part), spent)
            return filled(image, page.width / page.height, look.background)
        columns = 2 if look.layout == BESIDE else 1
        camera, aspect = self.camera(look, part, columns), page.width / columns / page.height
        left = self._avatar(look, look.avatar, camera, spent)
        right = self._other(look, left, camera, spent)
        one, other = (filled(image, aspect, look.background) for image in (left, right))
        return beside([one, other]) if look.layout == BESIDE else split(one, other, look.border)

    def _other(self, look: Look, left: Rgb8, camera: Camera, spent: Times) -> Rgb8:
        """What is compared with: another avatar's picture, the frame's image, or the difference to it."""
        if look.against not in (TRUTH, ERROR):
            index = [shown.label for shown in self.avatars].index(look.against)
            return self._avatar(look, index, camera, spent)
        truth = self._truth(look.frame, look.background, camera.width, camera.height)
        return truth if look.against == TRUTH else error_picture(truth, left)

    def _read_truth(self, frame: int, background: str, width: int, height: int) -> Rgb8:
        return truth_picture(self.timeline.frames[frame], background, width, height)

    def _avatar(self, look: Look, index: int, camera: Camera, spent: Times) -> Rgb8:
        """An avatar's picture (H, W, 3), with what is drawn over it.

        Args:
            look: pose, background and overlay.
            index: of the avatar.
            camera: of the picture, B = 1, on the host.
            spent: the times of driving and reading back are added to it.
        """
        shown = self.avatars[index]
        posed = self._poses[index].at(look.frame, look.values, lambda: self.pose(look, index))
        shown.timed.begin()
        drawn = posed.draw(camera, look.background)
        shown.timed.end()
        image = drawn.read()
        times = shown.timed.times()
        spent.drive, spent.read = spent.drive + times.drive, spent.read + times.read
        if look.overlay == NOTHING:
            return image
        overlay, kind = self.overlay(index), cast(Kind, look.overlay)
        mesh = posed.mesh(overlay.tracked)
        return overlay.draw(kind, image, mesh, camera, posed.points() if kind == "points" else None)


def filled(image: Rgb8, aspect: float, background: str) -> Rgb8:
    """Widen or heighten a picture (H, W, 3) to proportions with a background, since a page stretches it to its canvas.

    Args:
        image: stays in the middle.
        aspect: width by height of the result.
        background: white, black or green.
    """
    height, width = image.shape[:2]
    wide, high = max(width, round(height * aspect)), max(height, round(width / aspect))
    if (wide, high) == (width, height):
        return image
    whole = np.empty((high, wide, 3), np.uint8)
    whole[:] = [round(255 * value) for value in BACKGROUNDS[background]]
    top, left = (high - height) // 2, (wide - width) // 2
    whole[top : top + height, left : left + width] = image
    return whole
