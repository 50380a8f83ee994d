"""Colour of surface points: paint that sticks to the rest pose, wrinkles that come with expression, camera lights."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import map_coordinates

from headbench.datasets.synthetic.linear import dot, unit
from headbench.datasets.synthetic.person import PARTS, Person

__all__ = ["paint", "shade", "wrinkles"]

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

LIGHTS = (
    ((-0.55, 0.60, 0.75), (1.00, 0.96, 0.90), 0.75),
    ((0.80, 0.10, 0.55), (0.82, 0.90, 1.00), 0.32),
)
"""Lamps: direction in the camera's frame (x right, y up, z towards the camera), colour, strength."""
AMBIENT = 0.30
"""Strength of the light from all sides."""
GLOSS = {"skin": (0.10, 24.0), "lips": (0.22, 40.0), "eye_left": (0.7, 160.0), "eye_right": (0.7, 160.0)}
"""Part -> strength and exponent of the highlight."""
GUMS = np.array([0.42, 0.16, 0.15])
TEETH = np.array([0.88, 0.84, 0.75])
FRONT = 0.02
"""Metres along z at rest from which freckles, brows and wrinkles appear."""
BROW_HEIGHT, BROW_REACH = 0.0215, 0.035
"""Height of the brows above the eyes' centres, and the farthest that a brow can be from it; metres."""


def _noise(person: Person, points: Floats, frequency: float) -> Floats:
    """Read the person's noise field at points: (R,) in about [-1, 1].

    Args:
        person: whose field.
        points: (R, 3) metres, at rest.
        frequency: cells per metre.
    """
    grid = len(person.noise)
    where = np.multiply(points.T, frequency, order="C")
    where -= grid * np.floor(where / grid)
    return np.asarray(2 * map_coordinates(person.noise, where, order=1, mode="grid-wrap") - 1)


def paint(
    person: Person, points: Floats, part: Ints, scalp: Floats, lips: Floats, tint: Floats, eyes: Floats
) -> Floats:
    """Albedo (R, 3) of points on the rest pose, sRGB in [0, 1].

    Args:
        person: colours and noise.
        points: (R, 3) metres, where the point is at rest.
        part: (R,) index into PARTS.
        scalp, lips: (R,) 0 to 1, how much of the point is there.
        tint: (R,) brightness of a strand or of the mouth's inside.
        eyes: (2, 3) eyeball centres at rest, metres.
    """
    colour = np.empty_like(points)
    flesh = np.nonzero(part <= PARTS.index("lips"))[0]
    colour[flesh] = _flesh(person, points.take(flesh, axis=0), scalp[flesh], lips[flesh], eyes)
    for index, name in enumerate(PARTS[2:], start=2):
        chosen = np.nonzero(part == index)[0]
        if name.startswith("eye"):
            colour[chosen] = _eyeball(person, points[chosen] - eyes[int(name == "eye_right")])
        elif name == "mouth":
            colour[chosen] = GUMS * (0.55 + 0.2 * _noise(person, points[chosen], 300))[:, None] * tint[chosen][:, None]
        elif name == "teeth":
            gaps = 0.85 + 0.15 * np.clip(3 * np.abs(np.sin(points[chosen][:, 0] * 420)), 0, 1)
            colour[chosen] = TEETH * gaps[:, None]
        else:
            colour[chosen] = person.hair * tint[chosen][:, None]
    return np.clip(colour, 0, 1)


def _flesh(person: Person, points: Floats, scalp: Floats, lips: Floats, eyes: Floats) -> Floats:
    """Colour (R, 3) of skin, lips and scalp, with the hair's shade. Noise is read only where it is visible.

    Args:
        person: colours and noise.
        points: (R, 3) metres, at rest.
        scalp, lips: (R,) 0 to 1, how much of the point is there.
        eyes: (2, 3) eyeball centres at rest, metres.
    """
    detail = (
        0.035 * _noise(person, points, 130) + 0.03 * _noise(person, points, 420) + 0.03 * _noise(person, points, 900)
    )
    colour = person.skin * (1 + detail)[:, None]
    flush = np.exp(-(((np.abs(points[:, 0]) - 0.045) / 0.018) ** 2 + ((points[:, 1] - eyes[0, 1] + 0.04) / 0.018) ** 2))
    colour = colour * (1 - flush[:, None] * [0.0, 0.12, 0.10])
    cover, red = np.clip(scalp * 1.6 - 0.3, 0, 1), np.clip(2.2 * lips - 0.6, 0, 1)
    front = np.nonzero((points[:, 2] > FRONT) & (cover < 1))[0]
    spots = np.clip(_noise(person, points[front], 520) - 0.55, 0, 1) * person.freckles
    colour[front] *= (1 - 0.9 * spots)[:, None]
    near = front[np.abs(points[front, 1] - eyes[0, 1] - BROW_HEIGHT) < BROW_REACH]
    colour[near] = _brows(person, points[near], eyes, colour[near])
    rosy = np.nonzero(red)[0]
    share = red[rosy, None]
    colour[rosy] = (1 - share) * colour[rosy] + share * person.lips * (1 + 1.5 * detail[rosy])[:, None]
    hairy = np.nonzero(cover)[0]
    share = cover[hairy, None]
    hair = person.hair * (0.8 + 0.25 * _noise(person, points[hairy], 700))[:, None]
    colour[hairy] = (1 - share) * colour[hairy] + share * hair
    return np.asarray(colour)


def _brows(person: Person, points: Floats, eyes: Floats, colour: Floats) -> Floats:
    """Colour (R, 3) of points on the front of the head with the hair of the brows over it.

    Args:
        person: colours and noise.
        points: (R, 3) metres, at rest.
        eyes: (2, 3) eyeball centres at rest, metres.
        colour: (R, 3) of the skin.
    """
    height = points[:, 1] - eyes[0, 1]
    along = np.abs(points[:, 0])
    arch = BROW_HEIGHT + 0.10 * (along - 0.012) - 2.6 * np.clip(along - 0.035, 0, None) ** 1.5
    strands = 0.75 + 0.45 * _noise(person, points * [1.0, 0.5, 1.0], 2200)
    inside = np.exp(-(((height - arch) / 0.0042) ** 2))
    inside *= np.clip((along - 0.009) / 0.004, 0, 1) * np.clip((0.056 - along) / 0.012, 0, 1)
    weight = np.clip(inside * strands * person.brow_weight * 1.3, 0, 1)[:, None]
    return np.asarray((1 - weight) * colour + weight * person.hair * 0.8)


def _eyeball(person: Person, local: Floats) -> Floats:
    """Colour (R, 3) of sclera, iris and pupil around the axis that looks along +z at rest.

    Args:
        person: colour of the iris.
        local: (R, 3) points from the eyeball's centre, at rest.
    """
    length = np.linalg.norm(local, axis=1)
    angle = np.arccos(np.clip(local[:, 2] / np.maximum(length, 1e-9), -1, 1))
    around = np.arctan2(local[:, 1], local[:, 0])
    fibres = 0.85 + 0.25 * np.sin(23 * around) * np.sin(41 * around + 1.3)
    white = np.array([0.90, 0.87, 0.85]) * (1 - 0.15 * np.clip(angle - 0.6, 0, 1))[:, None]
    iris = person.iris * fibres[:, None] * np.where(angle > 0.40, 0.45, 1.0)[:, None]
    colour = np.where((angle < 0.46)[:, None], iris, white)
    return np.where((angle < 0.19)[:, None], 0.02, colour)


def wrinkles(points: Floats, eyes: Floats, units: Mapping[str, float]) -> Floats:
    """Factor (R,) on the brightness of skin, below 1 in a fold that expression makes.

    Args:
        points: (R, 3) metres, at rest.
        eyes: (2, 3) eyeball centres at rest, metres.
        units: the frame's face units -> value.
    """
    front = np.nonzero(points[:, 2] > FRONT)[0]
    x, height = points[front, 0], points[front, 1] - eyes[0, 1]
    raised = max(units["browInnerUp"], 0.5 * (units["browOuterUpLeft"] + units["browOuterUpRight"]))
    lines = 0.5 + 0.5 * np.sin(2 * np.pi * (height + 1.5 * x * x) / 0.0085)
    forehead = raised * lines**3 * np.exp(-(((height - 0.048) / 0.014) ** 2)) * np.exp(-((x / 0.045) ** 2))
    frown = 0.5 * (units["browDownLeft"] + units["browDownRight"])
    between = frown * np.exp(-(((np.abs(x) - 0.006) / 0.0018) ** 2)) * np.exp(-(((height - 0.02) / 0.012) ** 2))
    total = 0.32 * forehead + 0.4 * between
    for side, sign in (("Left", 1.0), ("Right", -1.0)):
        across = sign * x
        path = 0.019 + 0.30 * np.clip(-0.032 - height, 0, 0.05)
        smile = units[f"mouthSmile{side}"] + 0.5 * units[f"noseSneer{side}"]
        fold = np.exp(-(((across - path) / 0.0022) ** 2)) * np.exp(-(((height + 0.05) / 0.016) ** 2))
        squint = units[f"cheekSquint{side}"] + 0.4 * units[f"eyeBlink{side}"]
        fan = 0.5 + 0.5 * np.sin(2 * np.pi * (height - 0.4 * (across - 0.05)) / 0.005)
        feet = fan**3 * np.exp(-(((across - 0.056) / 0.008) ** 2)) * np.exp(-((height / 0.012) ** 2))
        total = total + 0.34 * smile * fold + 0.3 * squint * feet
    left = np.ones(len(points))
    left[front] = 1 - np.clip(total, 0, 0.6)
    return left


def shade(albedo: Floats, normal: Floats, direction: Floats, part: Ints, rotation: Floats) -> Floats:
    """Light surface points by lamps that stand by the camera: sRGB (R, 3) in [0, 1].

    Args:
        albedo: (R, 3) sRGB.
        normal: (R, 3) unit, in the world.
        direction: (R, 3) unit, of the ray that meets the point.
        part: (R,) index into PARTS.
        rotation: (3, 3) of the world-to-camera matrix.
    """
    upright = rotation.T * [1, -1, -1]
    seen, away = normal @ upright, direction @ upright
    # Ribbons and the mouth's inside are seen from both sides.
    seen = np.where((dot(seen, away) > 0)[:, None], -seen, seen)
    light = np.full((len(albedo), 3), AMBIENT)
    gloss = np.array([GLOSS.get(name, (0.0, 1.0)) for name in PARTS])
    glossy = np.nonzero(gloss[part, 0])[0]
    strength, exponent = gloss[part[glossy]].T
    bright, towards_eye = seen.take(glossy, axis=0), away.take(glossy, axis=0)
    shine = np.zeros((len(albedo), 3))
    for towards, tint, power in LIGHTS:
        lamp = np.array(towards) / np.linalg.norm(towards)
        wrapped = np.clip((seen @ lamp + 0.25) / 1.25, 0, None)
        light += power * wrapped[:, None] * tint
        half = unit(lamp - towards_eye)
        shine[glossy] += (strength * np.clip(dot(bright, half), 0, 1) ** exponent)[:, None] * power * np.array(tint)
    deep = np.array([name in ("mouth", "teeth") for name in PARTS])[part]
    light[deep] *= 0.72
    return np.clip(albedo * light + shine, 0, 1)
