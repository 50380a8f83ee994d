"""The pixels of one frame, decoded when asked for."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from headbench.datasets.insta.images import Source
from headbench.harness.errors import DataError
from headbench.harness.types import Pixels

__all__ = ["LazyMasks", "PixelReader", "read_alpha"]


class LazyMasks(Mapping[str, Tensor]):
    """Masks that are read or drawn when they are looked up, so that a method without need of them pays nothing."""

    def __init__(self, makers: Mapping[str, Callable[[], Tensor]]) -> None:
        self._makers = makers

    def __getitem__(self, name: str) -> Tensor:
        return self._makers[name]()

    def __contains__(self, name: object) -> bool:
        return name in self._makers

    def __iter__(self) -> Iterator[str]:
        return iter(self._makers)

    def __len__(self) -> int:
        return len(self._makers)


@dataclass(frozen=True)
class PixelReader:
    """Reads one frame; the callable of `Frame.pixels`."""

    frame: str
    source: Source
    mouth: Callable[[], Tensor]
    """Gives the mouth mask, (1, H, W) uint8."""

    def __call__(self) -> Pixels:
        """Colour as stored (un-premultiplied) and alpha.

        Raises:
            DataError: a file cannot be decoded.
        """
        colour = _planes(self.source.colour, self.frame)
        alpha = colour[3:4] if self.source.alpha is None else read_alpha(self.source.alpha, self.frame)
        return Pixels(colour[:3].contiguous(), alpha.contiguous(), LazyMasks({"mouth": self.mouth}))


def read_alpha(path: Path, frame: str) -> Tensor:
    """(1, H, W) uint8 from the alpha channel, or from the first channel of a file that has none.

    Raises:
        DataError: the file cannot be decoded.
    """
    planes = _planes(path, frame)
    return planes[3:4] if planes.shape[0] == 4 else planes[:1]


def _planes(path: Path, frame: str) -> Tensor:
    try:
        with Image.open(path) as image:
            values = np.array(image)
    except (OSError, ValueError, SyntaxError) as error:
        raise DataError(
            f"{path} [frame {frame}]: expected an image, found one that cannot be decoded: {error}."
        ) from error
    if values.ndim == 2:
        values = values[:, :, None]
    return torch.from_numpy(values).permute(2, 0, 1)
