"""One of the JSON files: for each frame a camera, an image and the moment's parameters."""

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
    """As stored, with cy from the bottom edge in VHAP's files."""

    angle_x: float
    """Horizontal field of view, radians."""


@dataclass(frozen=True)
class Entry:
    """One image of one camera at one moment."""

    id: str
    timestep: int
    camera: str
    """As the files call it."""
    c2w: Floats
    """(4, 4) as stored: OpenGL axes."""
    lens: Lens
    image: Path
    mask: Path | None
    params: Path
    sequence: str
    """Folder beside the subject's that holds the files, nothing where it is the subject's own."""
    posed: bool = True
    """Whether `c2w` can be used. If not it is zeros, an error has been told, and the files can be looked at."""

    @property
    def w2c(self) -> Floats:
        """(4, 4) OpenCV."""
        return np.asarray(np.linalg.inv(self.c2w @ OPENGL))


def read_transforms(folder: Path, path: Path, findings: Findings) -> list[Entry]:
    """The frames of a file whose files are known, in its order; what is wrong with it and others goes to `findings`."""
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
    """Intrinsics of all frames, where a frame has none of its own."""
    keys = ("w", "h", "fl_x", "fl_y", "cx", "cy", "camera_angle_x", "camera_angle_y")
    return {key: content[key] for key in keys if key in content}


def _entry(paths: Paths, path: Path, position: int, frame: dict[str, Any], findings: Findings) -> Entry | None:
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
    sequence = beside.name if beside.resolve() != paths.folder.resolve() else ""
    pose = np.zeros((4, 4)) if c2w is None else c2w
    return Entry(name, timestep, known, pose, lens, image, mask, params, sequence, c2w is not None)


def _index(value: Any) -> int | None:
    number = finite_number(value)
    return int(number) if number is not None and 0 <= number < 10**9 and number == int(number) else None


def _file(paths: Paths, path: Path, name: str, frame: dict[str, Any], key: str, findings: Findings) -> Path | None:
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
    """(4, 4) rigid camera to world."""
    c2w = numbers(path, "transform_matrix", value, (4, 4), findings, name, "camera to world, OpenGL axes")
    if c2w is None:
        return None
    fault = rigid_fault(c2w)
    if fault is not None:
        findings.error(path, f"transform_matrix: {fault.message}", name, fault.help)
        return None
    return c2w
