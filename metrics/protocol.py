"""Scoring protocols: how renders are scored, as data with a name, a version and a hash. Needs no torch."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, NamedTuple, get_args

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from headbench.harness.errors import BenchError, did_you_mean
from headbench.harness.names import quoted
from headbench.harness.reading import Unreadable, parse_yaml, read_text
from headbench.harness.validation import validate
from headbench.metrics.options import LpipsOptions, PsnrRule, SsimRule

if TYPE_CHECKING:
    from headbench.harness.plugins import Registry

__all__ = [
    "Asked",
    "LpipsRule",
    "Protocol",
    "PsnrRule",
    "SsimRule",
    "TrackingLoss",
    "TrackingRule",
    "VIEW_SETS",
    "load_protocol",
    "protocol_names",
]

ViewSetName = Literal["test", "all-around"]

VIEW_SETS: tuple[str, ...] = get_args(ViewSetName)
"""Sets of views that a protocol may score: held-out frames, and views from all around the head."""

Part = Literal["visible", "hidden", "all"]
"""Part of a head as training saw it: surface that some training frame shows, surface that none does, both."""

Tracked = Literal["expression", "root", "neck", "jaw", "eye_left", "eye_right", "translation", "camera.t"]
"""Parameters of a frame that can be tracked: fields of HeadParams, and the world-to-camera matrix's translation."""


class _Frozen(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class Asked(NamedTuple):
    """A metric that a protocol asks for, with its options."""

    key: str
    """Metric key: psnr, lpips/alex."""
    options: Mapping[str, Any]
    where: str
    """Field of the protocol that asks for the metric, for messages."""


class LpipsRule(LpipsOptions):
    """Options of LPIPS with one network, which makes one column of tables."""

    net: Literal["alex", "vgg"]


class TrackingLoss(_Frozen):
    """Weights of the test-time tracking loss between render and test image, both on the protocol's background."""

    l1: float = Field(ge=0)
    """Weight of the mean absolute difference."""
    dssim: float = Field(ge=0)
    """Weight of 1 - SSIM: 11 x 11 Gaussian, sigma 1.5, zero padding."""


class TrackingRule(_Frozen):
    """Test-time tracking: parameters of each test frame are optimised on its own image, with the avatar frozen."""

    steps: int = Field(ge=1)
    """Optimisation steps per frame."""
    rates: Mapping[Tracked, Annotated[float, Field(gt=0)]] = Field(min_length=1)
    """Optimised parameter -> its constant learning rate."""
    optimizer: Literal["adam", "sparse_adam"]
    """adam: a fresh Adam per frame, so that no result depends on a frame's place in the sequence. sparse_adam: torch's
    SparseAdam over a table of all frames, whose one count of steps moves late frames further than early ones."""
    loss: Literal["training"] | TrackingLoss
    """Loss that is minimised; training: the sum of the method's own training terms, as they are after its last step."""

    @property
    def digest(self) -> str:
        """First eight hexadecimal digits of the SHA-256 over all values of the rule."""
        return _sha256(self.model_dump(mode="json", exclude_defaults=True))[:8]

    def sentence(self) -> str:
        """Sentence that says how test frames were tracked, for the footnote of a table."""
        if isinstance(self.loss, TrackingLoss):
            loss = f"{self.loss.l1:g} L1 + {self.loss.dssim:g} (1 - SSIM)"
        else:
            loss = "the method's own training loss"
        rates = ", ".join(f"{name} {rate:g}" for name, rate in self.rates.items())
        return (
            f"Test-time tracking: before scoring, every test frame's own image was used to optimise its parameters "
            f"({self.steps} steps of {self.optimizer} on {loss}; {rates}); not comparable with scores without it"
        )


class Protocol(_Frozen):
    """A scoring protocol: how renders are scored. Two scores are comparable if their protocols' hashes are equal.

    A field that is added later needs a default with the meaning of the time before it; defaults are left out of the
    hash, so old scores keep theirs.

    Example:
        >>> protocol = load_protocol("headbench@1")
        >>> protocol.label, protocol.render_key, [asked.key for asked in protocol.asked()]
        ('headbench@1', 'train-white', ['psnr', 'ssim', 'lpips/alex', 'lpips/vgg'])
    """

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9-]*$", max_length=100)
    version: int = Field(ge=1, le=999_999)
    summary: str = ""
    resolution: Literal["native"] | int
    """Side in pixels to which truth and render are resampled (Pillow's bicubic); native keeps the stored size."""
    background: Literal["white", "black"]
    region: Literal["full"]
    """Pixels that count; full: all of the image."""
    normaliser: Literal["image"]
    """Number that the summed error is divided by; image: that of all pixels."""
    quantise: Literal["uint8_round", "none"]
    """Rounding of the truth; uint8_round: to 8 bit after compositing, as renders are; none: it stays float."""
    clamp: Literal[True]
    """Renders are clamped to [0, 1] before scoring, as storing them in 8 bit does; nothing reads this field."""
    psnr: PsnrRule | None = None
    ssim: SsimRule | None = None
    lpips: tuple[LpipsRule, ...] | None = None
    psnr_foreground: tuple[Part, ...] = ()
    """Parts of the head whose foreground pixels have a PSNR of their own, each a column."""
    metrics: Mapping[str, Mapping[str, Any]] = Field(default_factory=dict)
    """Metrics of any plugin: name or name/variant -> options. psnr, ssim and lpips also have fields of their own."""
    aggregate: Literal["frames_then_subjects"]
    test_time_tracking: TrackingRule | None
    """Optimisation of test frames on their own images; None forbids it: nothing sees a test image before scoring."""
    split: Literal["dataset"]
    views: ViewSetName = "test"
    """Set of views that is rendered and scored."""
    stage: Literal["train"]
    """Stage whose renders are scored: always `train`, which stands for whichever stage instance a run asks for. Which
    one it is belongs to the row of a table, not to the protocol."""

    @field_validator("lpips")
    @classmethod
    def _one_column_a_net(cls, rules: tuple[LpipsRule, ...] | None) -> tuple[LpipsRule, ...] | None:
        if rules is not None and len({rule.net for rule in rules}) != len(rules):
            raise ValueError("a network may be named once; another input range is another protocol")
        return rules

    @model_validator(mode="after")
    def _tracks_test_frames(self) -> Protocol:
        if self.test_time_tracking is not None and self.views != "test":
            raise ValueError(f"views {self.views} cannot be tracked; test-time tracking is of test frames")
        if len(set(self.psnr_foreground)) != len(self.psnr_foreground):
            raise ValueError("psnr_foreground names a part twice")
        return self

    @field_validator("metrics", mode="before")
    @classmethod
    def _without_options(cls, asked: object) -> object:
        """Read ``edges:`` with nothing behind it, which is YAML for null, as a metric without options."""
        return {k: {} if v is None else v for k, v in asked.items()} if isinstance(asked, Mapping) else asked

    def asked(self) -> tuple[Asked, ...]:
        """Metrics of the protocol in the order of tables: those that have fields, then those of `metrics`."""
        found = [Asked("psnr", self.psnr.model_dump(), "psnr")] if self.psnr else []
        found += [Asked(f"psnr-foreground/{part}", {}, "psnr_foreground") for part in self.psnr_foreground]
        found += [Asked("ssim", self.ssim.model_dump(), "ssim")] if self.ssim else []
        found += [Asked(f"lpips/{r.net}", r.model_dump(exclude={"net"}), "lpips") for r in self.lpips or ()]
        return (*found, *(Asked(key, options, f"metrics.{key}") for key, options in self.metrics.items()))

    @property
    def label(self) -> str:
        """Label of the protocol as tables print it: ``name@version``."""
        return f"{self.name}@{self.version}"

    @property
    def hash(self) -> str:
        """SHA-256 over the canonical JSON of all fields that can change scores (the summary cannot)."""
        return _sha256(self.model_dump(mode="json", exclude_defaults=True, exclude={"summary"}))

    @property
    def render_key(self) -> str:
        """Name of the folder of renders that the protocol scores: ``train-white``, ``train-white-tracked-0a1b2c3d``.

        It consists of stage, background, the set of views unless that is the test frames, and any test-time tracking.
        """
        tracking = self.test_time_tracking
        tracked = f"-tracked-{tracking.digest}" if tracking else ""
        views = "" if self.views == "test" else f"-{self.views}"
        return f"{self.stage}-{self.background}{views}{tracked}"

    @property
    def background_rgb(self) -> tuple[float, float, float]:
        """The background's colour in [0, 1]."""
        return (1.0, 1.0, 1.0) if self.background == "white" else (0.0, 0.0, 0.0)


def _sha256(values: object) -> str:
    """SHA-256 of values as canonical JSON, in hexadecimal digits."""
    text = json.dumps(values, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return hashlib.sha256(text.encode()).hexdigest()


def _folder() -> Path:
    return Path(str(files("headbench.configs") / "protocols"))


def protocol_names() -> list[str]:
    """Names of the built-in protocols as ``name@version``, sorted.

    Example:
        >>> "headbench@1" in protocol_names()
        True
    """
    return sorted(path.name.removesuffix(".yaml") for path in _folder().glob("*@*.yaml"))


def load_protocol(name: str, known: Registry | None = None) -> Protocol:
    """Load a built-in protocol such as ``headbench@1``, or one from a path that ends in ``.yaml``.

    Args:
        name: ``name@version`` of a built-in protocol, or the path of a file.
        known: registry in which metrics without a field of their own are looked up; None takes that of this process.

    Raises:
        BenchError: there is no such protocol, or its file is not valid; the message names the field.

    Example:
        >>> load_protocol("headbench@1").background_rgb
        (1.0, 1.0, 1.0)
    """
    if name.endswith(".yaml"):
        path = Path(name)
    elif name in protocol_names():
        path = _folder() / f"{name}.yaml"
    else:
        raise BenchError(did_you_mean("protocol", name, protocol_names()), help="bench list protocols")
    try:
        values = parse_yaml(read_text(path), path, once=True)
    except Unreadable as error:
        raise BenchError(f"Cannot read protocol {path}: {error.found}.", error.help) from error
    if not isinstance(values, dict):
        raise BenchError(f"{path} is not a protocol: expected a mapping, found {type(values).__name__}.")
    _check_stage(values, path)
    protocol: Protocol = validate(Protocol, values, f"{path} is not a protocol")
    if path.name.count("@") and path.name != f"{protocol.label}.yaml":
        raise BenchError(f"{path} holds protocol {protocol.label}; the file must be called {protocol.label}.yaml.")
    if not protocol.asked():
        raise BenchError(
            f"{path} asks for no metric: expected psnr, ssim, lpips or metrics.", help="bench list metrics"
        )
    if not protocol.metrics:
        return protocol
    from headbench.metrics.choose import as_chosen

    return as_chosen(protocol, known, path)


def _check_stage(values: Mapping[str, Any], path: Path) -> None:
    """Refuse a protocol that names a stage other than `train`: its scores would stand in another stage's row."""
    stage = values.get("stage", "train")
    if stage != "train":
        raise BenchError(
            f"{path}: stage is {quoted(stage)}, expected train, which means the instance of a stage that is asked for; "
            f"a protocol names no other.",
            help=f"write stage: train into {path.name}; what is shown is for the run to name",
        )
