"""Ground truth as a metric sees it: a batch of frames whose masks and head projection are made when asked for."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

from headbench.harness.errors import DataError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from torch import Tensor

    from headbench.harness.types import Pixels
    from headbench.metrics.prepare import Region

__all__ = ["GroundTruth", "Masks", "Projection", "Projector", "Truth"]


class Projection(NamedTuple):
    """Tracked head mesh, posed by the dataset's parameters and projected into the image; hidden faces are included.

    Example:
        >>> vertices, depth = torch.tensor([[[4.0, 2.0]]]), torch.ones(1, 1)
        >>> projection = Projection(vertices, depth, torch.zeros(0, 3, dtype=torch.int64), width=8, height=8)
        >>> projection.resized(16, 8).vertices
        tensor([[[8., 2.]]])
    """

    vertices: Tensor
    """(B, V, 2) float32 pixels as (x, y); the centre of the first pixel is at (0.5, 0.5)."""
    depth: Tensor
    """(B, V) float32 metres along the optical axis; what is not in front of the camera has meaningless pixels."""
    faces: Tensor
    """(F, 3) int64 rows of `vertices`."""
    width: int
    height: int
    """`width` and `height` are those of the image, in pixels."""

    def resized(self, width: int, height: int) -> Projection:
        """Projection into the image resampled to another size: pixel edges stay at pixel edges."""
        if (width, height) == (self.width, self.height):
            return self
        scale = self.vertices.new_tensor([width / self.width, height / self.height])
        return self._replace(vertices=self.vertices * scale, width=width, height=height)


Projector = Callable[[Sequence[str]], Projection]
"""Function from the ids of frames of one size to the head's projection into them."""


@dataclass(frozen=True)
class GroundTruth:
    """Source of the ground truth of a subject's frames: pixels, sequences and head model.

    Example:
        >>> frames = {frame.id: frame for frame in subject.train}
        >>> truth = GroundTruth(lambda name: frames[name].pixels(), {"00000": "cam0"})
        >>> truth.sequence("00000"), truth.sequence("00001"), truth.pixels("00000").colour.shape
        ('cam0', 'all', torch.Size([3, 32, 32]))
    """

    pixels: Callable[[str], Pixels]
    """Function from frame id to stored pixels; called once per frame, from several threads."""
    sequences: Mapping[str, str] = field(default_factory=dict)
    """Frame id -> name of its sequence, as one camera saw it; frames that are not listed make up one sequence.
    Frames of a sequence are scored in the order of time."""
    head: Callable[[], Projector] | None = None
    """Function that loads the head model; raises MissingAsset where its file is not registered. None: no head."""
    computed: Mapping[str, Callable[[str], Tensor]] = field(default_factory=dict)
    """Name of a mask that the data do not store -> function from frame id to the mask, (1, H, W) uint8; called when a
    metric asks for the mask."""
    has_alpha: bool = True
    """Whether alpha says what the person covers; False where nothing is known of it and it is 255 everywhere."""
    landmarks: Mapping[str, NDArray[np.float64]] = field(default_factory=dict)
    """Frame id -> landmarks (K, 2) as x and y from -1 to 1 from edge to edge of the image; empty without any."""
    lacking: Mapping[str, str] = field(default_factory=dict)
    """Name of a computed mask that cannot be had -> why, as a table shows it."""

    def sequence(self, frame: str) -> str:
        """Name of the sequence that a frame belongs to."""
        return self.sequences.get(frame, "all")


class Masks(NamedTuple):
    """Masks of one frame in the stored size."""

    planes: Mapping[str, Tensor]
    """Mask name -> (1, H, W) uint8, on the CPU."""
    height: int
    width: int
    """`height` and `width` are those of the stored image, in pixels."""
    computed: Mapping[str, Callable[[], Tensor]] = {}
    """Mask name -> function that computes it, of masks that are not stored."""

    def plane(self, name: str, frame: str, width: int, height: int) -> Tensor:
        """One mask as (1, height, width) uint8, resampled as alpha is.

        Args:
            name: of the mask.
            frame: id of the frame, for messages.
            width: that is wanted, in pixels.
            height: that is wanted, in pixels.

        Raises:
            DataError: there is no such mask, or it is not of the image's size.
        """
        from headbench.harness.image import resize_uint8

        mask = self.checked(name, frame)
        return resize_uint8(mask.cpu(), width, height)

    def checked(self, name: str, frame: str) -> Tensor:
        """One mask in the stored size, (1, H, W) uint8.

        Args:
            name: of the mask.
            frame: id of the frame, for messages.

        Raises:
            DataError: there is no such mask, or it is not of the image's size.
        """
        import torch

        if name not in self.planes and name not in self.computed:
            found = ", ".join(sorted({*self.planes, *self.computed})) or "no mask"
            raise DataError(f"Frame {frame}: expected a mask {name}, found {found}.")
        mask = self.computed[name]() if name in self.computed else self.planes[name]
        if mask.dtype != torch.uint8 or tuple(mask.shape) != (1, self.height, self.width):
            raise DataError(
                f"Frame {frame}: expected the mask {name} as (1, {self.height}, {self.width}) uint8, "
                f"found {tuple(mask.shape)} {str(mask.dtype).removeprefix('torch.')}."
            )
        return mask


class Truth:
    """Ground truth of B frames as a metric sees it, on the metric's device.

    Args:
        image: (B, 3, H, W) in [0, 1].
        alpha: (B, 1, H, W) in [0, 1].
        ids: id of each frame.
        sequences: name of the sequence of each frame.
        masks: stored masks of each frame.
        projector: makes the projection; None where there is no head model.
        region: pixels that count; None: all alike.
        bounded: whether the renders that are compared with it lie in [0, 1]; not where a protocol leaves them so.

    Example:
        >>> truth.image.shape, truth.ids, truth.sequences
        (torch.Size([1, 3, 8, 8]), ('00000',), ('all',))
        >>> Truth.pick([(truth, 0), (truth, 0)]).ids
        ('00000', '00000')
    """

    def __init__(
        self,
        image: Tensor,
        alpha: Tensor,
        ids: Sequence[str],
        sequences: Sequence[str],
        masks: Sequence[Masks],
        projector: Projector | None = None,
        region: Region | None = None,
        bounded: bool = True,
    ) -> None:
        self.image = image
        """Images (B, 3, H, W) in [0, 1] on the protocol's background, quantised as the protocol says."""
        self.alpha = alpha
        """Coverage (B, 1, H, W) in [0, 1]."""
        self.ids = tuple(ids)
        self.sequences = tuple(sequences)
        """Name of the sequence of each frame."""
        self.region = region
        """Weights of pixels where a protocol counts some only; None: all alike. Metrics that look at pixels heed it."""
        self.bounded = bounded
        """Whether renders lie in [0, 1]."""
        self._masks = tuple(masks)
        self._projector = projector
        self._made: dict[str, Tensor] = {}
        self._projection: Projection | None = None

    def mask(self, name: str) -> Tensor:
        """Mask `name` of all frames, (B, 1, H, W) in [0, 1]; copied to the device when it is first asked for.

        Raises:
            DataError: a frame has no such mask; the message names it.
        """
        if name not in self._made:
            import torch

            from headbench.harness.image import to_float

            height, width = self.image.shape[-2:]
            planes = [m.plane(name, frame, width, height) for frame, m in zip(self.ids, self._masks, strict=True)]
            self._made[name] = to_float(torch.stack(planes).to(self.image.device))
        return self._made[name]

    def projection(self) -> Projection | None:
        """Projection of the tracked head into the frames, computed when first asked for; None without a head model."""
        if self._projection is None and self._projector is not None:
            height, width = self.image.shape[-2:]
            self._projection = self._projector(self.ids).resized(width, height)
        return self._projection

    def rows(self, chosen: Sequence[int]) -> Truth:
        """Batch of the frames at the indices `chosen` of this one."""
        return Truth.pick([(self, row) for row in chosen])

    @classmethod
    def pick(cls, chosen: Sequence[tuple[Truth, int]]) -> Truth:
        """Batch of frames of one size taken from several batches: pairs of a batch and a frame's index in it."""
        import torch

        region = chosen[0][0].region
        # Stacked views, not an index: nothing is copied from the host for it.
        return cls(
            torch.stack([truth.image[row] for truth, row in chosen]),
            torch.stack([truth.alpha[row] for truth, row in chosen]),
            [truth.ids[row] for truth, row in chosen],
            [truth.sequences[row] for truth, row in chosen],
            [truth._masks[row] for truth, row in chosen],
            chosen[0][0]._projector,
            None
            if region is None
            else region._replace(weight=torch.stack([_weight(each, row) for each, row in chosen])),
            all(truth.bounded for truth, _ in chosen),
        )


def _weight(truth: Truth, row: int) -> Tensor:
    """Weights (1, H, W) of one frame of a batch that has a region."""
    assert truth.region is not None
    return truth.region.weight[row]
