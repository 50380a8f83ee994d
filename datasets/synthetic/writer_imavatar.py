"""Writer of synthetic subjects in IMAvatar's layout, as FateAvatar's authors share it: videos `_train` and `_test`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from headbench.datasets.synthetic.layout import Clip, Shot, Writer, split
from headbench.datasets.synthetic.picture import CLOTH, LABELS, Picture
from headbench.datasets.synthetic.rooted import rooted_motion
from headbench.datasets.synthetic.scene import TAG, params_of
from headbench.datasets.synthetic.views import intrinsics

__all__ = ["EXPRESSIONS", "ImavatarWriter"]

Floats = NDArray[np.float64]

SCALE = 4.0
"""Size of the head in the files, in multiples of metres."""
SHAPES, EXPRESSIONS = 100, 50
"""Numbers of shape and of expression coefficients in a file."""
LEFT_OUT = ("jawOpen", "tongueOut")
"""Face units that no performance uses: the layout has room for 50 of the open head's 52."""
LANDMARKS = 68
"""Number of landmarks."""
PARSED = {"skin": 1, "eye_left": 4, "eye_right": 5, "mouth": 11, "teeth": 11, "lips": 12, "hair": 17}
"""Part of the head -> class of the face parser BiSeNet."""
CLOTHING = 16
"""BiSeNet's class of clothing."""
PALETTE = np.random.default_rng(19).integers(0, 256, size=(19, 3), dtype=np.uint8)
"""Colour of each of the parser's classes."""
FOLDERS = ("image", "mask", "matted", "parsing", "semantic", "semantic_color")
"""Folders of images in a video's folder."""


class ImavatarWriter(Writer):
    """Writes subjects in the layout of IMAvatar with FateAvatar's folders."""

    layout = "imavatar"

    def tracking(self, folder: Path, clip: Clip) -> None:
        root, translations = rooted_motion(clip)
        names = clip.scene.head.expression_names
        kept = [name for name in names if name not in LEFT_OUT]
        landmarks = _landmarks(clip)
        head = {"tag": TAG, "expression": kept, "landmarks": landmarks.tolist()}
        for part, members in zip(("train", "test"), split(len(root)), strict=True):
            video = folder / f"{clip.name}_{part}"
            for kind in FOLDERS:
                (video / kind).mkdir(parents=True)
            frames = []
            for index in members:
                translation = SCALE * translations[index]
                points = _relative(clip, index, landmarks)
                frames.append(
                    {
                        "file_path": f"./image/{index - members.start + 1}",
                        "world_mat": np.concatenate([np.eye(3), translation[:, None]], 1).tolist(),
                        "expression": clip.motion.expression[index][[names.index(name) for name in kept]].tolist(),
                        "pose": np.concatenate(
                            [
                                root[index],
                                np.zeros(3),
                                clip.motion.jaw[index],
                                clip.motion.eye_left[index],
                                clip.motion.eye_right[index],
                            ]
                        ).tolist(),
                        "bbox": [*points.min(0).tolist(), *points.max(0).tolist()],
                        "flame_keypoints": points.tolist(),
                    }
                )
            shape = np.concatenate([clip.scene.person.shape, np.zeros(SHAPES - len(clip.scene.person.shape))])
            content = {"frames": frames, "shape_params": shape.tolist(), "intrinsics": _intrinsics(clip.size)}
            (video / "flame_params.json").write_text(json.dumps(content) + "\n", encoding="utf-8")
        (folder / "head_model.json").write_text(json.dumps(head) + "\n", encoding="utf-8")

    def frame(self, folder: Path, clip: Clip, shot: Shot, picture: Picture) -> None:
        """Write the images, mattes, masks and class maps of one shot into its video's folder.

        Args:
            folder, clip, shot, picture: those of `Writer.frame`.
        """
        train, test = split(len(clip.motion.yaw))
        part, members = ("train", train) if shot.index in train else ("test", test)
        video, number = folder / f"{clip.name}_{part}", shot.index - members.start + 1
        alpha = picture.rgba[..., 3]
        classes = _classes(picture.labels)
        images: dict[str, NDArray[Any]] = {
            f"image/{number}.png": _before_wall(picture.rgba),
            f"mask/{number}.png": np.repeat(alpha[..., None], 3, axis=2),
            f"matted/{number}.png": picture.rgba,
            f"parsing/{number}_mouth.png": picture.mouth,
            f"parsing/{number}_neckhead.png": ((alpha > 127) * 255).astype(np.uint8),
            f"semantic/{number}.png": classes,
            f"semantic_color/{number}.png": PALETTE[classes],
        }
        for path, pixels in images.items():
            Image.fromarray(pixels).save(video / path, compress_level=3)


def _intrinsics(size: int) -> list[float]:
    """Intrinsics in parts of the image's side; the first one is negative.

    The raw camera looks along -z with x to the right.
    """
    K = intrinsics(size) / size
    return [-K[0, 0], K[1, 1], K[0, 2], K[1, 2]]


def _landmarks(clip: Clip) -> NDArray[np.int64]:
    """Vertices (68,) of the face that serve as landmarks, spread evenly over its indices."""
    face = np.flatnonzero(clip.scene.head.regions["face"].numpy())
    return np.asarray(face[np.linspace(0, len(face) - 1, LANDMARKS).astype(int)])


def _relative(clip: Clip, index: int, landmarks: NDArray[np.int64]) -> Floats:
    """Projected landmarks (68, 2), -1 to 1 from edge to edge of the image.

    Args:
        clip: the performance.
        index: row of the motion.
        landmarks: (68,) vertices.
    """
    shot = ImavatarWriter().shots(clip)[index]
    vertices = clip.scene.vertices(params_of(clip.motion).rows(slice(index, index + 1)))
    seen = (vertices[landmarks] @ shot.w2c[:3, :3].T + shot.w2c[:3, 3]) @ shot.K.T
    return np.asarray(2 * seen[:, :2] / seen[:, 2:] / clip.size - 1)


def _classes(labels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Convert codes of parts (S, S) to the parser's classes."""
    classes = np.zeros_like(labels)
    for code, number in {**{LABELS[part]: number for part, number in PARSED.items()}, CLOTH: CLOTHING}.items():
        classes[labels == code] = number
    return classes


def _before_wall(rgba: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Composite the head on a wall that is lighter at the top: (S, S, 3)."""
    size = len(rgba)
    wall = np.linspace(190, 120, size)[:, None, None] * np.array([0.95, 1.0, 0.9])
    alpha = rgba[..., 3:] / 255
    return np.asarray(np.round(alpha * rgba[..., :3] + (1 - alpha) * wall), dtype=np.uint8)
