"""A feed-forward network of the user's over a map, through OpenCV, which is an optional extra."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from headbench.harness.errors import BenchError
from headbench.harness.reading import Unreadable, open_regular
from headbench.stages.edit.entries import Network

__all__ = ["OFFICIAL", "restyled", "run_network"]

OFFICIAL: dict[str, object] = {"order": "rgb", "means": (103.939, 116.779, 123.68), "rounding": "truncate"}
"""Options as in FATE's released editor: the means are those of BGR and are taken from RGB, and both conversions to
whole numbers cut."""
_EXTRA = "pip install 'headbench[style]'"


def run_network(path: Path, colour: Tensor, options: Network) -> Tensor:
    """Colours (3, S, S) in [0, 1] after a network of the user's.

    Args:
        path: a Torch7 (``.t7``) or ONNX file that gives pictures for pictures (1, 3, H, W) in 0 to 255.
        colour: (3, S, S) in [0, 1], row 0 first.
        options: order of channels, means and rounding.

    Raises:
        BenchError: OpenCV is not installed or cannot read such files, or what the network gives is no picture.
        Unreadable: the file is no network.
    """
    network = _opened(path)

    def forward(blob: NDArray[np.float32]) -> NDArray[np.float32]:
        import cv2

        try:
            network.setInput(blob)
            return np.asarray(network.forward(), np.float32)
        except cv2.error as error:
            shape = " x ".join(map(str, blob.shape))
            raise Unreadable(
                path, f"found a network that takes no picture of {shape} values", "bake maps of its size"
            ) from error

    return restyled(forward, colour, options, path)


def restyled(forward: Any, colour: Tensor, options: Network, path: Path = Path("network")) -> Tensor:
    """Colours (3, S, S) of a map through a network: means are taken away before, and added again after it.

    Args:
        forward: from (1, 3, S, S) float32 to a picture of any size.
        colour: (3, S, S) in [0, 1].
        options: order of channels, means and rounding.
        path: of the network, for messages.

    Raises:
        Unreadable: what the network gives is no picture, or not finite.
    """
    levels = _whole(255 * colour.detach().cpu().clamp(0, 1), options.rounding)
    means = torch.tensor(options.means, dtype=torch.float32).view(3, 1, 1)
    levels = levels if options.order == "rgb" else levels.flip(0)
    found = forward((levels - means)[None].numpy())
    if found.ndim != 4 or found.shape[:2] != (1, 3):
        raise Unreadable(path, f"found a network that gives {' x '.join(map(str, found.shape))} values, not a picture")
    picture = torch.from_numpy(found)[0] + means
    if not bool(torch.isfinite(picture).all()):
        raise Unreadable(path, "found a network that gives values that are not finite (NaN or infinite)")
    picture = _whole(picture.clamp(0, 255), options.rounding) / 255
    picture = picture if options.order == "rgb" else picture.flip(0)
    if picture.shape[1:] != colour.shape[1:]:  # networks that halve and double lose a remainder
        size = (colour.shape[1], colour.shape[2])
        picture = F.interpolate(picture[None], size, mode="bilinear", align_corners=True)[0]
    return picture.to(colour)


def _whole(levels: Tensor, rounding: str) -> Tensor:
    """Levels from 0 to 255 as whole numbers, or as they are."""
    return {"none": levels, "nearest": levels.round(), "truncate": levels.floor()}[rounding]


def _opened(path: Path) -> Any:
    """A network that OpenCV has read."""
    try:
        import cv2
    except ImportError as error:
        raise BenchError("feed-forward networks are read by OpenCV, which is not installed.", help=_EXTRA) from error
    with open_regular(path) as file:
        empty = not file.read(1)
    if path.suffix == ".t7" and not hasattr(cv2.dnn, "readNetFromTorch"):
        raise BenchError(f"OpenCV {cv2.__version__} reads no Torch7 files (.t7); version 4 does.", help=_EXTRA)
    silence = getattr(cv2, "setLogLevel", None)
    if silence is not None:  # what OpenCV itself prints of a strange file helps nobody
        silence(0)
    read = getattr(cv2.dnn, "readNetFromTorch" if path.suffix == ".t7" else "readNetFromONNX")
    try:
        if empty:
            raise Unreadable(path, "found an empty file", "copy it again")
        return read(str(path))
    except cv2.error as error:
        kind = "Torch7" if path.suffix == ".t7" else "ONNX"
        raise Unreadable(path, f"found no {kind} network that OpenCV can read", "export it again as ONNX") from error
