"""Schedules by epoch: number of points, radius, jitter, regulariser, learning rate. Pure Python; no state."""

from __future__ import annotations

import math

from headbench.harness.types import Clock

from .config import MonoGaussianAvatarConfig, Regulariser

__all__ = ["first_radius", "jitter", "learning_rate", "points", "radius", "regulariser"]


def first_radius(config: MonoGaussianAvatarConfig) -> float:
    """Radius that is added to every scale at the start, units."""
    if config.splat_radius is not None:
        return config.splat_radius
    return 0.15 * 0.75 ** math.log2(config.start_points / 100)


def points(config: MonoGaussianAvatarConfig, epochs: int) -> int:
    """Number of points that is due after `epochs` complete epochs."""
    return next((stage.points for stage in reversed(config.growth) if stage.epoch <= epochs), config.start_points)


def radius(config: MonoGaussianAvatarConfig, epochs: int) -> float:
    """Radius that is added to every scale after `epochs` complete epochs, units."""
    value = first_radius(config)
    for stage in config.growth:
        value *= stage.shrink if stage.epoch <= epochs else 1.0
    last = config.growth[-1].epoch if config.growth else 0
    if config.shrink_every and epochs > last:
        value *= config.shrink ** ((epochs - last) // config.shrink_every)
    return value


def jitter(config: MonoGaussianAvatarConfig, epochs: int, radius_before: float) -> float:
    """Side of the cube in which a copy lands around its original, units.

    Args:
        config: may replace the radius late in training.
        epochs: number of complete epochs.
        radius_before: the radius before it shrinks, units.
    """
    late = config.late_jitter is not None and epochs > config.late_after
    return config.late_jitter if late and config.late_jitter is not None else radius_before


def regulariser(config: Regulariser, clock: Clock) -> float:
    """Factor of the terms that pull points towards the head model, at the step of `clock`."""
    if config.decay == "once":
        times = sum(milestone <= clock.epoch - 1 for milestone in config.milestones)
    else:
        span = clock.steps_per_epoch
        times = sum(min(max(clock.step - (number - 1) * span, 0), span) for number in config.milestones)
    return config.weight * config.factor**times


def learning_rate(config: MonoGaussianAvatarConfig, clock: Clock) -> float:
    """Adam's learning rate at the step of `clock`."""
    return config.rate * config.rate_factor ** sum(m <= clock.epoch - 1 for m in config.rate_milestones)
