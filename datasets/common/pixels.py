"""Pixels of one frame, decoded when asked for."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from torch import Tensor

from headbench.datasets.common.mattes import MatteFault, level_fault, matte_fault
from headbench.harness.errors import DataError
from headbench.harness.image import planes_of
from headbench.harness.pictures import read_picture
from headbench.harness.reading import Unreadable
from headbench.harness.types import Pixels

__all__ = ["LazyMasks", "PixelReader", "read_alpha", "read_planes"]

_PLANES = {"L": 1, "RGB": 3, "RGBA": 4}


class LazyMasks(Mapping[str, Tensor]):
    """Masks that are read or rasterized when they are looked up, so that a method without need of them pays nothing.

    Args:
        makers: name -> function that gives the mask, (1, H, W) uint8.
    """

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
    """Reads one frame from image files; it is the callable in `Frame.pixels`."""

    frame: str
    """Id of the frame, for messages."""
    colour: Path
    """RGB or RGBA file, un-premultiplied."""
    alpha: Path | None = None
    """File whose alpha channel, or else first channel, is the alpha; None takes the alpha channel of `colour`."""
    masks: Mapping[str, Callable[[], Tensor]] = field(default_factory=dict)
    """Name -> function that gives the mask, (1, H, W) uint8."""

    def __call__(self) -> Pixels:
        """Decode the frame: colour as stored, and alpha.

        Raises:
            DataError: a file cannot be decoded, is not of the channels that it should have, or its alpha cannot be one
                (`matte_fault`), so that nobody trains on it.
        """
        planes = read_planes(self.colour, self.frame)
        if len(planes) < (4 if self.alpha is None else 3):
            raise DataError(f"{self.colour} [frame {self.frame}]: expected RGBA, found {len(planes)} channel(s).")
        alpha = planes[3:4] if self.alpha is None else _alpha_of(read_planes(self.alpha, self.frame))
        _refuse(matte_fault(alpha[0].numpy()), self.alpha or self.colour, self.frame)
        return Pixels(planes[:3], alpha, LazyMasks(self.masks))


def read_alpha(path: Path, frame: str) -> Tensor:
    """Read a mask (1, H, W) uint8 from a file's alpha channel, or from the first channel where it has none.

    Args:
        path: the file.
        frame: id of its frame, for messages.

    Raises:
        DataError: the file cannot be decoded, or holds 0 and 1 or class numbers.
    """
    alpha = _alpha_of(read_planes(path, frame))
    _refuse(level_fault(alpha[0].numpy()), path, frame)
    return alpha


def _alpha_of(planes: Tensor) -> Tensor:
    return planes[3:4] if planes.shape[0] == 4 else planes[:1]


def _refuse(fault: MatteFault | None, path: Path, frame: str) -> None:
    if fault is not None:
        raise DataError(f"{path} [frame {frame}]: {fault.message}", help=fault.help)


def read_planes(path: Path, frame: str) -> Tensor:
    """Decode an 8-bit image of 1, 3 or 4 channels to (C, H, W) uint8; black-and-white files and palettes become 8-bit.

    Args:
        path: the file.
        frame: id of its frame, for messages.

    Raises:
        DataError: the file cannot be decoded, or has another depth.
    """
    try:
        image = read_picture(path)
    except Unreadable as error:
        raise DataError(f"{path} [frame {frame}]: expected an image, {error.found}.", error.help) from error
    plain = image.convert("L") if image.mode == "1" else image.convert("RGB") if image.mode == "P" else image
    if plain.mode not in _PLANES:
        raise DataError(f"{path} [frame {frame}]: expected 8-bit grey, RGB or RGBA, found mode {plain.mode}.")
    return planes_of(plain)
