"""JSON file of a part of a VHAP export: for each frame a camera, an image and the moment's parameters."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from headbench.datasets.common.cameras import OPENGL, rigid_fault
from headbench.datasets.common.documents import finite_number, read_object, shortened
from headbench.datasets.common.findings import Findings
from headbench.datasets.common.intrinsics import Intrinsics, check_angles, read_intrinsics
from headbench.datasets.common.params import numbers
from headbench.datasets.common.paths import Paths

__all__ = ["Entry", "Lens", "read_transforms"]

Floats = NDArray[np.float64]
_MAKE = "VHAP's export_as_nerf_dataset.py writes it"


@dataclass(frozen=True)
class Lens(Intrinsics):
    """Intrinsics as stored, with cy from the bottom edge in VHAP's files."""

    angle_x: float
    """Horizontal field of view, radians."""


@dataclass(frozen=True)
class Entry:
    """One image of one camera at one moment."""

    id: str
    """Timestep and camera index, such as 00012_00."""
    timestep: int
    camera: str
    """Camera id as the files have it."""
    c2w: Floats
    """(4, 4) camera to world as stored, metres: OpenGL axes."""
    lens: Lens
    image: Path
    mask: Path | None
    params: Path
    """File of the moment's FLAME parameters."""
    sequence: str
    """Folder beside the subject's that holds the files; empty where it is the subject's own."""
    posed: bool = True
    """Whether `c2w` can be used; if not it is zeros, an error has been reported, and the files can be checked."""

    @property
    def w2c(self) -> Floats:
        """World to camera (4, 4), OpenCV axes."""
        return np.asarray(np.linalg.inv(self.c2w @ OPENGL))


def read_transforms(folder: Path, path: Path, findings: Findings) -> list[Entry]:
    """Read the frames of a JSON file, in its order; those whose files are not known are reported and left out.

    Args:
        folder: the subject's, which paths are relative to.
        path: the file.
        findings: receives what is wrong.
    """
    content = read_object(path, "the split's JSON", findings, _MAKE)
    if content is None:
        return []
    frames = content.get("frames")
    if not isinstance(frames, list):
        findings.error(path, f"expected a list of frames in `frames`, found {shortened(frames)}", help=_MAKE)
        return []
    entries = []
    paths = Paths(folder, beside=True)
    for position, frame in enumerate(frames):
        if isinstance(frame, dict):
            entry = _entry(paths, path, position, {**_shared(content), **frame}, findings)
            entries += [entry] if entry is not None else []
        else:
            findings.error(path, f"expected an object at position {position} of `frames`, found {shortened(frame)}")
    paths.tell(path, findings)
    return entries


def _shared(content: dict[str, Any]) -> dict[str, Any]:
    """Intrinsics that all frames share, for those that have none of their own."""
    keys = ("w", "h", "fl_x", "fl_y", "cx", "cy", "camera_angle_x", "camera_angle_y")
    return {key: content[key] for key in keys if key in content}


def _entry(paths: Paths, path: Path, position: int, frame: dict[str, Any], findings: Findings) -> Entry | None:
    """Read one frame; None where its files or its intrinsics are not known, which has been reported.

    Args:
        paths: reads the paths of the file.
        path: the file.
        position: place of the frame in the list.
        frame: the JSON object, with the intrinsics that all frames share.
        findings: receives what is wrong.
    """
    indices = [_index(frame.get(key)) for key in ("timestep_index", "camera_index")]
    for key, value in zip(("timestep_index", "camera_index"), indices, strict=True):
        if value is None:
            findings.error(
                path,
                f"expected a whole number `{key}` from 0 at position {position} of `frames`, found "
                f"{shortened(frame.get(key))}",
                help=_MAKE,
            )
    timestep, camera = indices
    if timestep is None or camera is None:
        return None
    name = f"{timestep:05d}_{camera:02d}"
    image = _file(paths, path, name, frame, "file_path", findings)
    params = _file(paths, path, name, frame, "flame_param_path", findings)
    mask = _file(paths, path, name, frame, "fg_mask_path", findings) if frame.get("fg_mask_path") is not None else None
    lens = _lens(path, name, frame, findings)
    c2w = _pose(path, name, frame.get("transform_matrix"), findings)
    if image is None or params is None or lens is None:
        return None
    called = frame.get("camera_id")
    known = str(called) if isinstance(called, str | int) and str(called) else str(camera)
    beside = image.parent.parent
    own = beside == paths.folder or beside.resolve() == paths.folder.resolve()
    sequence = "" if own else beside.name
    pose = np.zeros((4, 4)) if c2w is None else c2w
    return Entry(name, timestep, known, pose, lens, image, mask, params, sequence, c2w is not None)


def _index(value: Any) -> int | None:
    """A number of JSON as a whole number from 0; None for anything else."""
    number = finite_number(value)
    return int(number) if number is not None and 0 <= number < 10**9 and number == int(number) else None


def _file(paths: Paths, path: Path, name: str, frame: dict[str, Any], key: str, findings: Findings) -> Path | None:
    """Read a path of a frame; None where it is missing or leads elsewhere, which has been reported.

    Args:
        paths: reads the paths of the file.
        path: the file.
        name: id of the frame.
        frame: its JSON object.
        key: key of the path: file_path, fg_mask_path or flame_param_path.
        findings: receives what is wrong.
    """
    value = frame.get(key)
    if key == "flame_param_path" and value is None:
        mesh = "; found exp_path and mesh_path: exported as meshes" if "mesh_path" in frame else ""
        findings.error(
            path,
            f"expected the parameters' file `flame_param_path`, found none{mesh}",
            name,
            "export with VHAP's --flame_mode param after tracking",
        )
        return None
    found = paths.read(value)
    if found is None:
        message = f"`{key}`: expected a path in this folder or in one beside it, found {shortened(value)}"
        findings.error(path, message, name, paths.help(value) or _MAKE, kind=f"path-elsewhere-{key}")
        return None
    return paths.at(found if key == "flame_param_path" else paths.image(found))


def _lens(path: Path, name: str, frame: dict[str, Any], findings: Findings) -> Lens | None:
    """Read the intrinsics of a frame; None where they cannot be used, which has been reported.

    Args:
        path: the file.
        name: id of the frame.
        frame: its JSON object.
        findings: receives what is wrong.
    """
    k = read_intrinsics(path, frame, findings, name, _MAKE)
    if k is None:
        return None
    if not k.centred_inside():
        message = f"expected the principal point inside the {k.width} x {k.height} image, found ({k.cx:g}, {k.cy:g})"
        findings.error(path, message, name)
        return None
    if not check_angles(path, frame, k, findings, name):
        return None
    return Lens(k.width, k.height, k.fl_x, k.fl_y, k.cx, k.cy, k.angle("x"))


def _pose(path: Path, name: str, value: Any, findings: Findings) -> Floats | None:
    """Read the camera to world (4, 4) of a frame; None where it is no rigid motion, which has been reported.

    Args:
        path: the file.
        name: id of the frame.
        value: what ``transform_matrix`` holds.
        findings: receives what is wrong.
    """
    c2w = numbers(path, "transform_matrix", value, (4, 4), findings, name, "camera to world, OpenGL axes")
    if c2w is None:
        return None
    fault = rigid_fault(c2w)
    if fault is not None:
        findings.error(path, f"transform_matrix: {fault.message}", name, fault.help)
        return None
    return c2w
