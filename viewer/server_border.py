"""Border of a split picture that can be dragged: an invisible box before the page's camera, where the border is."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from headbench.viewer.client import Client
from headbench.viewer.client_look import NOTHING, SPLIT, Look

if TYPE_CHECKING:
    import viser

__all__ = ["Border"]

_GRIP = 24
"""Width of the part of the page that takes hold of the border, in pixels."""
_DISTANCE = 0.1
"""Distance of the box from the camera, in metres: nothing else stands in the page's scene."""


class Border:
    """Handle of the border on one page; the picture below it has the line.

    Args:
        handle: viser's handle of the page.
        client: whose border moves.
    """

    def __init__(self, handle: viser.ClientHandle, client: Client) -> None:
        self._handle, self._client = handle, client
        self._box: Any = None
        self._placed: object = None

    def refresh(self) -> None:
        """Put the box where the border is, or take it away where nothing is split."""
        look = self._client.look
        if look.against == NOTHING or look.layout != SPLIT:
            if self._box is not None:
                self._box.remove()
                self._box = self._placed = None
            return
        if self._placed == (look.camera, look.border):
            return
        self._placed = (look.camera, look.border)
        if self._box is None:
            self._box = self._made()
        place, size = _pose(look)
        with self._handle.atomic():
            self._box.wxyz = look.camera.wxyz
            self._box.position = place
            self._box.dimensions = size

    def _made(self) -> Any:
        box = self._handle.scene.add_box(
            "/border", color=(96, 96, 96), opacity=0.0, cast_shadow=False, receive_shadow=False
        )

        async def dragged(event: Any) -> None:
            self._client.change(border=min(max(float(event.end_screen_pos[0]), 0.0), 1.0))
            self.refresh()

        box.on_drag("left")(dragged)
        return box


def _pose(look: Look) -> tuple[np.ndarray, tuple[float, float, float]]:
    """Place (3,) in the world and size of the box, in metres."""
    page = look.camera
    high = 2 * math.tan(page.fov / 2) * _DISTANCE
    wide = high * page.width / page.height
    w2c = page.camera(page.width, page.height).w2c[0].double().numpy()
    seen = np.array([(look.border - 0.5) * wide, 0.0, _DISTANCE])
    return w2c[:3, :3].T @ (seen - w2c[:3, 3]), (high * _GRIP / page.height, high, high / 1000)
