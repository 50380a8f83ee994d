"""The images of a hidden view, drawn in order and checked before anything encodes them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray

from headbench.harness.errors import BenchError
from headbench.harness.image import to_uint8
from headbench.harness.plugins import HiddenView, SubmissionTask
from headbench.harness.train.frames import BACKGROUNDS

if TYPE_CHECKING:
    from headbench.harness.avatar import Portrait
    from headbench.harness.splat import Rasterizer

__all__ = ["CHUNK", "draw_view"]

CHUNK = 8
"""Images that are copied from the device at once, so that it waits for the host once in so many."""

Pixels = NDArray[np.uint8]


def draw_view(
    portrait: Portrait, rasterizer: Rasterizer, view: HiddenView, task: SubmissionTask, device: torch.device
) -> Iterator[Pixels]:
    """Images of a view in order, (n, H, W, 3) sRGB with n up to `CHUNK`, rounded to 8 bit, in the task's size.

    Raises:
        BenchError: an image has another shape than the camera says, or values that are not finite; it names the frame.
    """
    camera = view.camera.resized(task.width, task.height).to(device)
    params = view.params.to(device)
    background = torch.tensor([BACKGROUNDS[task.background]], device=device)
    expected = (1, 3, task.height, task.width)
    for start in range(0, len(view.frame_ids), CHUNK):
        rows = range(start, min(start + CHUNK, len(view.frame_ids)))
        images, finite = [], []
        with torch.no_grad():
            for row in rows:
                image = portrait.render(params.rows(slice(row, row + 1)), camera, background, rasterizer)
                if tuple(image.shape) != expected:
                    raise BenchError(
                        f"{_place(view, row)}: render() gave shape {tuple(image.shape)}, expected {expected}."
                    )
                finite.append(torch.isfinite(image).all())
                images.append(to_uint8(image[0]).permute(1, 2, 0))
            good = torch.stack(finite).tolist()
        if not all(good):
            raise BenchError(
                f"{_place(view, rows[good.index(False)])}: the render has values that are not finite (NaN or infinite)."
            )
        yield torch.stack(images).cpu().numpy()


def _place(view: HiddenView, row: int) -> str:
    return f"{view.subject}/{view.sequence}, camera {view.camera_id}, frame {view.frame_ids[row]}"
