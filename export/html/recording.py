"""The recorded clip of a page: head parameters and cameras of each frame, as `page/clip.js` reads them."""

from __future__ import annotations

import numpy as np
import torch

from headbench.export.html.pack import Packer
from headbench.export.poses import Pose
from headbench.harness.types import HeadParams, Similarity

__all__ = ["distinct", "put_recording", "row_of"]


def distinct(poses: tuple[Pose, ...]) -> tuple[Pose, ...]:
    """Poses without those of further cameras that saw the same moment."""
    found: dict[bytes, Pose] = {}
    for pose in poses:
        found.setdefault(row_of(pose.params, pose.params.expression.shape[1]).tobytes(), pose)
    return tuple(found.values()) if _several_cameras(poses) else poses


def _several_cameras(poses: tuple[Pose, ...]) -> bool:
    return any(not torch.equal(pose.camera.w2c, poses[0].camera.w2c) for pose in poses)


def put_recording(packer: Packer, poses: tuple[Pose, ...], expressions: int) -> None:
    """Add parameters and cameras of poses.

    Args:
        packer: takes the arrays.
        poses: T of them.
        expressions: number of coefficients that the page's head has.
    """
    packer.floats("clip/params", np.stack([row_of(pose.params, expressions) for pose in poses]))
    cameras = []
    for pose in poses:
        camera = pose.camera.resized(poses[0].camera.width, poses[0].camera.height).to("cpu")
        K = camera.K[0]
        cameras.append(
            [*camera.w2c[0].flatten().tolist(), *(float(K[i, j]) for i, j in ((0, 0), (1, 1), (0, 2), (1, 2)))]
        )
    packer.floats("clip/cameras", np.array(cameras))


def row_of(params: HeadParams, expressions: int) -> np.ndarray:
    """All numbers of a pose in the order of `page/clip.js`, float32."""
    params = params.to("cpu")
    similarity = params.similarity
    if similarity is None:
        similarity = Similarity(torch.ones(1), torch.eye(3)[None], torch.zeros(1, 3))
    eyelids = torch.zeros(1, 2) if params.eyelids is None else params.eyelids
    width = params.expression.shape[1]
    expression = torch.nn.functional.pad(params.expression[:, :expressions], (0, max(0, expressions - width)))
    joints = (params.root, params.neck, params.jaw, params.eye_left, params.eye_right)
    parts = (expression, *joints, params.translation, eyelids, similarity.scale, similarity.R, similarity.t)
    return torch.cat([part.flatten() for part in parts]).to(torch.float32).numpy()
