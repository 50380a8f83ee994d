"""Head rotation as the head model's root rotation before a camera that stands still, as most trackers have it."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from headbench.datasets.synthetic.layout import Clip
from headbench.datasets.synthetic.scene import params_of
from headbench.datasets.synthetic.views import FLIP, world_to_camera
from headbench.harness.rotations import matrix_to_axis_angle
from headbench.harness.types import HeadParams

__all__ = ["rooted_motion"]

Floats = NDArray[np.float64]


def rooted_motion(clip: Clip) -> tuple[Floats, Floats]:
    """Root rotations (T, 3) axis-angle of a performance, and translations (T, 3) metres after skinning.

    With them the head stands in the axes of a camera that looks along -z from the origin (x right, y up), and shows
    the same picture as `world_to_camera` does of a head that never turns.
    """
    poses = FLIP @ world_to_camera(clip.motion)[:, :3]
    turns, places = poses[:, :, :3], poses[:, :, 3]
    root = np.asarray(matrix_to_axis_angle(torch.from_numpy(turns)).numpy())
    params = params_of(clip.motion)
    translations = np.empty_like(places)
    for k, turn in enumerate(turns):
        # The root joint is not the origin and moves with expression: see where a turn about it puts the vertices.
        still = _mean_vertex(clip, params.rows(slice(k, k + 1)), None)
        turned = _mean_vertex(clip, params.rows(slice(k, k + 1)), root[k])
        translations[k] = places[k] + turn @ still - turned
    return root, translations


def _mean_vertex(clip: Clip, params: HeadParams, root: Floats | None) -> Floats:
    """Mean of the head's vertices (3,), in metres, with another root rotation where `root` (3,) is given."""
    if root is not None:
        fields = {**vars(params), "root": torch.from_numpy(root)[None].to(params.root)}
        params = HeadParams(**fields)
    with torch.no_grad():
        return np.asarray(clip.scene.head.vertices(params)[0].double().mean(0).numpy())
