"""Store of training frames on the device: decoded once in the background, sampled without waiting for the host."""

from __future__ import annotations

import os
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace

import torch
from torch import Tensor
from torch.nn import functional

from headbench.harness.errors import DataError
from headbench.harness.image import composite
from headbench.harness.kernels import kernels
from headbench.harness.train.packed_rows import PackedRows
from headbench.harness.types import Batch, Camera, Frame, HeadParams, Pixels

__all__ = ["BACKGROUNDS", "FrameStore", "epoch_order"]

BACKGROUNDS = {"white": (1.0, 1.0, 1.0), "black": (0.0, 0.0, 0.0), "green": (0.0, 1.0, 0.0)}

_DEVICE_SHARE = 0.6
"""Share of free device memory that frames may take; a larger subject stays in host memory and is copied per step."""


def epoch_order(count: int, seed: int, epoch: int) -> Tensor:
    """The order of frames in an epoch, (count,) int64; seed and epoch alone decide it, so resuming needs no state."""
    generator = torch.Generator().manual_seed(seed * 1_000_003 + epoch)
    return torch.randperm(count, generator=generator)


class FrameStore:
    """All frames of a subject as uint8, filled as they are first touched; decoding runs ahead in threads.

    Args:
        frames: at least one, in any order; rows are their positions.
        device: where batches are wanted.
        size: (width, height) of the training images in pixels; None keeps the first frame's.
        masks: names of masks that every frame must have.
        order: rows in the order in which they are decoded ahead; None: as they lie.
        weight: one of `masks` that becomes `Batch.weight`, such as a generated view's confidence; None weighs all
            pixels alike.

    Raises:
        DataError: an image cannot be read or its size differs from its camera's (when first touched).
    """

    def __init__(
        self,
        frames: Sequence[Frame],
        device: torch.device,
        size: tuple[int, int] | None = None,
        masks: Sequence[str] = (),
        order: Sequence[int] | None = None,
        weight: str | None = None,
    ) -> None:
        if not frames:
            raise DataError("A subject without training frames cannot be trained.")
        first = frames[0].camera
        self.width, self.height = size or (first.width, first.height)
        self.frames = tuple(frames)
        self.device = device
        self.mask_names = tuple(masks)
        self._weight = None if weight is None else 1 + self.mask_names.index(weight)
        self.params = HeadParams.join([f.params for f in frames]).to(device)
        cameras = [f.camera.resized(self.width, self.height) for f in frames]
        self.cameras = Camera.join(cameras).to(device)
        self._rows = PackedRows({"params": self.params, "camera": self.cameras})
        channels = 4 + len(self.mask_names)
        shape = (len(frames), channels, self.height, self.width)
        self.resident = _fits(shape, device)
        """Whether all frames lie on the device."""
        where = device if self.resident else torch.device("cpu")
        pin = not self.resident and device.type == "cuda"
        self._pixels = torch.empty(shape, dtype=torch.uint8, device=where, pin_memory=pin)
        self._missing = set(range(len(frames)))
        self._pool = ThreadPoolExecutor(max_workers=min(8, os.cpu_count() or 1))
        ahead = order if order is not None else range(len(frames))
        self._futures: dict[int, Future[Tensor]] = {i: self._pool.submit(self._decode, i) for i in ahead}

    def __len__(self) -> int:
        return len(self.frames)

    def close(self) -> None:
        """Stop decoding; frames already touched stay."""
        self._pool.shutdown(wait=False, cancel_futures=True)

    def touch(self, rows: Sequence[int]) -> None:
        """Make sure that `rows` are decoded and on their way to the device. Waits only at a first touch."""
        for row in self._missing.intersection(rows):
            future = self._futures.pop(row, None)
            packed = future.result() if future is not None else self._decode(row)
            self._pixels[row].copy_(packed, non_blocking=True)
            self._missing.discard(row)

    def batch(self, index: Tensor, rows: Sequence[int], background: Tensor, tag: str = "train") -> Batch:
        """The frames of `rows` as a batch, composited on `background`.

        Args:
            index: (B,) int64, equal to `rows`, on the device.
            rows: positions of B frames, on the host.
            background: (B, 3) in [0, 1], on the device.
            tag: becomes `Batch.tag`: which kind of step the batch is for.
        """
        self.touch(rows)
        if self.resident:
            batch = self.resident_batch(index, background, tag)
        else:
            packed = self._pixels[list(rows)].to(self.device, non_blocking=True)
            batch = self._compose(*_composed(packed, background), index, background, tag)
        return replace(batch, frame_ids=self.ids(rows))

    def ids(self, rows: Sequence[int]) -> tuple[str, ...]:
        """Ids of the frames at `rows`."""
        return tuple(self.frames[row].id for row in rows)

    def resident_batch(self, index: Tensor, background: Tensor, tag: str = "train") -> Batch:
        """A batch of decoded frames by device work alone, so that it can be recorded; it has no frame ids.

        Args:
            index: (B,) int64 rows on the device, touched before; the store must be `resident`.
            background: (B, 3) in [0, 1], on the device.
            tag: becomes `Batch.tag`.
        """
        fused = kernels("compose", self._pixels.device)
        if fused is not None and background.dtype == torch.float32:
            image, planes = fused.fused_compose(self._pixels, index, background)
        else:
            image, planes = _composed(self._pixels.index_select(0, index), background)
        return self._compose(image, planes, index, background, tag)

    def _compose(self, image: Tensor, planes: Tensor, index: Tensor, background: Tensor, tag: str) -> Batch:
        """Make a batch without frame ids.

        Args:
            image: (B, 3, H, W) on the background.
            planes: (B, 1 + M, H, W) in [0, 1]: alpha, M masks.
            index: (B,) int64 rows of the frames.
            background: (B, 3) in [0, 1].
            tag: becomes `Batch.tag`.
        """
        return Batch(
            **self._rows.rows(index),
            image=image,
            alpha=planes[:, :1],
            background=background,
            frame_ids=(),
            masks={name: planes[:, 1 + k : 2 + k] for k, name in enumerate(self.mask_names)},
            tag=tag,
            index=index,
            weight=None if self._weight is None else planes[:, self._weight : self._weight + 1],
        )

    def _decode(self, row: int) -> Tensor:
        frame = self.frames[row]
        pixels = frame.pixels()
        planes = [pixels.colour, pixels.alpha, *self._masks(frame, pixels)]
        expected = (frame.camera.height, frame.camera.width)
        for plane in planes:
            if tuple(plane.shape[1:]) != expected:
                raise DataError(
                    f"Frame {frame.id}: the camera is for {expected[1]} x {expected[0]} pixels, "
                    f"the image or a mask has {plane.shape[2]} x {plane.shape[1]}."
                )
        packed = torch.cat(planes)
        if expected != (self.height, self.width):
            packed = _resample(packed, self.width, self.height)
        return packed

    def _masks(self, frame: Frame, pixels: Pixels) -> list[Tensor]:
        missing = [name for name in self.mask_names if name not in pixels.masks]
        if missing:
            raise DataError(f"Frame {frame.id} has no mask {missing[0]!r}, which the method's losses need.")
        return [pixels.masks[name] for name in self.mask_names]


def _composed(packed: Tensor, background: Tensor) -> tuple[Tensor, Tensor]:
    """Composite pixels (B, 4 + M, H, W) uint8 on colours (B, 3): images, and alpha with masks in [0, 1]."""
    pixels = packed.to(torch.float32).mul_(1 / 255)
    return composite(pixels[:, :3], pixels[:, 3:4], background), pixels[:, 3:]


def _fits(shape: tuple[int, ...], device: torch.device) -> bool:
    if device.type != "cuda":
        return True
    free, _ = torch.cuda.mem_get_info(device)
    bytes_needed = 1
    for side in shape:
        bytes_needed *= side
    return bytes_needed < _DEVICE_SHARE * free


def _resample(packed: Tensor, width: int, height: int) -> Tensor:
    """Resample (4 + M, H, W) uint8 in premultiplied colour, so that no hidden colour bleeds in at the silhouette."""
    planes = packed.to(torch.float32) / 255
    premultiplied = torch.cat([planes[:3] * planes[3:4], planes[3:]])
    small = functional.interpolate(
        premultiplied[None], size=(height, width), mode="bilinear", antialias=True, align_corners=False
    )[0]
    colour = small[:3] / small[3:4].clamp(min=1 / 512)
    return torch.cat([colour, small[3:]]).clamp_(0, 1).mul_(255).round_().to(torch.uint8)
