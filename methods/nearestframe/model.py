"""The nearest-frame baseline: it shows the training image whose posed, projected head is nearest."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Self

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from headbench.harness.avatar import Portrait
from headbench.harness.head import HeadModel, SubjectHead, project
from headbench.harness.image import composite, resize_rgba, to_float
from headbench.harness.pictures import read_picture
from headbench.harness.splat import Rasterizer
from headbench.harness.types import Camera, HeadParams, Identity, Pixels, TrainView

from .config import NearestFrameConfig

__all__ = ["NearestFrame"]

_BATCH = 32
"""Number of frames that are projected at once."""


class NearestFrame(Portrait):
    """Portrait that keeps all training images with the projected vertices of their heads and shows the nearest one.

    Its checkpoint needs no dataset. Buffers: points (T, K, 2) in units of the image's width and height; png (bytes,)
    uint8, all images one after the other; offsets (T + 1,) where each starts.

    Args:
        head: the head model bound to the subject.
        config: the number of vertices.
    """

    config_type = NearestFrameConfig
    points: Tensor
    png: Tensor
    offsets: Tensor
    chosen: Tensor

    def __init__(self, head: SubjectHead, config: NearestFrameConfig) -> None:
        super().__init__()
        self.head = head
        device = head.faces.device
        vertices = len(head.base)
        self.register_buffer("chosen", torch.arange(0, vertices, -(-vertices // config.vertices), device=device))
        self.register_buffer("points", torch.zeros(0, len(self.chosen), 2, device=device))
        self.register_buffer("png", torch.zeros(0, dtype=torch.uint8))
        self.register_buffer("offsets", torch.zeros(1, dtype=torch.int64))

    @classmethod
    def create(cls, head: HeadModel, identity: Identity, train: TrainView | None, config: NearestFrameConfig) -> Self:
        """Make a portrait from training frames; without them it has no images until a checkpoint is loaded.

        Args:
            head: the head model.
            identity: of the subject.
            train: the training frames, or None.
            config: the number of vertices.
        """
        portrait = cls(head.bind(identity), config)
        if train is not None:
            portrait._remember(train)
        return portrait

    def resize_for(self, shapes: Mapping[str, torch.Size]) -> None:
        for name in ("points", "png", "offsets"):
            setattr(self, name, getattr(self, name).new_zeros(shapes[name]))

    @torch.no_grad()
    def render(self, params: HeadParams, camera: Camera, background: Tensor, rasterizer: Rasterizer) -> Tensor:
        """Show the nearest training images, resized to the camera's size.

        Args:
            params: B poses.
            camera: B cameras; they have the size of the images.
            background: (B, 3) in [0, 1].
            rasterizer: not used.

        Returns:
            (B, 3, H, W), composited on `background`.
        """
        images = []
        for row, behind in zip(self.nearest(params, camera).tolist(), background, strict=True):
            colour, alpha = resize_rgba(*self._image(row), camera.width, camera.height)
            colour, alpha = to_float(colour).to(behind.device), to_float(alpha).to(behind.device)
            images.append(composite(colour, alpha, behind))
        return torch.stack(images)

    def nearest(self, params: HeadParams, camera: Camera) -> Tensor:
        """Indices (B,) of the training frames whose vertices are nearest on average, in pixels; the first of equals."""
        size = self.points.new_tensor([camera.width, camera.height])
        wanted = self._project(params, camera) * size
        return torch.stack([(self.points * size - one).norm(dim=-1).mean(-1).argmin() for one in wanted])

    def _project(self, params: HeadParams, camera: Camera) -> Tensor:
        vertices = self.head.vertices(params)[:, self.chosen]
        pixels, _ = project(vertices, camera)
        return pixels / pixels.new_tensor([camera.width, camera.height])

    @torch.no_grad()
    def _remember(self, train: TrainView) -> None:
        device = self.points.device
        points = []
        for start in range(0, len(train.frames), _BATCH):
            frames = train.frames[start : start + _BATCH]
            cameras = Camera.join([f.camera for f in frames]).to(device)
            points.append(self._project(HeadParams.join([f.params for f in frames]).to(device), cameras))
        images = [_encode(f.pixels(), train.width, train.height) for f in train.frames]
        self.points = torch.cat(points)
        self.png, self.offsets = _pack(images)

    def _image(self, row: int) -> tuple[Tensor, Tensor]:
        start, end = self.offsets[row : row + 2].tolist()
        content = self.png[start:end].cpu().numpy().tobytes()
        image = read_picture(Path(f"training image {row} of the checkpoint"), content)
        pixels = torch.from_numpy(np.array(image.convert("RGBA"))).permute(2, 0, 1).contiguous()
        return pixels[:3], pixels[3:]


def _encode(pixels: Pixels, width: int, height: int) -> bytes:
    """Encode an image as an RGBA PNG of the given size."""
    colour, alpha = resize_rgba(pixels.colour, pixels.alpha, width, height)
    stream = io.BytesIO()
    Image.fromarray(torch.cat([colour, alpha]).permute(1, 2, 0).contiguous().cpu().numpy()).save(stream, "PNG")
    return stream.getvalue()


def _pack(images: Sequence[bytes]) -> tuple[Tensor, Tensor]:
    ends = np.cumsum([0, *(len(image) for image in images)])
    blob = np.frombuffer(b"".join(images), dtype=np.uint8).copy()
    return torch.from_numpy(blob), torch.from_numpy(ends.astype(np.int64))
