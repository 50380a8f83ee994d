"""A scoring protocol as a model of its file: fields, what they exclude, and the hash over their values."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, NamedTuple

from pydantic import Field, field_validator, model_validator

from headbench.metrics.options import LpipsOptions, PsnrRule, SsimRule
from headbench.metrics.protocol.agree import contradiction
from headbench.metrics.protocol.fields import (
    ADDED,
    Aggregate,
    Frozen,
    Outside,
    Part,
    Quantise,
    Region,
    Resampling,
    Save,
    TruthSource,
    ViewSetName,
    sha256_of_values,
)
from headbench.metrics.protocol.tracking import TrackingRule

__all__ = ["Asked", "LpipsRule", "Protocol"]


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


class Protocol(Frozen):
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
    """Side in pixels to which truth and render are resampled; native keeps the stored size."""
    resampling: Resampling = "bicubic"
    """Filter of that resampling; bicubic: Pillow's; bilinear: OpenCV's."""
    background: Literal["white", "black"]
    save: Save = "uint8_round"
    """How a render becomes the picture that is scored; uint8_round: as the stored 8-bit file."""
    clamp: bool
    """Whether renders are clamped to [0, 1]; false is possible where floats are scored or stretched."""
    opening: bool = False
    """Whether 8-bit renders are eroded and then dilated by 3 x 3 pixels, each channel apart."""
    truth: TruthSource = "composite"
    """What renders are compared with: the composite on the background, or the photo as it is."""
    quantise: Quantise
    """Rounding of the truth; uint8_round: to 8 bit after compositing, as renders are; none: it stays float."""
    region: Region
    """Pixels that count; full: all of the image."""
    normaliser: Literal["image", "region"]
    """Number that the summed error is divided by; image: that of all pixels; region: the sum of its weights."""
    outside: Outside = "kept"
    """How SSIM and LPIPS see pixels outside the region."""
    psnr: PsnrRule | None = None
    ssim: SsimRule | None = None
    lpips: tuple[LpipsRule, ...] | None = None
    psnr_foreground: tuple[Part, ...] = ()
    """Parts of the head whose foreground pixels have a PSNR of their own, each a column."""
    metrics: Mapping[str, Mapping[str, Any]] = Field(default_factory=dict)
    """Metrics of any plugin: name or name/variant -> options. psnr, ssim and lpips also have fields of their own."""
    aggregate: Aggregate
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
    def _agrees(self) -> Protocol:
        if text := contradiction(self):
            raise ValueError(text)
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
        return sha256_of_values(self.model_dump(mode="json", exclude_defaults=True, exclude={"summary"}))

    @property
    def render_key(self) -> str:
        """Name of the folder of renders that the protocol scores: ``train-white``, ``train-white-tracked-0a1b2c3d``.

        It consists of stage, background, the set of views unless that is the test frames, any test-time tracking, and
        ``float`` where the renders are floats.
        """
        tracking = self.test_time_tracking
        tracked = f"-tracked-{tracking.digest}" if tracking else ""
        views = "" if self.views == "test" else f"-{self.views}"
        return f"{self.stage}-{self.background}{views}{tracked}{'-float' if self.floats else ''}"

    @property
    def floats(self) -> bool:
        """Whether float renders are scored, and not the stored 8-bit pictures."""
        return self.save != "uint8_round"

    @property
    def added_frames(self) -> float:
        """Number that is added to that of the frames when their mean is taken."""
        return ADDED if self.aggregate == "frames_plus_1e-6_then_subjects" else 0.0

    @property
    def background_rgb(self) -> tuple[float, float, float]:
        """The background's colour in [0, 1]."""
        return (1.0, 1.0, 1.0) if self.background == "white" else (0.0, 0.0, 0.0)
