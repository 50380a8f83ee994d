"""What the metrics compute."""

import torch
from pydantic import Field

from headbench.metrics import Absent, AbsentKind, Metric, MetricOptions


class ShadeOptions(MetricOptions):
    gain: float = Field(default=1.0, gt=0)


def mean(image):
    return image.mean(dim=(1, 2, 3))


class Shade(Metric):
    options_type = ShadeOptions

    def frame(self, render, truth):
        return self.options.gain * 100 * (mean(render) - mean(truth.image)).abs()


class Flicker(Metric):
    def pair(self, renders, truths):
        assert len(truths[0].ids) == len(truths[1].ids) == len(renders[0])
        assert truths[0].sequences == truths[1].sequences
        assert all(before < after for before, after in zip(truths[0].ids, truths[1].ids, strict=True))
        return mean((renders[1] - renders[0] - truths[1].image + truths[0].image).abs())


class Drift(Metric):
    """The largest mean difference of a sequence, and how many frames there were."""

    def gather(self, state, render, truth):
        assert len(set(truth.sequences)) == 1
        error = mean((render - truth.image).abs())
        return torch.cat([state, error]) if state is not None else error

    def sequence(self, state):
        return state.max() + len(state)


class Masked(Metric):
    undefined = Absent(AbsentKind.UNDEFINED, "n/a (no lips)")

    def frame(self, render, truth):
        mask = truth.mask("mouth")
        error = (render - truth.image).abs().mean(dim=1, keepdim=True)
        return (error * mask).sum(dim=(1, 2, 3)) / mask.sum(dim=(1, 2, 3))


class Face(Metric):
    """Mean place of the vertices, as a share of the width."""

    def frame(self, render, truth):
        seen = truth.projection()
        assert seen.faces.max() < seen.vertices.shape[1] and (seen.depth > 0).all()
        return seen.vertices[..., 0].mean(dim=1) / render.shape[-1]


class Raises(Metric):
    def frame(self, render, truth):
        raise KeyError("left eye")


class WrongShape(Metric):
    def frame(self, render, truth):
        return (render - truth.image).mean()


class NoNumber(Metric):
    def frame(self, render, truth):
        return mean(render) * torch.nan


class Endless(Metric):
    def frame(self, render, truth):
        return mean(render) + torch.inf
