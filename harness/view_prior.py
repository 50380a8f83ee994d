"""Base class of view priors, which show a head from where no camera stood, and what they get and give."""

from __future__ import annotations

import abc
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal, get_args

from headbench.harness.avatar import Section

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from headbench.harness.splat import Rasterizer
    from headbench.harness.train import LoadedPortrait
    from headbench.harness.types import Camera, HeadParams, TrainView

__all__ = ["EXPRESSIONS", "Expression", "PseudoView", "ViewPrior", "ViewWork"]

Expression = Literal["canonical", "neutral"]
"""Name of the expression that a view shows."""

EXPRESSIONS: tuple[str, ...] = get_args(Expression)


@dataclass(frozen=True)
class PseudoView:
    """Picture of a head with all joints at rest that a prior made, with its matte, camera and confidence."""

    name: str
    """Name of the view, unique among a prior's views and safe as a file name."""
    image: Tensor
    """(3, H, W) float32 colour in [0, 1], sRGB, not composited: where the matte is 0 it means nothing."""
    matte: Tensor
    """(1, H, W) float32 coverage by the head in [0, 1]."""
    confidence: Tensor
    """(1, H, W) float32 in [0, 1]: how far each pixel, of head or background, is to be trusted."""
    camera: Camera
    """Camera of the picture, B = 1, in the frame of the head at zero pose, metres."""
    expression: Expression = "canonical"
    """Expression that the picture shows: the mean of the training frames (canonical), or that of coefficients 0."""


@dataclass(frozen=True)
class ViewWork:
    """Input of a prior: a trained portrait, the training frames, and the head in the pose of its views."""

    parent: LoadedPortrait
    """The portrait that is to be completed, with identity, configuration and refined per-frame parameters; its class
    has the capability `OnSurface`."""
    data: TrainView
    """The training frames."""
    params: HeadParams
    """Canonical pose that the views show, B = 1: mean training expression, all joints and the translation zero."""
    vertices: Tensor
    """(V, 3) the mesh that carries the portrait's Gaussians, in that pose; metres. Its faces are the head's."""
    rasterizer: Rasterizer
    config: Any
    """The prior's options, of its `config_type`."""
    source: Path | None
    """File or folder of the user's that the prior reads, as its spec says; None where it reads none."""
    scratch: Path
    """A folder for the prior's own files."""
    cameras: Mapping[str, Camera]
    """Cameras that are wanted, B = 1 each, by name of view, the frontal one first; a prior may give other views."""
    seed: int
    device: torch.device
    progress: Callable[[Mapping[str, Any]], None]
    """Callback that receives what the prior reports of its progress."""


class ViewPrior(abc.ABC):
    """Base of all view priors: gives views of a head by `make`. The class is instantiated without arguments."""

    config_type: ClassVar[type[Section]] = Section
    """Type of the prior's options; unknown ones are errors."""

    @abc.abstractmethod
    def make(self, work: ViewWork) -> Sequence[PseudoView]:
        """Make views of the head in its canonical pose.

        The caller checks number, sizes, values, mattes and cameras. Random numbers come from `work.seed` alone.

        Args:
            work: the prior's input.

        Returns:
            the views, all of one size, in any order.

        Raises:
            BenchError: anything that the user can mend.
        """
