"""Shared material of a method's checks: one method with a small configuration, its trainings and its pictures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import torch
from torch import Tensor

from headbench.harness.avatar import Avatar, MethodConfig, Portrait
from headbench.harness.head import HeadModel, load_head
from headbench.harness.plugins.specs import MethodSpec
from headbench.harness.splat import make_rasterizer
from headbench.harness.train import identity_of
from headbench.harness.train.batch_schedule import BatchSchedule
from headbench.harness.types import Frame, Subject, TrainView
from headbench.testing.failure import require
from headbench.testing.scene import SIZE, Watch, made_subject
from headbench.testing.training import Staged, Watched, stage, watch

__all__ = ["Case", "finite", "picture", "shown", "unequal"]

DRAWN = 0.03
"""Least share of the pixels that must differ from the background."""


@dataclass
class Case:
    """A method with a small configuration, and the subject and trainings that its checks share, made on first use."""

    spec: MethodSpec
    kind: type[Portrait]
    config: MethodConfig
    scratch: Path
    """An empty folder."""
    heads: Sequence[HeadModel] = ()
    """Further head models to try, each in the topology that it has."""
    layouts: Mapping[str, Subject] = field(default_factory=dict)
    """Subjects by dataset, each read through that dataset's layout."""
    watching: Watch = field(default_factory=Watch)

    @cached_property
    def head(self) -> HeadModel:
        """The built-in head, in the topology that the configuration names."""
        return load_head("openhead", self.config.topology())

    @cached_property
    def subject(self) -> Subject:
        """A subject of three training frames and a test frame whose image may not be opened."""
        return made_subject(self.head, self.watching)

    @cached_property
    def trained(self) -> bool:
        """Whether the method trains anything: whether it is an Avatar."""
        return issubclass(self.kind, Avatar)

    @cached_property
    def plain(self) -> Watched:
        """A training in memory, without recording."""
        return watch(self.kind, self.config, self.subject, self.spec.name)

    @cached_property
    def staged(self) -> Staged:
        """A training with checkpoints; beside its folder lies what a power cut would have left."""
        cut = self.steps // 3 if self.trained else 0
        return stage(self.scratch / "whole", self.kind, self.config, self.subject, self.about, cut)

    @cached_property
    def steps(self) -> int:
        """Number of steps of a training; checkpoints of `staged` are a third of it apart."""
        return BatchSchedule(self.config.train, len(self.subject.train)).total

    @cached_property
    def about(self) -> dict[str, str]:
        """Names that checkpoints keep: method, preset, variant, dataset, subject."""
        return {
            "method": self.spec.name,
            "preset": "tiny",
            "variant": "",
            "dataset": "synthetic",
            "subject": "synthetic",
        }

    def portrait(self, head: HeadModel | None = None, config: MethodConfig | None = None) -> tuple[Portrait, Subject]:
        """Make an untrained portrait.

        Args:
            head: the head model; None takes the built-in one.
            config: the configuration; None takes the case's own.

        Returns:
            the portrait, and the subject it was made for.
        """
        head, config = head or self.head, config or self.config
        subject = self.subject if head is self.head else made_subject(head, self.watching)
        view = TrainView(subject.train, SIZE, SIZE, seed=0, directory=str(self.scratch))
        torch.manual_seed(0)
        return self.kind.create(head, identity_of(subject), view, config), subject


def picture(portrait: Portrait, frame: Frame, background: float = 1.0) -> Tensor:
    """Render `portrait` for a frame by the rasterizer for CPUs, on a grey `background` in [0, 1], (B, 3, H, W)."""
    colour = torch.full((len(frame.camera.w2c), 3), background)
    with torch.no_grad():
        return portrait.render(frame.params, frame.camera, colour, make_rasterizer("numba", "cpu"))


def shown(image: Tensor, frame: Frame) -> None:
    """Require that `image` is finite, has the shape for `frame`, and shows more than its white background."""
    expected = (len(frame.camera.w2c), 3, frame.camera.height, frame.camera.width)
    require(tuple(image.shape) == expected, f"render() to give shape {expected}", f"{tuple(image.shape)}")
    require(bool(torch.isfinite(image).all()), "finite values in a render", "NaN or infinity")
    drawn = float((image - 1).abs().amax(1).gt(0.05).float().mean())
    require(drawn > DRAWN, f"something drawn on more than {DRAWN:.0%} of a white image", f"{drawn:.1%}")


def finite(portrait: Portrait, when: str) -> None:
    """Require that `portrait` has no NaN and no infinity; `when` says at which time, for the message."""
    bad = [n for n, p in portrait.state_dict().items() if p.is_floating_point() and not bool(torch.isfinite(p).all())]
    require(not bad, f"finite parameters {when}", f"NaN or infinity in {', '.join(bad)}")


def unequal(one: Mapping[str, Tensor], other: Mapping[str, Tensor]) -> list[str]:
    """Names of tensors that are not equal bit for bit in `one` and `other`, or are in one of them alone."""
    return sorted(n for n in {*one, *other} if n not in one or n not in other or not torch.equal(one[n], other[n]))
