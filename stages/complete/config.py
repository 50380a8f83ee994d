"""Options of the stage `complete`, each with the published behaviour and ours."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import Field, model_validator

from headbench.harness.avatar import Section
from headbench.harness.errors import BenchError
from headbench.harness.plugins import registry
from headbench.harness.stage import input_path
from headbench.harness.validation import validate

__all__ = ["CompleteConfig", "prior_options"]


class CompleteConfig(Section):
    """Options of completion; the defaults are those of the preset `fixed`."""

    prior: str = "mirror"
    """Name of the view prior, as `bench list view-priors` has it."""
    prior_set: Mapping[str, Any] = Field(default_factory=dict)
    """Options of the prior itself, such as ``--set complete.prior_set.budget=600``."""
    source: Path | None = input_path("file or folder that the prior reads: pictures, or a program")
    epochs: int = Field(default=2, ge=0)
    """Passes over the training frames, with one view before each frame that does not come alone."""
    least_views: int = Field(default=0, ge=0)
    """Steps on views that there are at least: further passes are made until there are so many, however short the video
    is. None are added to `epochs` of 0, nor where every frame comes alone."""
    azimuths: tuple[float, float] = (30.0, 330.0)
    """Views between these azimuths are trained on, in degrees towards the subject's left, 0 is the front. The original
    takes 84 to 252, which is not symmetric."""
    alone: float = Field(default=0.5, ge=0, le=1)
    """Share of the steps on training frames that come at the end, without views: they mend what views changed in the
    frames."""
    settle: bool = True
    """Whether the learning rates fall to zero over that share of the steps, linearly."""
    views_settle: float = Field(default=0.67, ge=0, le=1)
    """Share of the steps on views, the last ones, over which their learning rates fall to zero, linearly. Nothing else
    settles what frames do not show."""
    moments: Literal["parent", "none"] = "parent"
    """Adam's moments at the start. parent: those at the end of the parent's training, so that it goes on; none: new
    ones, with which views change less of what was never seen in the same number of steps."""
    shared: Literal["frames", "both"] = "frames"
    """Steps that move what all Gaussians share, such as a network or corrections of the mesh: those on training frames,
    or those on views as well, which then change the face from behind."""
    reach: Literal["unseen", "all"] = "unseen"
    """Gaussians that steps on views move. unseen: those whose place on the mesh training frames show by less than a
    half; all: also those of the face, which views see through a back that is still transparent."""
    largest: float | None = Field(default=2.0, gt=0)
    """Largest scale of Gaussians that steps on views move (`reach` unseen), as a multiple of what 99 of 100 Gaussians
    that the training frames show stay below: what nothing shows from elsewhere can grow without end. None: no limit."""
    orbit: Literal["label", "fate"] = "label"
    """Cameras that the prior is asked for. label: 24 around the head at heights of 0, 15, 0 and -15 degrees, with room
    for hair; fate: 30 at the distance of the first training frame, level with the head's origin."""
    size: int | None = Field(default=None, ge=16)
    """Side of the prior's pictures in pixels; None takes that of the training images."""
    expression: Literal["canonical", "frame"] = "canonical"
    """Expression of the avatar in steps on views. canonical: that which the view shows; frame: the tracked one of the
    training frame that follows, whatever the view shows."""
    count: Literal["one", "three"] = "one"
    """How the method's clock counts. one: once per training frame; three: three times per training frame and its view,
    so that with some numbers of steps nothing is ever densified."""
    densify: Literal["regular", "pseudo", "both"] = "regular"
    """Steps on which the method may densify, prune and reset: those on training frames, on views, or both."""
    regular_background: Literal["run", "white", "random", "mixed"] = "mixed"
    """Background of training frames. run: that of the method's configuration; white whatever that says; random: a
    random colour per step, on which Gaussians show that have taken the colour of the background, and holes; mixed:
    random as long as there are views between, that of the method's configuration in the steps that come alone."""
    view_background: Literal["run", "random"] = "random"
    """Background of views: that of the method's configuration, or a random colour per step."""
    confidence: bool = True
    """Whether pixels count by their confidence, so that a view says nothing about what the training frames show."""
    least: float = Field(default=0.5, ge=0, le=1)
    """Confidence below which a pixel does not count at all. The gradient of an absolute difference has one size however
    little a pixel counts, so a pixel that hardly counts would pull as hard as one that counts fully."""
    add_points: Literal["none", "all", "unseen"] = "unseen"
    """First Gaussians that a method gets again, where it can, besides the parent's, whose training prunes what it
    does not see. none; all: 65,536 for FateAvatar; unseen: those on faces that the training frames hardly show."""
    looks: int = Field(default=32, ge=1)
    """Number of training frames, evenly spaced, that decide which part of the head was seen."""

    def passes(self, frames: int) -> int:
        """Passes over so many training frames: `epochs`, or as many as give `least_views` steps on views."""
        views_a_pass = frames * (1 - self.alone)
        if self.epochs == 0 or views_a_pass == 0:
            return self.epochs
        return max(self.epochs, math.ceil(self.least_views / views_a_pass))

    @model_validator(mode="after")
    def _prior_fits(self) -> Self:
        if not 0 <= self.azimuths[0] < self.azimuths[1] <= 360:
            raise ValueError(f"azimuths: expected two rising angles from 0 to 360 degrees, found {self.azimuths}")
        spec = registry().view_prior(self.prior)
        prior_options(self)
        if spec.source and self.source is None:
            raise BenchError(
                f"view prior {spec.name} reads a {spec.source} of yours, and none is named.",
                help=f"--set complete.source={spec.source.upper()}",
            )
        if not spec.source and self.source is not None:
            raise BenchError(
                f"view prior {spec.name} reads nothing of yours, found source {self.source}.",
                help="leave out --set complete.source, or name the prior: --set complete.prior=folder",
            )
        if self.source is not None and self.source.exists() and self.source.is_dir() != (spec.source == "folder"):
            found = "a folder" if self.source.is_dir() else "a file"
            raise BenchError(
                f"{self.source}: view prior {spec.name} reads a {spec.source}, found {found}.",
                help=f"--set complete.source={spec.source.upper()}",
            )
        return self


def prior_options(config: CompleteConfig) -> Any:
    """Validated options of the prior itself, of its `config_type`.

    Raises:
        PluginError: no such prior, or it is broken.
        BenchError: an option is unknown, or a value does not fit.
    """
    kind = registry().load_view_prior(config.prior)
    return validate(kind.config_type, config.prior_set, f"view prior {config.prior}")
