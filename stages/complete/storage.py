"""Views on disk: pictures, mattes and confidences as PNG, and cameras in an INSTA-style transforms.json."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from headbench.harness.errors import BenchError
from headbench.harness.files import atomic_folder
from headbench.harness.names import is_inside, quoted
from headbench.harness.pictures import read_picture
from headbench.harness.reading import Unreadable, parse_json, read_text
from headbench.harness.types import Camera
from headbench.harness.view_prior import EXPRESSIONS, PseudoView
from headbench.stages.complete.cameras import Floats, camera_at

__all__ = ["DOCUMENT", "VIEWS", "read_views", "write_views"]

VIEWS = "views"
"""Name of the folder beside a checkpoint with the views that it was trained on."""
DOCUMENT = "transforms.json"
_OPENGL = np.diag([1.0, -1.0, -1.0])
"""Change of axes: a rotation from camera to world with OpenGL axes times this one has OpenCV axes."""
_NUMBERS = ("w", "h", "fl_x", "fl_y", "cx", "cy")
_TOLERANCE = 1e-3
"""Largest element of R R^T - I that still passes for a rotation."""
_LARGEST = 1e6
_PARTS = {"image": "file_path", "matte": "mask_path", "confidence": "confidence_path"}
_LEAST_STEP = 16 / 255
"""Difference from a plain background at which a pixel is half covered, where a picture comes without a matte."""


def write_views(folder: Path, views: Sequence[PseudoView]) -> None:
    """Write views into a folder that appears when it is whole; `read_views` reads them."""
    with atomic_folder(folder) as part:
        frames = []
        for view in views:
            paths = {key: f"{name}/{view.name}.png" for name, key in _PARTS.items()}
            for name, key in _PARTS.items():
                (part / name).mkdir(exist_ok=True)
                _save(getattr(view, name), part / paths[key])
            pose = {"transform_matrix": _c2w(view.camera).tolist(), "expression": view.expression}
            frames.append({**paths, **_numbers(view.camera), **pose})
        document = {"axes": "opengl", "frames": frames}
        (part / DOCUMENT).write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")


def read_views(folder: Path, background: Sequence[float] | None = None) -> list[PseudoView]:
    """Read views of anybody: pictures with cameras in a ``transforms.json`` as INSTA and NeRF tools write it.

    The document has ``w h fl_x fl_y cx cy`` (pixels), for all frames or in each, or ``camera_angle_x`` (radians) in
    place of focal lengths; and ``frames`` with ``file_path`` and ``transform_matrix`` (camera to world, OpenGL axes,
    metres, in the frame of the head at zero pose). ``mask_path`` and ``confidence_path`` may name grey pictures.
    Without a mask the matte is the picture's alpha; without alpha it is what differs from a plain background, whose
    colour is that of the picture's border. ``expression`` is canonical, the mean of the training frames, or neutral.

    Args:
        folder: has the document; all paths are inside it.
        background: colour in [0, 1] on which pictures without alpha were composited; None: the border's.

    Raises:
        Unreadable: a file is missing or damaged.
        BenchError: something in the document does not fit; the message names the file and the frame.
    """
    path = folder / DOCUMENT
    content = parse_json(read_text(path), path)
    if not isinstance(content, dict) or not isinstance(content.get("frames"), list) or not content["frames"]:
        help = "docs/completion.md has an example"
        raise Unreadable(path, "expected an object with a list `frames`, found none", help)
    frames = enumerate(content["frames"])
    return [_read_view(path, position, frame, content, background) for position, frame in frames]


def _read_view(
    path: Path,
    position: int,
    frame: Any,
    content: Mapping[str, Any],
    background: Sequence[float] | None,
) -> PseudoView:
    """Read one view of a document.

    Args:
        path: the document.
        position: of the frame in its list.
        frame: its entry.
        content: the document, for values that all frames share.
        background: colour behind pictures without alpha, or None.
    """
    where = f"{path}: frame {position}"
    if not isinstance(frame, dict):
        raise BenchError(f"{where}: expected an object, found {quoted(frame)}.")
    values = {**content, **frame}
    expression = values.get("expression", "canonical")
    if expression not in EXPRESSIONS:
        raise BenchError(f"{where}: expected `expression` {' or '.join(EXPRESSIONS)}, found {quoted(expression)}.")
    files = {name: _file(path, where, frame, key) for name, key in _PARTS.items()}
    picture = files["image"]
    if picture is None:
        raise BenchError(f"{where}: expected a text `file_path`, found none.")
    image = read_picture(picture)
    width, height = image.size
    pixels = torch.from_numpy(np.asarray(image.convert("RGBA"), dtype=np.float32) / 255).permute(2, 0, 1)
    colour = pixels[:3].contiguous()
    matte = _grey(files["matte"], image.size) if files["matte"] else None
    if matte is None and "A" in image.getbands():
        matte = pixels[3:].contiguous()
    if matte is None:
        colour, matte = _unmix(colour, background, picture)
    confidence = _grey(files["confidence"], image.size) if files["confidence"] else torch.ones_like(matte)
    camera = _camera(where, values, width, height)
    return PseudoView(picture.stem, colour, matte, confidence, camera, expression)


def _file(path: Path, where: str, frame: Mapping[str, Any], key: str) -> Path | None:
    value = frame.get(key)
    if value is None:
        return None
    if not isinstance(value, str) or not value or not is_inside(value):
        raise BenchError(f"{where}: expected `{key}` inside the folder, found {quoted(value)}.")
    return path.parent / value


def _grey(path: Path | None, size: tuple[int, int]) -> Tensor:
    assert path is not None
    image = read_picture(path)
    if image.size != size:
        raise Unreadable(path, f"found {image.size[0]} x {image.size[1]} pixels, its picture has {size[0]} x {size[1]}")
    return torch.from_numpy(np.asarray(image.convert("L"), dtype=np.float32) / 255)[None]


def _unmix(colour: Tensor, background: Sequence[float] | None, path: Path) -> tuple[Tensor, Tensor]:
    """Colour and matte of a picture (3, H, W) without alpha, by its difference from a plain background.

    Raises:
        Unreadable: its border is not of one colour.
    """
    if background is not None:
        behind = torch.tensor(background)[:, None]
    else:
        border = torch.cat([colour[:, 0], colour[:, :, 0], colour[:, :, -1]], dim=1)
        behind = border.median(dim=1, keepdim=True).values
        plain = float(((border - behind).abs().amax(0) < _LEAST_STEP).float().mean())
        if plain < 0.8:
            raise Unreadable(
                path,
                f"found a picture without alpha whose background is not plain ({plain:.0%} of its border is)",
                "give it an alpha channel, or name a grey picture by `mask_path`",
            )
    matte = ((colour - behind[..., None]).abs().amax(0, keepdim=True) / (2 * _LEAST_STEP)).clamp(0, 1)
    return colour, matte


def _camera(where: str, values: Mapping[str, Any], width: int, height: int) -> Camera:
    """Camera (B = 1) of a frame's values, for a picture of `width` x `height`.

    Args:
        where: document and frame, for messages.
        values: of the frame, and of the document where the frame has none.
        width: of the picture in pixels.
        height: of the picture in pixels.
    """
    numbers = {key: _number(where, key, values[key]) for key in _NUMBERS if key in values}
    angle = values.get("camera_angle_x")
    if "fl_x" not in numbers and angle is not None:
        numbers["fl_x"] = 0.5 * numbers.get("w", width) / math.tan(0.5 * _number(where, "camera_angle_x", angle))
    if "fl_x" not in numbers:
        raise BenchError(f"{where}: expected `fl_x` (pixels) or `camera_angle_x` (radians), found neither.")
    w, h = numbers.get("w", width), numbers.get("h", height)
    if w <= 0 or h <= 0 or numbers["fl_x"] <= 0 or numbers.get("fl_y", 1.0) <= 0:
        raise BenchError(f"{where}: expected sizes and focal lengths above 0, found others.")
    if abs(width / w - height / h) > 0.02 * width / w:
        raise BenchError(f"{where}: expected a picture of {w:g} x {h:g} pixels, found {width} x {height}.")
    K = np.array(
        [
            [numbers["fl_x"], 0.0, numbers.get("cx", w / 2)],
            [0.0, numbers.get("fl_y", numbers["fl_x"]), numbers.get("cy", h / 2)],
            [0.0, 0.0, 1.0],
        ]
    )
    K[0] *= width / w
    K[1] *= height / h
    pose = _pose(where, values.get("transform_matrix"))
    return camera_at(pose[:3, :3] @ _OPENGL, pose[:3, 3], K, width, height)


def _number(where: str, key: str, value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) < _LARGEST:
        raise BenchError(f"{where}: expected a finite number `{key}`, found {quoted(value)}.")
    return float(value)


def _pose(where: str, value: Any) -> Floats:
    """Camera to world (4, 4), checked to be a rigid motion."""
    try:
        pose = np.array(value, dtype=np.float64)
    except (TypeError, ValueError, OverflowError):
        pose = np.zeros(0)
    if pose.shape != (4, 4):
        raise BenchError(f"{where}: transform_matrix: expected 4 x 4 numbers, found {quoted(value)}.")
    if not np.isfinite(pose).all() or np.abs(pose).max() > _LARGEST:
        raise BenchError(f"{where}: transform_matrix: expected finite numbers, found NaN or infinity.")
    rotation = pose[:3, :3]
    off = float(np.abs(rotation @ rotation.T - np.eye(3)).max())
    if off >= _TOLERANCE or np.linalg.det(rotation) <= 0:
        raise BenchError(
            f"{where}: transform_matrix: expected a rotation, found |R R^T - I| up to {off:.3g} and determinant "
            f"{np.linalg.det(rotation):.3g}.",
            help="a change of unit scales the last column alone",
        )
    return np.asarray(pose)


def _numbers(camera: Camera) -> dict[str, float]:
    K = camera.K[0].double().tolist()
    return dict(zip(_NUMBERS, (camera.width, camera.height, K[0][0], K[1][1], K[0][2], K[1][2]), strict=True))


def _c2w(camera: Camera) -> Floats:
    """Camera to world (4, 4), OpenGL axes."""
    pose = np.linalg.inv(camera.w2c[0].double().cpu().numpy())
    pose[:3, :3] = pose[:3, :3] @ _OPENGL
    return np.asarray(pose)


def _save(values: Tensor, path: Path) -> None:
    pixels = (values.detach().cpu() * 255).round().to(torch.uint8).permute(1, 2, 0).numpy()
    Image.fromarray(pixels if pixels.shape[2] == 3 else pixels[..., 0]).save(path, format="PNG", compress_level=4)
