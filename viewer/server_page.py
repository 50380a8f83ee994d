"""Pages in browsers, through viser: pictures go there, cameras come back."""

from __future__ import annotations

import contextlib
import math
import threading
import time
from typing import TYPE_CHECKING

import numpy as np

from headbench.viewer.client_camera import PageCamera, Placed

if TYPE_CHECKING:
    import viser

    from headbench.viewer.loop_picture import Picture

__all__ = ["ViserPage", "camera_of"]

MOVING, RESTING = 85, 95
"""Quality of JPEGs while something moves, and at rest."""
PATIENCE = 5.0
"""Seconds that a page may take to acknowledge before it is asked again."""
SETTLING = 1.5
"""Seconds after a page has taken a camera in which it may still tell of the one before."""
_SIZES = (16, 8192)
"""Limits of a canvas's sides in pixels."""
SAME = 1e-3
"""Difference of two cameras' places (metres) and directions below which they are the same."""


class ViserPage:
    """One page in a browser.

    Args:
        handle: viser's handle of the page.
    """

    def __init__(self, handle: viser.ClientHandle) -> None:
        self.handle = handle
        self._set: Placed | None = None
        self._taken_at = math.inf
        self._settled = True

    def show(self, picture: Picture, resting: bool) -> float:
        """Send a picture (see `Page.show`)."""
        begun = time.perf_counter()
        quality = RESTING if resting else MOVING
        self.handle.scene.set_background_image(picture.image, format="jpeg", jpeg_quality=quality)
        spent = (time.perf_counter() - begun) * 1e3
        # viser would gather messages for a sixtieth of a second.
        self.handle.flush()
        return spent

    def acknowledged(self) -> None:
        """Wait until the page has taken all that was sent before (see `Page.acknowledged`).

        A page handles messages in their order: an answer to a question that follows a picture says that it is there.
        """
        while True:
            try:
                self.handle.local_storage.get_item("headbench", timeout=PATIENCE)
            except TimeoutError:
                continue
            except RuntimeError as error:
                # Browsers that keep no storage for the page answer with an error, and that is an answer, too.
                if "disconnected" in str(error):
                    raise ConnectionError("the page is gone") from error
            return

    def place(self, placed: Placed) -> None:
        """Move the page's camera."""
        self._set, self._taken_at, self._settled = placed, math.inf, False
        camera = self.handle.camera
        with self.handle.atomic():
            camera.up_direction = placed.up
            camera.position = placed.position
            camera.look_at = placed.look_at
            camera.fov = placed.fov
        self.handle.flush()
        threading.Thread(target=self._wait_for, args=(placed,), name="viewer-placed", daemon=True).start()

    def moved(self, seen: PageCamera) -> bool:
        """Whether the person at the page moved its camera away from where it was placed."""
        if self._set is None:
            return True
        forward = self._set.look_at - self._set.position
        forward = forward / np.linalg.norm(forward)
        axis = seen.camera(16, 16).w2c[0, 2, :3].double().numpy()
        same = np.abs(np.asarray(seen.position) - self._set.position).max() < SAME
        same = bool(same and np.abs(axis - forward).max() < SAME)
        if same:
            self._settled = True
        if self._settled or time.monotonic() - self._taken_at > SETTLING:
            return not same
        return False

    def _wait_for(self, placed: Placed) -> None:
        """Note when the page has taken a camera: one that loads does so late, and tells of another until then."""
        with contextlib.suppress(ConnectionError):
            self.acknowledged()
            if self._set is placed:
                self._taken_at = time.monotonic()


def camera_of(handle: viser.CameraHandle) -> PageCamera | None:
    """Camera of a page as it is now; None where it tells of one that cannot be."""
    w, x, y, z = (float(value) for value in handle.wxyz)
    px, py, pz = (float(value) for value in handle.position)
    width, height = (min(max(int(size), _SIZES[0]), _SIZES[1]) for size in (handle.image_width, handle.image_height))
    fov = float(handle.fov)
    if (
        not np.isfinite([w, x, y, z, px, py, pz, fov]).all()
        or not 0.01 < fov < 3.0
        or w * w + x * x + y * y + z * z < 0.5
    ):
        return None
    return PageCamera((w, x, y, z), (px, py, pz), fov, width, height)
