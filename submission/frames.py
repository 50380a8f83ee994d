"""Renders the images of a hidden view in order, checked before anything encodes them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from headbench.harness.plugins.submissions import HiddenView, SubmissionTask
from headbench.harness.session import View

if TYPE_CHECKING:
    from headbench.harness.session import Session

__all__ = ["draw_view"]

Rgb8 = NDArray[np.uint8]


def draw_view(session: Session, view: HiddenView, task: SubmissionTask) -> Iterator[Rgb8]:
    """Render the images of a hidden view in order, (1, H, W, 3) sRGB each, rounded to 8 bit, in the task's size.

    Args:
        session: opened on the person's avatar.
        view: a sequence seen by one camera, without images.
        task: says size and background.

    Raises:
        BenchError: an image has another shape than the camera says, or values that are not finite; it names the frame.
    """
    camera = view.camera.resized(task.width, task.height)
    frames = [
        View(name, view.params.rows(slice(row, row + 1)), camera, _place(view, row))
        for row, name in enumerate(view.frame_ids)
    ]
    for image in session.stream(frames, task.background):
        yield image.permute(1, 2, 0).contiguous().numpy()[None]


def _place(view: HiddenView, row: int) -> str:
    return f"{view.subject}/{view.sequence}, camera {view.camera_id}, frame {view.frame_ids[row]}"
