"""Preview grids: a few training frames beside the avatar's renders of them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from PIL import Image

from headbench.harness.avatar import Avatar
from headbench.harness.files import atomic_path
from headbench.harness.image import to_uint8
from headbench.harness.splat import Rasterizer
from headbench.harness.train.frames import FrameStore

__all__ = ["write_preview"]


@torch.no_grad()
def write_preview(path: Path, avatar: Avatar, store: FrameStore, rows: Sequence[int], rasterizer: Rasterizer) -> None:
    """Write a PNG with one row of pictures per frame: ground truth on white, render, absolute difference.

    Args:
        path: of the PNG; it is written atomically.
        avatar: is rendered.
        store: the training frames.
        rows: positions of the frames in the store, at least one.
        rasterizer: the back end that renders.
    """
    white = torch.ones((1, 3), device=store.device)
    strips = []
    for row in rows:
        batch = store.batch(torch.tensor([row], device=store.device), [row], white)
        shown = avatar.render(batch.params, batch.camera, white, rasterizer).clamp(0, 1)
        strips.append(torch.cat([batch.image, shown, (batch.image - shown).abs()], dim=3)[0])
    grid = to_uint8(torch.cat(strips, dim=1)).permute(1, 2, 0).cpu().numpy()
    with atomic_path(path) as part:
        Image.fromarray(grid).save(part, format="PNG")
