"""Recognising and reading of FLAME's model and vertex masks as plain arrays. NumPy only."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from headbench.harness.archives import open_archive
from headbench.harness.arrays import ARRAY_BYTES
from headbench.harness.assets.kinds import (
    CONTAINER,
    ELSEWHERE,
    NEARLY,
    RELATED,
    VARIANT,
    Recognised,
    Refusal,
    Unfit,
    refusal_of,
)
from headbench.harness.assets.pickles import restricted_load, restricted_npy
from headbench.harness.errors import DataError
from headbench.harness.reading import open_regular

__all__ = ["FlameFile", "read_masks", "read_model", "recognise_masks", "recognise_model", "starts"]

VERTICES, FACES, JOINTS = 5023, 9976, 5
"""Numbers of vertices, faces and joints of FLAME."""
SHAPES, EXPRESSIONS = 300, 100
"""Numbers of FLAME's shape and expression directions."""
MASKS = ("face", "lips", "nose", "forehead", "scalp", "neck", "boundary", "left_ear", "right_ear")
"""Vertex masks that FLAME's file must hold, besides the eyeballs."""
EYEBALLS = ("left_eyeball", "right_eyeball")
"""Vertex masks of the eyeballs in FLAME's file."""

_KEYS = ("v_template", "shapedirs", "posedirs", "J_regressor", "kintree_table", "weights", "f")
"""Arrays that every FLAME model has."""
_EXPRESSION_KEYS = ("exprdirs", "expr_dirs", "expressiondirs", "expression_dirs", "expdirs", "exp_dirs")
"""Names of the expression directions in converted files that keep them apart from the shape directions."""
_GROUPS = ("numpy", "scipy", "chumpy")
"""Groups of names that the pickle of a FLAME model may hold."""
_RELATIVES = {5143: "FLAME with VHAP's teeth", 6890: "SMPL", 10475: "SMPL-X", 778: "MANO"}
"""Number of vertices -> another model that has as many, for messages."""
_VARIANTS = {
    "female_model": "the female variant of FLAME",
    "male_model": "the male variant of FLAME",
    "flame2023_no_jaw": "a no-jaw variant of FLAME",
}
"""Name of a file without its suffix -> the variant of FLAME that it is; downloads hold them beside the model."""
_PICKLE = (b"\x80", b"(dp", b"}")
"""First bytes of pickles."""
_ARCHIVE = b"PK"
"""First bytes of zip archives, such as .npz."""

_Floats = NDArray[np.float64]


@dataclass(frozen=True)
class FlameFile:
    """Arrays of a FLAME model as in its file: V = 5,023 vertices, metres."""

    template: _Floats
    """(V, 3) the mean head at rest."""
    shape_dirs: _Floats
    """(V, 3, 300) metres per unit of a shape coefficient."""
    expression_dirs: _Floats
    """(V, 3, 100) metres per unit of an expression coefficient."""
    pose_dirs: _Floats
    """(V, 3, 36) pose correctives."""
    joint_regressor: _Floats
    """(5, V) weights that give the joints from the vertices."""
    weights: _Floats
    """(V, 5) skinning weights."""
    parents: tuple[int, ...]
    """(5,) parent of each joint, -1 for the root."""
    faces: NDArray[np.int64]
    """(9976, 3) vertices of each triangle."""


def read_model(path: Path) -> FlameFile:
    """Read a FLAME 2020 or 2023 pickle, or an .npz that was converted from one; nothing that it names is run.

    Converted files may keep the 100 expression directions apart from the 300 of the shape, under a name such as
    `exprdirs`.

    Raises:
        DataError: the file is no FLAME model of 300 shape and 100 expression directions; the message says what differs.
    """
    store = _store(path)
    shape, expression = _directions(path, store)
    faces = _array(path, store, "f", (FACES, 3)).astype(np.int64)
    if faces.min() < 0 or faces.max() >= VERTICES:
        message = f"faces name vertices {faces.min()}..{faces.max()}, there are {VERTICES}"
        raise Unfit(path, Refusal(NEARLY, message))
    # The root's parent is stored as -1 wrapped to unsigned.
    tree = _array(path, store, "kintree_table", (2, JOINTS))[0]
    parents = (-1, *(int(p) for p in tree[1:]))
    if any(not 0 <= parent < joint for joint, parent in enumerate(parents[1:], start=1)):
        message = f"expected each joint's parent to come before it, found kintree_table {parents}"
        raise Unfit(path, Refusal(NEARLY, message))
    return FlameFile(
        template=_array(path, store, "v_template", (VERTICES, 3)),
        shape_dirs=shape,
        expression_dirs=expression,
        pose_dirs=_array(path, store, "posedirs", (VERTICES, 3, 9 * (JOINTS - 1))),
        joint_regressor=_array(path, store, "J_regressor", (JOINTS, VERTICES)),
        weights=_array(path, store, "weights", (VERTICES, JOINTS)),
        parents=parents,
        faces=faces,
    )


def _store(path: Path) -> Mapping[str, Any]:
    """Read the arrays of a model's pickle or archive by name."""
    if starts(path, _ARCHIVE):
        return _archive(path)
    store = restricted_load(path, allow=_GROUPS)
    if not isinstance(store, Mapping):
        found = "an array" if isinstance(store, np.ndarray) else f"a {type(store).__name__}"
        raise Unfit(path, Refusal(CONTAINER, f"no FLAME model: it holds {found}, not a dictionary"))
    return store


def _archive(path: Path) -> dict[str, Any]:
    """Read a model's arrays from an .npz; members that numpy pickled (sparse, chumpy) are read like pickles."""
    wanted = (*_KEYS, *_EXPRESSION_KEYS)
    found: dict[str, Any] = {}
    with open_archive(path) as archive, tempfile.TemporaryDirectory() as scratch:
        for name in wanted:
            if f"{name}.npy" not in archive.members:
                continue
            content = archive.read(f"{name}.npy", ARRAY_BYTES)
            place = Path(scratch) / f"{name}.npy"
            content.tofile(place)
            try:
                value = restricted_npy(place, allow=_GROUPS)
            except DataError as error:
                # The reader saw a temporary copy, so its message would name no file of the user.
                help = "store arrays of numbers: scipy's .toarray(), chumpy's .r"
                raise Unfit(path, Refusal(RELATED, f"its array {name} holds no numbers that are read", help)) from error
            found[name] = value.item() if isinstance(value, np.ndarray) and value.dtype == object else value
    return found


def _array(path: Path, store: Mapping[str, Any], key: str, shape: tuple[int, ...]) -> _Floats:
    """Return an array of a model in float64, once its shape and values are found to be right.

    Args:
        path: the model's file, for messages.
        store: name -> array, as read.
        key: name of the array.
        shape: that it must have.

    Raises:
        Unfit: it is missing, or has another shape, no numbers, or some that are not finite.
    """
    if key not in store:
        known = len(set(_KEYS) & set(store))
        there = ", ".join(sorted(map(str, store))[:12]) or "nothing that a model has"
        message = f"no FLAME model: it has no {key!r}, only {there}"
        raise Unfit(path, Refusal(RELATED if known > 1 else CONTAINER, message))
    value = store[key]
    value = np.asarray(value.toarray() if hasattr(value, "toarray") else value)
    if value.shape != shape or value.dtype.kind not in "fiu":
        relative = _RELATIVES.get(value.shape[0], "") if key == "v_template" and value.ndim else ""
        found = f"expected {key} of shape {shape}, found {value.shape} {value.dtype}"
        raise Unfit(path, Refusal(NEARLY, f"{found}: {relative}" if relative else found))
    numbers = value.astype(np.float64, copy=False)
    if not np.isfinite(numbers).all():
        raise Unfit(path, Refusal(NEARLY, f"{key} has values that are not finite"))
    return numbers


def _directions(path: Path, store: Mapping[str, Any]) -> tuple[_Floats, _Floats]:
    """Return the directions of shape (V, 3, 300) and expression (V, 3, 100); files hold one array or two."""
    # Checked first, since another number of vertices names another model.
    _array(path, store, "v_template", (VERTICES, 3))
    apart = next((key for key in _EXPRESSION_KEYS if key in store), None)
    if apart is not None:
        return _array(path, store, "shapedirs", (VERTICES, 3, SHAPES)), _array(
            path, store, apart, (VERTICES, 3, EXPRESSIONS)
        )
    both = SHAPES + EXPRESSIONS
    shape: tuple[int, ...] = getattr(store.get("shapedirs"), "shape", ())
    if len(shape) == 3 and shape[:2] == (VERTICES, 3) and shape[2] != both:
        what = "no expression directions" if shape[2] == SHAPES else "a reduced basis" if shape[2] < both else "another"
        message = f"expected shapedirs of shape {(VERTICES, 3, both)}, found {shape}: {what}"
        help = "take the model as it is downloaded: 300 shape and 100 expression directions"
        raise Unfit(path, Refusal(VARIANT, message, help))
    directions = _array(path, store, "shapedirs", (VERTICES, 3, both))
    return directions[..., :SHAPES], directions[..., SHAPES:]


def read_masks(path: Path) -> dict[str, NDArray[np.bool_]]:
    """Read FLAME_masks.pkl: name of a region, as in the file -> (5023,) bool.

    Raises:
        DataError: the file does not hold FLAME's vertex masks.
    """
    store = restricted_load(path)
    wanted = (*MASKS, *EYEBALLS)
    if not isinstance(store, Mapping) or not set(wanted) <= set(store):
        known = set(wanted) & set(store) if isinstance(store, Mapping) else set()
        found = ", ".join(sorted(map(str, store))[:20]) if isinstance(store, Mapping) else type(store).__name__
        message = f"no set of FLAME masks: expected {', '.join(sorted(wanted))}, found {found}"
        raise Unfit(path, Refusal(RELATED if known else CONTAINER, message))
    masks = {}
    for name, values in store.items():
        index = np.asarray(values)
        whole = index.ndim == 1 and index.dtype.kind in "iu"
        if not whole or (index.size and not 0 <= index.min() <= index.max() < VERTICES):
            message = f"mask {str(name)[:40]!r} is no list of vertices 0..{VERTICES - 1}"
            raise Unfit(path, Refusal(NEARLY, message))
        masks[str(name)] = np.isin(np.arange(VERTICES), index)
    return masks


def starts(path: Path, *signatures: bytes) -> bool:
    """Whether a file begins with one of the signatures, so that no large foreign file is parsed."""
    try:
        with open_regular(path) as file:
            return file.read(8).startswith(signatures)
    except (DataError, OSError):
        return False


def shape_of(array: NDArray[Any]) -> str:
    """Format shape and type of an array as `bench assets list` does."""
    return f"{array.shape} {array.dtype}"


def recognise_model(path: Path) -> Recognised | Refusal:
    """Recognise a FLAME model; 2020 and 2023 have arrays of the same shapes, so only the file's name tells them apart.

    The female, male and no-jaw variants that lie beside it in a download are other bases, which trackers do not use.
    """
    if not starts(path, *_PICKLE, _ARCHIVE):
        return Refusal(ELSEWHERE, "neither a pickle nor an .npz archive")
    try:
        found = read_model(path)
    except DataError as error:
        return refusal_of(path, error)
    stem = path.stem.lower().replace("-", "_")
    if stem in _VARIANTS:
        reason = f"{_VARIANTS[stem]}, as its name says: another basis, which trackers do not use"
        return Refusal(VARIANT, reason, "take generic_model.pkl or flame2023.pkl of the same download")
    shapes = {name: shape_of(getattr(found, name)) for name in FlameFile.__dataclass_fields__ if name != "parents"}
    tag = ""
    if "flame2023" in stem:
        tag = "flame2023_open" if "open" in stem else "flame2023"
    elif "flame2020" in stem or stem == "generic_model":
        tag = "flame2020"
    if not tag:
        return Recognised("", shapes, "FLAME 2020 and 2023 have the same arrays: which one this is was taken as given")
    return Recognised(f"{tag}/model", shapes, f"taken as {tag} by its file name: 2020 and 2023 have the same arrays")


def recognise_masks(path: Path) -> Recognised | Refusal:
    """Recognise the file of FLAME's vertex masks."""
    if not starts(path, *_PICKLE):
        return Refusal(ELSEWHERE, "no pickle")
    try:
        found = read_masks(path)
    except DataError as error:
        return refusal_of(path, error)
    return Recognised("flame/masks", {name: f"{int(mask.sum())} vertices" for name, mask in sorted(found.items())})
