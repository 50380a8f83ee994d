"""Points of a tracked head by which crops and cameras are laid: eyes and mouth, on FLAME and on the open head."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from headbench.harness.assets import record
from headbench.harness.head import SubjectHead, load_landmarks
from headbench.stages.complete.cameras import Alignment
from headbench.stages.complete.mesh import Floats

__all__ = ["alignment_of"]

_EYE_LEFT = (2437, 2383, 2494, 3632, 2278, 2296)
"""Vertices of FLAME nearest to iBUG's landmarks 36 to 41, around the eye on the left of a frontal picture."""
_EYE_RIGHT = (3833, 1343, 1034, 1175, 884, 829)
"""Vertices of FLAME nearest to iBUG's landmarks 42 to 47."""
_CORNERS = (2715, 1579)
"""Vertices of FLAME nearest to the corners of the mouth, iBUG's 48 and 54."""


def alignment_of(head: SubjectHead, vertices: Tensor) -> Alignment:
    """Alignment of a head for generators of EG3D's family, from the points of its mesh.

    On FLAME they are the registered landmarks, or without them the vertices nearest to those, which differ by less than
    0.2 mm. The open head has no landmarks: there an eye is the foremost point of the eyeball at the middle of its
    outline, and the corners of the mouth are the outermost points of the lips.

    Args:
        head: the bound head model.
        vertices: (V, 3) of its mesh, in the pose that the views show; metres.
    """
    points = vertices.detach().double().cpu()
    left, right, mouth = _open_points(head, points) if head.tag == "openhead" else _flame_points(head.tag, points)
    return Alignment.of(left, right, mouth)


def _flame_points(tag: str, points: Tensor) -> tuple[Floats, Floats, Floats]:
    if record("flame/landmarks") is not None:
        found = load_landmarks(tag).points(points[None])[0].double()
        parts = found[36:42], found[42:48], found[[48, 54]]
    else:
        parts = points[list(_EYE_LEFT)], points[list(_EYE_RIGHT)], points[list(_CORNERS)]
    left, right, mouth = (part.mean(0).numpy() for part in parts)
    return left, right, mouth


def _open_points(head: SubjectHead, points: Tensor) -> tuple[Floats, Floats, Floats]:
    regions = {name: mask.cpu() for name, mask in head.regions.items()}

    def eye(name: str) -> Floats:
        ball = points[regions[name]]
        middle = ball[:, :2].mean(0)
        return np.asarray(torch.cat([middle, ball[:, 2].max()[None]]).numpy())

    lips = points[regions["lips"] & regions["face"]] if "face" in regions else points[regions["lips"]]
    corners = torch.stack([lips[lips[:, 0].argmin()], lips[lips[:, 0].argmax()]])
    # The subject's right eye is the one on the left of a frontal picture.
    return eye("right_eye"), eye("left_eye"), np.asarray(corners.mean(0).numpy())
