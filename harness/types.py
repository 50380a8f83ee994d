"""Types that parts of the project exchange: cameras, head parameters, frames, Gaussians, batches, renderings.

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
    "TEST",
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
    "ViewSet",
    "map_tensors",
]

_T = TypeVar("_T")

TEST = "test"
"""Name of the set of views that are a subject's test frames."""


def map_tensors(value: Any, change: Callable[[Tensor], Tensor]) -> Any:
    """Apply `change` to every tensor in a value, through dataclasses and mappings, and return the changed copy."""
    if hasattr(value, "__dataclass_fields__"):
        return replace(value, **{f.name: map_tensors(getattr(value, f.name), change) for f in fields(value)})
    if isinstance(value, Mapping):
        return {name: map_tensors(member, change) for name, member in value.items()}
    return change(value) if hasattr(value, "detach") else value


def _join(values: Sequence[Any]) -> Any:
    """Concatenate values of equal structure along the batch; what is no tensor must be equal in all."""
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
    """Base of types whose tensors all have a leading batch: moving between devices, slicing and joining."""

    def to(self: _T, device: torch.device | str, non_blocking: bool = False) -> _T:
        """Return a copy on `device`; `non_blocking` as in torch's `Tensor.to`."""
        return map_tensors(self, lambda t: t.to(device, non_blocking=non_blocking))  # type: ignore[no-any-return]

    def rows(self: _T, index: Tensor | slice) -> _T:
        """Return the members of the batch that `index` (a slice, row numbers or a mask) selects, as a batch."""
        return map_tensors(self, lambda t: t[index])  # type: ignore[no-any-return]

    @classmethod
    def join(cls: type[_T], members: Sequence[_T]) -> _T:
        """Concatenate batches into one, in order.

        Raises:
            ValueError: members differ in something that is not a tensor (image size, head tag).
        """
        return _join(members)  # type: ignore[no-any-return]


@dataclass(frozen=True)
class Camera(_Batched):
    """Pinhole cameras, OpenCV axes (x right, y down, z forward), pixel centres at +0.5."""

    w2c: Tensor
    """(B, 4, 4) float32, transform from world (metres) to camera, last row 0 0 0 1."""
    K: Tensor
    """(B, 3, 3) float32, intrinsics in pixels of the stored size, principal point honoured, no skew."""
    width: int
    """Width of the images in pixels."""
    height: int
    """Height of the images in pixels."""

    def resized(self, width: int, height: int) -> Camera:
        """Return the same cameras for images resampled to `width` x `height` (pixel edges stay at pixel edges)."""
        scale = self.K.new_tensor([[width / self.width], [height / self.height], [1.0]])
        return replace(self, K=self.K * scale, width=width, height=height)


@dataclass(frozen=True)
class Similarity(_Batched):
    """Global similarity x -> scale * R x + t of the posed mesh, about the head model's origin."""

    scale: Tensor
    """(B,) factor of the size."""
    R: Tensor
    """(B, 3, 3) rotation."""
    t: Tensor
    """(B, 3) translation in metres."""


@dataclass(frozen=True)
class HeadParams(_Batched):
    """Parameters that pose a head model, for a batch of frames: axis-angle in radians, metres, coefficients."""

    head: str
    """Head tag: flame2020, flame2023, flame2023_open, openhead."""
    expression: Tensor
    """(B, E) expression coefficients."""
    root: Tensor
    """(B, 3) rotation of the whole head."""
    neck: Tensor
    """(B, 3) rotation of the neck joint."""
    jaw: Tensor
    """(B, 3) rotation of the jaw joint."""
    eye_left: Tensor
    """(B, 3) rotation of the subject's left eye."""
    eye_right: Tensor
    """(B, 3) rotation of the subject's right eye."""
    translation: Tensor
    """(B, 3) metres, added after skinning."""
    eyelids: Tensor | None = None
    """(B, 2) closing of the left and the right lid, 0 open to 1 closed; None where the tracker gives none."""
    similarity: Similarity | None = None
    """Global similarity, applied last; None: no change."""


@dataclass(frozen=True)
class Identity:
    """Facts of the subject that a trained avatar keeps in its checkpoint: shape, expression statistics, first frame."""

    head: str
    shape: Tensor
    """(1, S) identity coefficients."""
    mean_expression: Tensor
    """(1, E) mean of the expression over the training frames."""
    var_expression: Tensor
    """(1, E) unbiased variance of the expression over the training frames."""
    first: HeadParams
    """Parameters of the first training frame, B = 1."""
    camera: Camera
    """Camera of the first training frame, B = 1: gives orbits their distance and field of view."""
    subject: str = ""
    static_offset: Tensor | None = None
    """(1, V, 3) metres, added to the template before joints are regressed; None where the tracker gives none."""

    def to(self, device: torch.device | str) -> Identity:
        """Return the same identity on `device`."""
        return map_tensors(self, lambda t: t.to(device))  # type: ignore[no-any-return]


@dataclass(frozen=True)
class Pixels:
    """The stored pixels of one frame, as they lie on disk: 8 bit, colour un-premultiplied."""

    colour: Tensor
    """(3, H, W) uint8, colour in sRGB, RGB order."""
    alpha: Tensor
    """(1, H, W) uint8, coverage by the person, 0 to 255."""
    masks: Mapping[str, Tensor] = field(default_factory=dict)
    """Name of a mask, such as mouth or head -> (1, H, W) uint8."""


@dataclass(frozen=True)
class Frame:
    """One image of a subject with what drove it. Everything is joined by `id`, never by list order."""

    id: str
    """Id of the frame: unique in the subject and safe as a file name."""
    camera: Camera
    """Camera of the image, B = 1."""
    params: HeadParams
    """Tracked head parameters of the image, B = 1."""
    pixels: Callable[[], Pixels]
    """Reads and decodes the image; slow, so whoever caches images calls it once per frame."""
    sequence: str = ""
    """Name of the recording that the image is from; empty where there is one only."""
    timestep: int = 0
    """Number of the moment; cameras that saw the same moment share it. Key of fine-tuned parameters."""
    camera_id: str = "0"
    landmarks: Tensor | None = None
    """(K, 2) float64 landmarks of the face that the dataset gives, x and y from -1 to 1 from edge to edge of the image;
    the first 68 are those of the usual detectors. None where it gives none."""

    def __post_init__(self) -> None:
        fault = name_fault(self.id)
        if fault:
            raise DataError(f"frame {quoted(self.id)} cannot name a file, as renders do: {fault}.")


@dataclass(frozen=True)
class ViewSet:
    """Pictures of a subject to score besides its test frames, such as from all around its head."""

    frames: tuple[Frame, ...]
    digest: str
    """SHA-256 over parameters, cameras and pictures: what is rendered and scored of them is stale when it changes."""


@dataclass(frozen=True)
class Subject:
    """One person of one dataset, split, in this project's conventions."""

    name: str
    dataset: str
    head: str
    shape: Tensor
    """(1, S) identity coefficients."""
    train: tuple[Frame, ...]
    test: tuple[Frame, ...]
    static_offset: Tensor | None = None
    """(1, V, 3) metres, added to the template before joints are regressed; None where the tracker gives none."""
    variant: str = ""
    """Preparation of the dataset, such as insta/original."""
    fingerprint: Mapping[str, str] = field(default_factory=dict)
    """Part of the data (tracking, images, split) -> SHA-256, for provenance."""
    notes: tuple[str, ...] = ()
    """Sentences for tables about fall-backs that the reader had to take."""
    views: Mapping[str, ViewSet] = field(default_factory=dict)
    """Further views by the name of their set, such as all-around, for protocols that score them. Nothing trains on
    them."""

    def showing(self, views: str) -> Subject:
        """Subject whose test frames are those of a set of views: itself for ``test``, the held-out frames.

        It has no test frames where it lacks the set.
        """
        if views == TEST:
            return self
        return replace(self, test=self.views[views].frames if views in self.views else ())


@dataclass(frozen=True)
class TrainView:
    """The part of a subject that a method may see: its training frames."""

    frames: tuple[Frame, ...]
    width: int
    """Width of the training images in pixels."""
    height: int
    """Height of the training images in pixels."""
    seed: int = 0
    """Seed of the run's random numbers."""
    directory: str = ""
    """An empty folder of the cell for a method's own scratch files."""


@dataclass(frozen=True)
class Gaussians:
    """3D Gaussians in world space. Each field is (B, N, ...) or, shared by the batch, (N, ...)."""

    means: Tensor
    """(..., N, 3) centres in metres."""
    quats: Tensor
    """(..., N, 4) rotations as quaternions (w, x, y, z); normalised by the rasterizer."""
    scales: Tensor
    """(..., N, 3) standard deviations in metres."""
    opacities: Tensor
    """(..., N) opacities in [0, 1]."""
    colours: Tensor
    """(..., N, 3) RGB, or (..., N, K, 3) spherical-harmonics coefficients when `sh_degree` is not None."""
    sh_degree: int | None = None
    """Active degree of the spherical harmonics; None: plain RGB. Coefficients above it are ignored.

    RGB of degree 0 is max(0, 0.28209479 c + 0.5)."""


class ScreenGradient(Protocol):
    """Gradient of the loss with respect to projected means, readable after backward.

    In the unit of the 2023 3DGS rasterizer: the gradient per pixel times (W / 2, H / 2).
    """

    def plain(self) -> Tensor:
        """Gradients (B, N, 2) as the signed sum over pixels; zero where not visible."""
        ...

    def absolute(self) -> Tensor:
        """Gradients (B, N, 2) as the sum over pixels of absolute values."""
        ...


@dataclass(frozen=True)
class ScreenStatistics:
    """Sums over steps of N Gaussians' gradients on the screen, which density control reads."""

    gradient: Tensor
    """(N,) sum of the lengths of `ScreenGradient.plain`, each times B as if its image were the whole batch."""
    visits: Tensor
    """(N,) number of images in which a Gaussian was visible."""


@dataclass(frozen=True)
class Rendering:
    """Result of rasterizing Gaussians: image, alpha, depth, visibility, and gradients on the screen after backward."""

    image: Tensor
    """(B, 3, H, W) RGB on the background, not clamped."""
    alpha: Tensor
    """(B, 1, H, W) coverage by all Gaussians, in [0, 1]."""
    depth: Tensor
    """(B, 1, H, W) depth in metres along the optical axis, accumulated: sum of w_i z_i, not divided by alpha."""
    visible: Tensor
    """(B, N) bool, False where a Gaussian was culled."""
    screen: ScreenGradient
    """Gradients with respect to the projected means, readable after backward."""
    measure: Callable[[], Tensor]
    """Computes `radii`, which few methods need in every step."""
    collected: bool = False
    """True if the backward pass has added its gradients to the avatar's `ScreenStatistics`."""

    @property
    def radii(self) -> Tensor:
        """Radii (B, N) on the screen in pixels: three standard deviations, rounded up; 0 where not visible.

        Computed at each access.
        """
        return self.measure()


@dataclass(frozen=True)
class PosedAvatar:
    """An avatar in a pose: its Gaussians, the mesh that carries them, and what the method's losses read."""

    gaussians: Gaussians
    vertices: Tensor
    """(B, V, 3) vertices of the mesh that carries the Gaussians, with learned corrections; metres."""
    plain: Tensor
    """(B, V, 3) vertices of the same mesh without learned corrections; metres."""
    aux: Mapping[str, Tensor] = field(default_factory=dict)
    """Further tensors by name, for the method's own losses."""


@dataclass(frozen=True)
class Batch:
    """Images, masks, head parameters and cameras of one training step, on the training device."""

    params: HeadParams
    camera: Camera
    image: Tensor
    """(B, 3, H, W) target images in [0, 1], composited on `background`."""
    alpha: Tensor
    """(B, 1, H, W) alpha of the target images in [0, 1]."""
    background: Tensor
    """(B, 3) background colours in [0, 1]."""
    frame_ids: tuple[str, ...]
    masks: Mapping[str, Tensor] = field(default_factory=dict)
    """Name of a mask, such as mouth -> (B, 1, H, W) in [0, 1]."""
    tag: str = "train"
    """Kind of the frames: train, or a sampler's own such as pseudo."""
    weight: Tensor | None = None
    """(B, 1, H, W) weight of each pixel of the image in [0, 1]. Losses see a target that moves to the render itself
    as the weight falls to 0. None: all pixels count fully. The gradient of a squared difference shrinks with the
    weight; that of an absolute one has its full size at every weight but 0."""
    index: Tensor | None = None
    """(B,) int64 positions of the frames in the store that they come from; None where there is no store."""
    kept: Callable[[str, Callable[[], list[Tensor]]], list[Tensor]] | None = None
    """Returns features that a loss, given by its name, computes from image, alpha, masks and background alone, by a
    function without arguments; they may have been kept since an earlier step. None: the image is not the same in every
    step, or nothing is kept."""


@dataclass(frozen=True)
class Clock:
    """Progress of training: step and epoch, from 1, with the number of steps per epoch and in total.

    Schedules of methods may count images instead of steps (`TrainConfig.schedules`): a step of B images then counts as
    B steps, and `stride` is B.
    """

    step: int
    epoch: int
    steps_per_epoch: int
    total: int
    stride: int = 1
    """Increase of `step` since the training step before."""

    def passes(self, step: int) -> bool:
        """Whether `step` is this step, or one of the `stride` steps that this one counts as."""
        return self.step - self.stride < step <= self.step


class Event(enum.Enum):
    """Moments of training at which a method may change its Gaussians by an `Edit`."""

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
    """(N,) bool, True for rows that stay; None keeps all."""
    append: Mapping[str, Tensor] | None = None
    """Column -> (M, ...) values of new rows, for every parameter and buffer column; statistics start at zero."""
    replace: Mapping[str, Tensor] = field(default_factory=dict)
    """Column -> (N, ...) new values of existing rows."""
    zero_moments: tuple[str, ...] = ()
    """Names of parameter columns whose optimiser moments are set to zero."""
    zero_statistics: tuple[str, ...] = ()
    """Names of statistics that are set to zero for all rows."""
    new_optimizer: Literal["none", "table", "all"] = "none"
    """Part of the optimiser's state (moments and step counts) that starts afresh.

    none: no part; table: that of the Gaussians' columns; all: that of all parameters, networks too."""


@dataclass(frozen=True)
class ParamGroup:
    """Parameters that share a learning rate. The trainer holds one optimiser over all groups."""

    name: str
    lr: float
    """Learning rate."""
    columns: tuple[str, ...] = ()
    """Names of columns of the avatar's GaussianTable."""
    parameters: tuple[Tensor, ...] = ()
    """Other parameters of the avatar, such as those of networks."""
    schedule: Callable[[Clock], float] | None = None
    """Returns the learning rate of a step, called before the step; None keeps `lr`."""
    eps: float = 1e-8
    """Adam's term in the denominator."""
    betas: tuple[float, float] = (0.9, 0.999)
    """Adam's decay rates of the first and second moment."""
