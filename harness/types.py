"""The types that cross the borders between rooms.

Every tensor here has a leading batch B, also for a single frame (B = 1). Shapes, axes, units and ranges are those of
``docs/conventions.md``; the short form stands at each field. torch is imported for type checkers only, so that plans,
lists and reports start without it.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import TYPE_CHECKING, Any, Literal, Protocol, TypeVar

from headbench.harness.errors import DataError
from headbench.harness.names import name_fault, quoted

if TYPE_CHECKING:
    import torch
    from torch import Tensor

__all__ = [
    "Batch",
    "Camera",
    "Clock",
    "PosedAvatar",
    "Edit",
    "Event",
    "Frame",
    "Gaussians",
    "HeadParams",
    "Identity",
    "ParamGroup",
    "Pixels",
    "ScreenGradient",
    "Similarity",
    "Rendering",
    "Subject",
    "TrainView",
    "map_tensors",
]

_T = TypeVar("_T")


def map_tensors(value: Any, change: Callable[[Tensor], Tensor]) -> Any:
    """`value` with `change` applied to every tensor in it, in order, through dataclasses and mappings."""
    if hasattr(value, "__dataclass_fields__"):
        return replace(value, **{f.name: map_tensors(getattr(value, f.name), change) for f in fields(value)})
    if isinstance(value, Mapping):
        return {name: map_tensors(member, change) for name, member in value.items()}
    return change(value) if hasattr(value, "detach") else value


def _join(values: Sequence[Any]) -> Any:
    """Concatenate equal-structured values along the batch; anything that is no tensor must agree."""
    import torch

    first = values[0]
    if isinstance(first, torch.Tensor):
        return values[0] if len(values) == 1 else torch.cat(list(values))
    if hasattr(first, "__dataclass_fields__"):
        return replace(first, **{f.name: _join([getattr(v, f.name) for v in values]) for f in fields(first)})
    if any(v != first for v in values):
        raise ValueError(f"cannot join a batch whose members differ: {sorted({str(v) for v in values})}")
    return first


class _Batched:
    """Moving, slicing and joining, shared by the types whose tensors all have the leading batch."""

    def to(self: _T, device: torch.device | str, non_blocking: bool = False) -> _T:
        """The same values on `device`."""
        return map_tensors(self, lambda t: t.to(device, non_blocking=non_blocking))  # type: ignore[no-any-return]

    def rows(self: _T, index: Tensor | slice) -> _T:
        """The members of the batch that `index` names."""
        return map_tensors(self, lambda t: t[index])  # type: ignore[no-any-return]

    @classmethod
    def join(cls: type[_T], members: Sequence[_T]) -> _T:
        """One batch of all members in order.

        Raises:
            ValueError: members differ in something that is not a tensor (image size, head tag).
        """
        return _join(members)  # type: ignore[no-any-return]


@dataclass(frozen=True)
class Camera(_Batched):
    """Pinhole cameras, OpenCV axes (x right, y down, z forward), pixel centres at +0.5."""

    w2c: Tensor
    """(B, 4, 4) float32, world (metres) to camera, last row 0 0 0 1."""
    K: Tensor
    """(B, 3, 3) float32, pixels of the stored size, principal point honoured, no skew."""
    width: int
    height: int

    def resized(self, width: int, height: int) -> Camera:
        """The same cameras for images resampled to `width` x `height` (pixel edges stay at pixel edges)."""
        scale = self.K.new_tensor([[width / self.width], [height / self.height], [1.0]])
        return replace(self, K=self.K * scale, width=width, height=height)


@dataclass(frozen=True)
class Similarity(_Batched):
    """x -> scale * R x + t, applied to the posed mesh about the head model's origin."""

    scale: Tensor
    """(B,)"""
    R: Tensor
    """(B, 3, 3)"""
    t: Tensor
    """(B, 3) metres."""


@dataclass(frozen=True)
class HeadParams(_Batched):
    """What drives a head in one frame or a batch: axis-angle radians, metres, coefficients of the tagged head."""

    head: str
    """Head tag: flame2020, flame2023, flame2023_open, openhead."""
    expression: Tensor
    """(B, E)"""
    root: Tensor
    """(B, 3)"""
    neck: Tensor
    """(B, 3)"""
    jaw: Tensor
    """(B, 3)"""
    eye_left: Tensor
    """(B, 3), the subject's left eye."""
    eye_right: Tensor
    """(B, 3)"""
    translation: Tensor
    """(B, 3) metres, after skinning."""
    eyelids: Tensor | None = None
    """(B, 2): left, right lid, 0 open to 1 closed; None where the tracker gives none."""
    similarity: Similarity | None = None
    """Applied last; None is the identity."""


@dataclass(frozen=True)
class Identity:
    """All that a trained avatar must know of its subject; saved in its checkpoint."""

    head: str
    shape: Tensor
    """(1, S) identity coefficients."""
    mean_expression: Tensor
    """(1, E) mean over the training frames."""
    var_expression: Tensor
    """(1, E) unbiased variance over the training frames."""
    first: HeadParams
    """Parameters of the first training frame, B = 1."""
    camera: Camera
    """Camera of the first training frame, B = 1: gives orbits their distance and field of view."""
    subject: str = ""
    static_offset: Tensor | None = None
    """(1, V, 3) metres, added to the template before joints are regressed; None where the tracker gives none."""

    def to(self, device: torch.device | str) -> Identity:
        """The same identity on `device`."""
        return map_tensors(self, lambda t: t.to(device))  # type: ignore[no-any-return]


@dataclass(frozen=True)
class Pixels:
    """The stored pixels of one frame, as they lie on disk: 8 bit, colour un-premultiplied."""

    colour: Tensor
    """(3, H, W) uint8, sRGB, RGB order."""
    alpha: Tensor
    """(1, H, W) uint8."""
    masks: Mapping[str, Tensor] = field(default_factory=dict)
    """name -> (1, H, W) uint8; names from {mouth, head, ...}."""


@dataclass(frozen=True)
class Frame:
    """One image of a subject with what drove it. Everything is joined by `id`, never by list order."""

    id: str
    """Unique in the subject and safe as a file name."""
    camera: Camera
    """B = 1."""
    params: HeadParams
    """B = 1."""
    pixels: Callable[[], Pixels]
    """Reads and decodes the image; slow, called once a frame by whoever caches it."""
    sequence: str = ""
    timestep: int = 0
    """Key of fine-tuned parameters; cameras that saw the same moment share one."""
    camera_id: str = "0"

    def __post_init__(self) -> None:
        fault = name_fault(self.id)
        if fault:
            raise DataError(f"frame {quoted(self.id)} cannot name a file, as renders do: {fault}.")


@dataclass(frozen=True)
class Subject:
    """One person of one dataset, split, in this project's conventions."""

    name: str
    dataset: str
    head: str
    shape: Tensor
    """(1, S)"""
    train: tuple[Frame, ...]
    test: tuple[Frame, ...]
    static_offset: Tensor | None = None
    """(1, V, 3)"""
    variant: str = ""
    """Which preparation of the dataset this is, such as insta/original."""
    fingerprint: Mapping[str, str] = field(default_factory=dict)
    """What -> SHA-256, for provenance: tracking, images, split."""
    notes: tuple[str, ...] = ()
    """What the reader had to fall back to, in sentences a table can show."""


@dataclass(frozen=True)
class TrainView:
    """What a method may see of a subject: its training frames."""

    frames: tuple[Frame, ...]
    width: int
    height: int
    seed: int = 0
    directory: str = ""
    """An empty folder of the cell for a method's own scratch files."""


@dataclass(frozen=True)
class Gaussians:
    """3D Gaussians in world space. Each field is (B, N, ...) or, shared by the batch, (N, ...)."""

    means: Tensor
    """(..., N, 3) metres."""
    quats: Tensor
    """(..., N, 4) (w, x, y, z); normalised by the rasterizer."""
    scales: Tensor
    """(..., N, 3) metres, standard deviations."""
    opacities: Tensor
    """(..., N) in [0, 1]."""
    colours: Tensor
    """(..., N, 3) RGB, or (..., N, K, 3) spherical-harmonics coefficients when `sh_degree` is not None."""
    sh_degree: int | None = None
    """Active degree; coefficients above it are ignored. RGB of degree 0 is max(0, 0.28209479 c + 0.5)."""


class ScreenGradient(Protocol):
    """Gradient of the loss with respect to projected means, readable after backward.

    In the unit of the 2023 3DGS rasterizer: the gradient per pixel times (W / 2, H / 2).
    """

    def plain(self) -> Tensor:
        """(B, N, 2) signed sum over pixels; zero where not visible."""
        ...

    def absolute(self) -> Tensor:
        """(B, N, 2) sum over pixels of absolute values."""
        ...


@dataclass(frozen=True)
class Rendering:
    """What a rasterizer returns."""

    image: Tensor
    """(B, 3, H, W), on the background, not clamped."""
    alpha: Tensor
    """(B, 1, H, W)"""
    depth: Tensor
    """(B, 1, H, W) metres along the optical axis, accumulated: sum of w_i z_i, not divided by alpha."""
    visible: Tensor
    """(B, N) bool, False where a Gaussian was culled."""
    screen: ScreenGradient
    measure: Callable[[], Tensor]
    """Computes `radii`, which few need in every step."""

    @property
    def radii(self) -> Tensor:
        """(B, N) pixels: three standard deviations rounded up, 0 where not visible. Computed at each access."""
        return self.measure()


@dataclass(frozen=True)
class PosedAvatar:
    """An avatar in a pose."""

    gaussians: Gaussians
    vertices: Tensor
    """(B, V, 3) the mesh that carries them, with learned corrections."""
    plain: Tensor
    """(B, V, 3) the same mesh without corrections."""
    aux: Mapping[str, Tensor] = field(default_factory=dict)
    """What the method's own losses need besides."""


@dataclass(frozen=True)
class Batch:
    """What one training step sees, on the training device."""

    params: HeadParams
    camera: Camera
    image: Tensor
    """(B, 3, H, W) in [0, 1], composited on `background`."""
    alpha: Tensor
    """(B, 1, H, W) in [0, 1]."""
    background: Tensor
    """(B, 3) in [0, 1]."""
    frame_ids: tuple[str, ...]
    masks: Mapping[str, Tensor] = field(default_factory=dict)
    """name -> (B, 1, H, W) in [0, 1]."""
    tag: str = "train"
    """train, or the sampler's own such as pseudo."""
    weight: Tensor | None = None
    """(B, 1, H, W) in [0, 1]: how much a pixel of the image counts. Losses see a target that moves to the render itself
    as the weight falls to 0. None counts all."""


@dataclass(frozen=True)
class Clock:
    """Where training is. Steps and epochs count from 1; `total` and `steps_per_epoch` are in steps.

    What a method sees counts images where several are drawn at once (`TrainConfig.schedules`): a step of B images then
    counts as the B steps that it stands for, and `stride` is B.
    """

    step: int
    epoch: int
    steps_per_epoch: int
    total: int
    stride: int = 1
    """By how much `step` has grown since the step before."""

    def passes(self, step: int) -> bool:
        """Whether this is the step, or it stands for it."""
        return self.step - self.stride < step <= self.step


class Event(enum.Enum):
    """Moments at which a method may ask for an Edit."""

    AFTER_BACKWARD = "after_backward"
    AFTER_STEP = "after_step"
    EPOCH_START = "epoch_start"
    EPOCH_END = "epoch_end"


@dataclass(frozen=True)
class Edit:
    """A change of a GaussianTable, applied by the trainer to rows, statistics and optimiser moments together.

    In this order: `replace`, then `keep`, then `append`. New rows start with zero moments and the optimiser's step
    count goes on. Columns that `replace` or a change of rows touches have no gradient for the step that follows.
    """

    keep: Tensor | None = None
    """(N,) bool: rows that stay; None keeps all."""
    append: Mapping[str, Tensor] | None = None
    """column -> (M, ...) for every parameter and buffer column; statistics start at zero."""
    replace: Mapping[str, Tensor] = field(default_factory=dict)
    """column -> (N, ...) new values for existing rows."""
    zero_moments: tuple[str, ...] = ()
    """Parameter columns whose optimiser moments are zeroed."""
    zero_statistics: tuple[str, ...] = ()
    """Statistics set to zero for all rows."""
    new_optimizer: Literal["none", "table", "all"] = "none"
    """Whose optimiser state - moments and step counts - starts afresh: nobody's, the table's, or that of all
    parameters, networks' too."""


@dataclass(frozen=True)
class ParamGroup:
    """Parameters that share a learning rate. The trainer holds one optimiser over all groups."""

    name: str
    lr: float
    columns: tuple[str, ...] = ()
    """Columns of the avatar's GaussianTable."""
    parameters: tuple[Tensor, ...] = ()
    """Other parameters of the avatar."""
    schedule: Callable[[Clock], float] | None = None
    """The rate of a step, called before the step; None keeps `lr`."""
    eps: float = 1e-8
    betas: tuple[float, float] = (0.9, 0.999)
