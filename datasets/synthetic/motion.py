"""Motion of synthetic subjects: speech, expression, blinks, gaze and head rotation, smooth and from a seed."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["LIMITS", "Motion", "make_motion"]

Floats = NDArray[np.float64]

FPS = 25.0
"""Frames per second of long clips."""
SHORTEST = 30.0
"""Seconds that a clip lasts at least: a clip of few frames is the same performance seen at fewer moments."""
LIMITS = {"yaw": math.radians(35), "pitch": math.radians(16), "roll": math.radians(8)}
"""Largest rotation of the head about each axis, radians either way."""
STRENGTH = {
    "browInnerUp": 0.8,
    "browOuterUpLeft": 0.6,
    "browOuterUpRight": 0.6,
    "browDownLeft": 0.7,
    "browDownRight": 0.7,
    "cheekSquintLeft": 0.5,
    "cheekSquintRight": 0.5,
    "mouthSmileLeft": 0.8,
    "mouthSmileRight": 0.8,
    "mouthFrownLeft": 0.4,
    "mouthFrownRight": 0.4,
    "mouthFunnel": 0.6,
    "mouthPucker": 0.7,
    "mouthStretchLeft": 0.4,
    "mouthStretchRight": 0.4,
    "mouthUpperUpLeft": 0.5,
    "mouthUpperUpRight": 0.5,
    "mouthLowerDownLeft": 0.5,
    "mouthLowerDownRight": 0.5,
    "mouthLeft": 0.3,
    "mouthRight": 0.3,
    "noseSneerLeft": 0.4,
    "noseSneerRight": 0.4,
}
"""Face unit -> its largest value; left and right share a signal but for a fifth."""


@dataclass(frozen=True)
class Motion:
    """Motion of a head, one row per frame; angles in radians, lengths in metres."""

    expression: Floats
    """(T, 52) face units."""
    jaw: Floats
    """(T, 3) axis-angle of the jaw."""
    eye_left: Floats
    """(T, 3) axis-angle of the left eye, as of the right one."""
    eye_right: Floats
    yaw: Floats
    """(T,) rotation of the head as the camera sees it, as are pitch and roll."""
    pitch: Floats
    roll: Floats
    offset: Floats
    """(T, 3) displacement of the head from the camera's axis (x, y) and from its mean distance (z)."""


def make_motion(seed: int, frames: int, names: Sequence[str], stream: int = 3) -> Motion:
    """Make the performance of a seed.

    Args:
        seed: the same seed gives the same performance.
        frames: T, the number of moments at which it is seen.
        names: the head's expressions in order.
        stream: of the seed's random numbers; another one gives another performance of the same person.
    """
    rng = np.random.default_rng([seed, stream])
    seconds: Floats = np.arange(frames, dtype=np.float64) * max(1 / FPS, SHORTEST / frames)
    expression = np.zeros((frames, len(names)))
    shared: dict[str, Floats] = {}
    for name, most in STRENGTH.items():
        stem = name.removesuffix("Left").removesuffix("Right") if name not in ("mouthLeft", "mouthRight") else name
        if stem not in shared:
            shared[stem] = _wave(rng, seconds, 0.08, 0.45)
        own = 0.8 * shared[stem] + 0.2 * _wave(rng, seconds, 0.1, 0.5)
        expression[:, names.index(name)] = most * np.clip(own, 0, 1) ** 1.2
    closed = _blinks(rng, seconds)
    for side in ("Left", "Right"):
        expression[:, names.index(f"eyeBlink{side}")] = closed
    phrase = np.clip(0.5 + 0.8 * _wave(rng, seconds, 0.15, 0.4), 0, 1)
    syllable = 0.5 + 0.5 * np.sin(2 * math.pi * (3.7 * seconds + 0.4 * _wave(rng, seconds, 0.2, 0.6)))
    jaw = np.stack([0.015 + 0.24 * phrase * syllable**1.5, 0.03 * _wave(rng, seconds, 0.2, 0.7), 0 * seconds], 1)
    horizontal, vertical = _gaze(rng, seconds)
    for side, inward in (("Left", 1.0), ("Right", -1.0)):
        # The subject's left eye turns outwards, to its left (+x), by a positive rotation about y.
        expression[:, names.index(f"eyeLookOut{side}")] = np.clip(inward * horizontal, 0, None) / 0.45
        expression[:, names.index(f"eyeLookIn{side}")] = np.clip(-inward * horizontal, 0, None) / 0.45
        expression[:, names.index(f"eyeLookDown{side}")] = np.clip(vertical, 0, None) / 0.4
        expression[:, names.index(f"eyeLookUp{side}")] = np.clip(-vertical, 0, None) / 0.4
    eyes = np.stack([vertical, horizontal, 0 * seconds], 1)
    return Motion(
        expression=expression,
        jaw=jaw,
        eye_left=eyes,
        eye_right=eyes,
        yaw=LIMITS["yaw"] * _wave(rng, seconds, 0.06, 0.19),
        pitch=LIMITS["pitch"] * _wave(rng, seconds, 0.09, 0.26),
        roll=LIMITS["roll"] * _wave(rng, seconds, 0.07, 0.22),
        offset=np.stack(
            [0.018 * _wave(rng, seconds, 0.05, 0.2) for _ in range(2)] + [0.05 * _wave(rng, seconds, 0.05, 0.15)], 1
        ),
    )


def _wave(rng: np.random.Generator, seconds: Floats, slowest: float, fastest: float) -> Floats:
    """Smooth signal (T,) in [-1, 1]: three sines whose frequencies share no period.

    Args:
        rng: source of frequencies and phases.
        seconds: (T,) times.
        slowest, fastest: range of the frequencies, Hz.
    """
    rates = np.sort(rng.uniform(slowest, fastest, size=3))
    phases = rng.uniform(0, 2 * math.pi, size=3)
    weights = np.array([0.5, 0.3, 0.2])
    return np.asarray(np.sin(2 * math.pi * rates * seconds[:, None] + phases) @ weights)


def _blinks(rng: np.random.Generator, seconds: Floats) -> Floats:
    """Closure of the eyes (T,) in [0, 1]: a blink every two to five seconds, a third of a second long."""
    closed = np.zeros_like(seconds)
    moment = rng.uniform(0.5, 2.0)
    while moment < seconds[-1] + 1:
        closed = np.maximum(closed, np.exp(-(((seconds - moment) / 0.11) ** 2)))
        moment += rng.uniform(2.0, 5.0)
    return closed


def _gaze(rng: np.random.Generator, seconds: Floats) -> tuple[Floats, Floats]:
    """Yaw and pitch (T,) of the eyes: holds between quick, smooth jumps."""
    horizontal, vertical = np.zeros_like(seconds), np.zeros_like(seconds)
    moment, place = 0.0, np.zeros(2)
    while moment < seconds[-1] + 1:
        aim = np.array([rng.uniform(-0.38, 0.38), rng.uniform(-0.16, 0.16)])
        step = np.clip((seconds - moment) / 0.12, 0, 1)
        step = step * step * (3 - 2 * step)
        horizontal, vertical = horizontal + (aim - place)[0] * step, vertical + (aim - place)[1] * step
        moment, place = moment + rng.uniform(0.6, 2.2), aim
    return horizontal, vertical
