"""FLAME in the three topologies, from the user's registered files. NumPy only."""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from headbench.harness.assets import asset, record
from headbench.harness.assets.eyelids import read_eyelids
from headbench.harness.assets.flame import FACES, VERTICES, FlameFile, read_masks, read_model
from headbench.harness.assets.templates import MOUTH_FACES, read_template, template_fault
from headbench.harness.errors import DataError
from headbench.harness.head.arrays import JOINTS, HeadArrays
from headbench.harness.head.teeth import add_teeth
from headbench.harness.head.topology import align_uv_faces, cap_mouth, mouth_loop

__all__ = ["load_arrays"]

_Masks = dict[str, NDArray[np.bool_]]
_SAME = ("face", "lips", "nose", "forehead", "scalp", "neck", "boundary")
"""FLAME's masks that become regions under the same name."""
_OPTIONAL = ("flame/masks", "flame/uv_template", "flame/mouth_closed_template", "flame/eyelids")
"""Assets that a FLAME head uses where they are registered."""


def load_arrays(tag: str, topology: str) -> HeadArrays:
    """Load a registered FLAME model with further registered files: masks, texture coordinates, closed mouth, eyelids.

    Without masks there are no regions but the eyes and the mouth's rim; without a UV template no texture coordinates;
    without the mouth-closed template a cap is built. `notes` says each.

    Args:
        tag: flame2020, flame2023 or flame2023_open.
        topology: open, mouth_closed or teeth.

    Raises:
        MissingAsset: the model is not registered.
        DataError: a registered file is not what it should be.
    """
    # A registered file's name has its digest, so a path stands for its content.
    extras = [asset(name) if record(name) is not None else None for name in _OPTIONAL]
    return _load(tag, topology, asset(f"{tag}/model"), *extras)


@lru_cache(maxsize=3)
def _load(
    tag: str,
    topology: str,
    model: Path,
    masks: Path | None,
    uvs: Path | None,
    closed: Path | None,
    eyelids: Path | None,
) -> HeadArrays:
    """Build the arrays of a FLAME head from files; see `load_arrays`.

    Args:
        tag: flame2020, flame2023 or flame2023_open.
        topology: open, mouth_closed or teeth.
        model, masks, uvs, closed, eyelids: as for `_open`.
    """
    arrays = _open(tag, model, masks, uvs, closed, eyelids)
    if topology == "teeth":
        return add_teeth(arrays)
    if topology == "mouth_closed":
        return cap_mouth(arrays) if closed is None else _closed(arrays, closed)
    return arrays


@lru_cache(maxsize=2)
def _open(
    tag: str, model: Path, masks: Path | None, uvs: Path | None, closed: Path | None, eyelids: Path | None
) -> HeadArrays:
    """Build the arrays of a FLAME head with an open mouth, from which other topologies are made.

    Args:
        tag: flame2020, flame2023 or flame2023_open.
        model: file of the FLAME model.
        masks: file of FLAME's vertex masks, if any.
        uvs: file of the template with texture coordinates, if any.
        closed: file of the template with a closed mouth, if any.
        eyelids: file of the eyelid blendshapes, if any.
    """
    file = read_model(model)
    notes: list[str] = []
    uv, uv_faces = _texture(file.faces, uvs, closed, notes)
    arrays = HeadArrays(
        tag=tag,
        topology="open",
        template=_single(file.template),
        shape_dirs=_single(file.shape_dirs),
        expression_dirs=_single(file.expression_dirs),
        pose_dirs=_single(file.pose_dirs.reshape(3 * VERTICES, -1).T),
        joint_regressor=_single(file.joint_regressor),
        weights=_single(file.weights),
        parents=file.parents,
        faces=file.faces,
        uvs=uv,
        uv_faces=uv_faces,
        eyelid_dirs=None if eyelids is None else _single(read_eyelids(eyelids)),
        regions=_regions(file, masks, notes),
        notes=tuple(notes),
    )
    # FLAME's masks have no mouth interior; its mesh ends at the inner lips.
    rim = np.zeros(VERTICES, np.bool_)
    try:
        rim[mouth_loop(arrays)] = True
    except DataError as error:
        arrays = replace(arrays, notes=(*arrays.notes, f"region mouth_interior has no rim: {error}"))
    return replace(arrays, regions={**arrays.regions, "mouth_interior": rim})


def _single(values: NDArray[np.float64]) -> NDArray[np.float32]:
    """Return an array in float32, contiguous."""
    return np.ascontiguousarray(values, dtype=np.float32)


def _regions(file: FlameFile, masks: Path | None, notes: list[str]) -> _Masks:
    """Return regions (V,) by the project's names from FLAME's masks; without masks only the eyes, by skinning weights.

    A vertex is of an eye where its weight to the eye's joint is above 0.5. What is missing is added to `notes`.
    """
    if masks is None:
        notes.append("no region masks registered (flame/masks): only eyes and mouth_interior are known")
        left, right = (file.weights[:, JOINTS.index(joint)] > 0.5 for joint in ("eye_left", "eye_right"))
        return {"left_eye": left, "right_eye": right, "eyes": left | right}
    found = read_masks(masks)
    left, right = found["left_eyeball"], found["right_eyeball"]
    ears = found["left_ear"] | found["right_ear"]
    return {
        **{name: found[name] for name in _SAME},
        "ears": ears,
        "left_eye": left,
        "right_eye": right,
        "eyes": left | right,
    }


def _texture(
    faces: NDArray[np.int64], uvs: Path | None, closed: Path | None, notes: list[str]
) -> tuple[NDArray[np.float32] | None, NDArray[np.int64] | None]:
    """Return texture coordinates (U, 2) and those of each face's corners (F, 3), in the order of the model's faces.

    Args:
        faces: (F, 3) of the model.
        uvs: file of the template with texture coordinates, if any; it comes first.
        closed: file of the template with a closed mouth, if any.
        notes: gets a sentence where there is neither.
    """
    source, count = (uvs, FACES) if uvs is not None else (closed, FACES + MOUTH_FACES)
    if source is None:
        notes.append("no texture coordinates: neither flame/uv_template nor flame/mouth_closed_template is registered")
        return None, None
    mesh = read_template(source, count)
    if mesh.uvs is None or mesh.uv_faces is None:
        raise DataError(f"{source} has no texture coordinates.")
    aligned = mesh.uv_faces if mesh.faces is None else align_uv_faces(faces, mesh.faces, mesh.uv_faces)
    if aligned is None:
        raise DataError(f"{source} is a template of another mesh: it lacks faces of the registered model.")
    return _single(mesh.uvs), aligned


def _closed(arrays: HeadArrays, path: Path) -> HeadArrays:
    """Give a head the faces and texture of the mouth-closed template, in its order, as FateAvatar indexes them."""
    mesh = read_template(path, FACES + MOUTH_FACES)
    if mesh.faces is None or mesh.uvs is None or mesh.uv_faces is None:
        raise DataError(f"{path} has no faces with texture coordinates.")
    fault = template_fault(mesh)
    if fault:
        help = "`bench assets add flame2020 FILE` with head_template_mouth_close.obj of FateAvatar's repository"
        raise DataError(f"{path} does not close the mouth of FLAME: {fault}.", help)
    if align_uv_faces(arrays.faces, mesh.faces, mesh.uv_faces) is None:
        raise DataError(f"{path} is a template of another mesh: it lacks faces of the registered {arrays.tag} model.")
    return replace(arrays, topology="mouth_closed", faces=mesh.faces, uvs=_single(mesh.uvs), uv_faces=mesh.uv_faces)
