"""Job folder of the prior `external`: what a program gets to read, and what it is asked for."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from PIL import Image

from headbench.harness.avatar import Avatar
from headbench.harness.files import make_folder, write_json
from headbench.harness.image import to_uint8
from headbench.harness.types import Camera
from headbench.harness.view_prior import ViewWork
from headbench.stages.complete.cameras import (
    NOMINAL,
    Alignment,
    camera_of_label,
    label_of_camera,
    label_of_pose,
    orbit_pose,
    view_direction,
)
from headbench.stages.complete.seen import eye_of

__all__ = ["SCHEMA", "Request", "draw", "write_job"]

SCHEMA = 1
"""Version of the contract."""
_NEAR, _FAR = 0.35, 0.6
"""Generator units before and behind the origin between which the head lies."""
_NOTES = "metres, OpenCV axes, head frame y up and face to +z, sRGB, straight alpha, labels as EG3D's 25 numbers"


@dataclass(frozen=True)
class Request:
    """What a program is asked for."""

    prior: str
    """Name of the generator that is wanted, which the program may read."""
    size: int
    """Side of all pictures in pixels."""
    inputs: int
    """Number of pictures of the portrait."""
    spread: float
    """Largest azimuth of these in degrees."""
    background: tuple[float, float, float]
    budget: float
    """Seconds that the program may take."""


@torch.no_grad()
def draw(work: ViewWork, camera: Camera, background: tuple[float, float, float]) -> tuple[torch.Tensor, torch.Tensor]:
    """Picture (3, H, W) of the portrait in the pose of the views, on a background, and its coverage (1, H, W)."""
    portrait = work.parent.portrait
    assert isinstance(portrait, Avatar)
    colour = torch.tensor([background], device=work.device)
    rendering = work.rasterizer(portrait.gaussians(work.params), camera.to(work.device), colour)
    return rendering.image[0].clamp(0, 1), rendering.alpha[0].clamp(0, 1)


def write_job(folder: Path, work: ViewWork, head: Alignment, request: Request) -> None:
    """Write the folder of a job: ``job.json`` and the pictures in ``in``; an earlier job there is removed.

    Pictures are renders of the portrait from where the generators' labels are exact, so that nothing is warped.

    Args:
        folder: of the job.
        work: the prior's input.
        head: points of the head in the pose of the views.
        request: what is asked for.
    """
    shutil.rmtree(folder, ignore_errors=True)
    for part in ("in", "out/image", "out/mask"):
        make_folder(folder / part)
    inputs = [_input(folder, number, yaw, work, head, request) for number, yaw in enumerate(_yaws(request))]
    labels = [[Path(each["image"]).name, each["label"]] for each in inputs]
    write_json(folder / "in" / "dataset.json", {"labels": labels})
    for each, label in zip(inputs, labels, strict=True):  # one folder per picture, as SphereHead's projector reads
        own = folder / "in" / Path(each["image"]).stem
        make_folder(own)
        shutil.copyfile(folder / each["image"], own / label[0])
        write_json(own / "dataset.json", {"labels": [label]})
    points: dict[str, Any] = {name: getattr(head, name).tolist() for name in ("E", "EL", "ER", "M", "origin")}
    content = {
        "schema": SCHEMA,
        "prior": request.prior,
        "seed": work.seed,
        "budget_s": request.budget,
        "size": request.size,
        "background": list(request.background),
        "expression": "canonical",
        "head": {**points, "s": head.s, "a": list(head.a)},
        "inputs": inputs,
        "views": [_asked(name, camera, head, request.size) for name, camera in work.cameras.items()],
        "notes": _NOTES,
    }
    write_json(folder / "job.json", content)


def _yaws(request: Request) -> list[float]:
    """Azimuths of the inputs in degrees: the frontal one first, then both sides in turn."""
    pairs = max(1, request.inputs // 2)
    steps = [request.spread * ((number + 1) // 2) / pairs for number in range(request.inputs)]
    return [step if number % 2 else -step for number, step in enumerate(steps)]


def _input(folder: Path, number: int, yaw: float, work: ViewWork, head: Alignment, request: Request) -> dict[str, Any]:
    """Write one picture of the portrait and its mask, and return its entry in job.json."""
    label = label_of_pose(orbit_pose(yaw, 0.0, NOMINAL)).tolist()
    image, mask = draw(work, camera_of_label(label, head, request.size), request.background)
    name = f"{number:04d}"
    _save(image, folder / "in" / f"{name}.png")
    _save(mask, folder / "in" / f"{name}_mask.png")
    return {
        "image": f"in/{name}.png",
        "mask": f"in/{name}_mask.png",
        "label": label,
        "label_exact": label,
        "near": NOMINAL - _NEAR,
        "far": NOMINAL + _FAR,
        "H": [[1, 0, 0], [0, 1, 0], [0, 0, 1]],
        "yaw": yaw + 0.0,
        "elevation": 0.0,
        "weight": 1.0,
        "frame": "",
    }


def _asked(name: str, camera: Camera, head: Alignment, size: int) -> dict[str, Any]:
    """Entry in job.json of a view that is asked for."""
    wanted = camera.resized(size, size).to("cpu")
    azimuth, elevation = view_direction(eye_of(wanted).double().numpy() - head.origin)
    return {
        "name": name,
        "label": label_of_camera(wanted, head).tolist(),
        "camera": {
            "w2c": wanted.w2c[0].tolist(),
            "K": wanted.K[0].tolist(),
            "width": wanted.width,
            "height": wanted.height,
        },
        "azimuth": azimuth,
        "elevation": elevation,
    }


def _save(values: torch.Tensor, path: Path) -> None:
    pixels = to_uint8(values).permute(1, 2, 0).cpu().numpy()
    Image.fromarray(pixels if pixels.shape[2] == 3 else pixels[..., 0]).save(path, format="PNG", compress_level=4)
