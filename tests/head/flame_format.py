"""A synthetic head in the exact file formats of FLAME: 5,023 vertices, 9,976 faces, pickled as Python 2 with chumpy
does.

Nothing here comes from FLAME but what its published code fixes: counts, array shapes, key names, joint order, and the
vertex numbers of the two lip rings that teeth are built from. The head is an ellipsoid with a mouth, two eye sockets, a
neck hole and two eyeballs.
"""

from __future__ import annotations

import pickle
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from scipy.sparse import csc_matrix
from scipy.spatial import ConvexHull, cKDTree

HEAD, EYEBALL = 3931, 546
UPPER = (1713, 1715, 1716, 1735, 1696, 1694, 1657, 3543, 2774, 2811, 2813, 2850, 2833, 2832, 2830)
LOWER = (1576, 1577, 1773, 1774, 1795, 1802, 1865, 3503, 2948, 2905, 2898, 2881, 2880, 2713, 2712)
RADII = np.array([0.075, 0.135, 0.095])


@dataclass(frozen=True)
class MadeHead:
    vertices: np.ndarray
    faces: np.ndarray
    mouth: np.ndarray
    """(32,) upper row, then lower row, each from the subject's left to the right."""
    cap: np.ndarray
    """(30, 3) faces that close the mouth."""
    uvs: np.ndarray
    shapedirs: np.ndarray
    posedirs: np.ndarray
    joints: np.ndarray
    """(5, 5023) regressor"""
    weights: np.ndarray
    masks: dict[str, np.ndarray]
    eyelids: np.ndarray
    """(2, 5023, 3)"""


def _fibonacci(count: int) -> np.ndarray:
    n = np.arange(count) + 0.5
    polar, around = np.arccos(1 - 2 * n / count), np.pi * (1 + 5**0.5) * n
    return np.stack([np.sin(polar) * np.cos(around), np.cos(polar), np.sin(polar) * np.sin(around)], 1)


def _rows(columns: int, centre: tuple[float, float], half: float, gap: float, down: bool = False) -> np.ndarray:
    """(2 columns, 3) points on the unit sphere: two rows, each from +x to -x; `down`: at the south pole."""
    x = np.linspace(half, -half, columns) + centre[0]
    # Narrow at the corners, as lips are.
    high = gap * (1 - 0.8 * ((x - centre[0]) / half) ** 2)
    rows = [np.stack([x, centre[1] + side * high], 1) for side in (1, -1)]
    flat = np.concatenate(rows)
    third = np.sqrt(1 - (flat**2).sum(1))
    if down:
        return np.stack([flat[:, 0], -third, flat[:, 1]], 1)
    return np.stack([flat[:, 0], flat[:, 1], third], 1)


def _outward(points: np.ndarray) -> np.ndarray:
    """Triangles of the hull of points on a sphere about their mean, counter-clockwise from outside."""
    faces = ConvexHull(points).simplices
    corner = points[faces]
    normal = np.cross(corner[:, 1] - corner[:, 0], corner[:, 2] - corner[:, 0])
    flip = (normal * (corner.mean(1) - points.mean(0))).sum(1) < 0
    faces[flip] = faces[flip][:, ::-1]
    return faces[np.lexsort(faces.T)].astype(np.int64)


def _shell() -> tuple[np.ndarray, np.ndarray, np.ndarray, list[np.ndarray]]:
    """Unit-sphere points (3931, 3), faces (7800, 3), the mouth's cap, and the rows around each hole."""
    rows = [
        _rows(16, (0.0, -0.2), 0.25, 0.02),
        _rows(5, (0.38, 0.3), 0.1, 0.02),
        _rows(5, (-0.38, 0.3), 0.1, 0.02),
        _rows(7, (0.0, 0.0), 0.12, 0.02, down=True),
    ]
    placed = np.concatenate(rows)
    spread = _fibonacci(4100)
    near, _ = cKDTree(placed).query(spread)
    spread = spread[near > 0.035]
    wanted = HEAD - len(placed)
    kept = np.linspace(0, len(spread) - 1, wanted).round().astype(int)
    points = np.concatenate([placed, spread[kept]])
    order = _lip_order(len(rows[0]))
    points = points[order]
    faces = _outward(points)
    new = np.argsort(order)
    ends = np.cumsum([len(row) for row in rows])
    holes = [new[end - len(row) : end] for row, end in zip(rows, ends, strict=True)]
    inside = [np.isin(faces, hole).all(1) for hole in holes]
    assert [int(i.sum()) for i in inside] == [30, 8, 8, 12]
    return points, faces[~np.any(inside, axis=0)], faces[inside[0]], holes


def _lip_order(mouth: int) -> np.ndarray:
    """old vertex of each new one: the first 15 of both mouth rows get the numbers of FLAME's lip rings."""
    fixed = dict(zip(UPPER, range(15), strict=True)) | dict(zip(LOWER, range(mouth // 2, mouth // 2 + 15), strict=True))
    rest = iter(sorted(set(range(HEAD)) - set(fixed.values())))
    return np.array([fixed[new] if new in fixed else next(rest) for new in range(HEAD)])


def _waves(rng: np.random.Generator, vertices: np.ndarray, count: int, size: np.ndarray) -> np.ndarray:
    """(V, 3, count) smooth random fields."""
    wave = rng.normal(size=(3, 3, count)) * 18
    phase = rng.uniform(0, 2 * np.pi, (3, count))
    return np.sin(np.einsum("vi,ick->vck", vertices, wave) + phase) * size


def make_head(seed: int = 0) -> MadeHead:
    """The arrays of a synthetic FLAME."""
    rng = np.random.default_rng(seed)
    sphere, faces, cap, holes = _shell()
    ball = _fibonacci(EYEBALL)
    centres = np.array([[0.029, 0.04, 0.072], [-0.029, 0.04, 0.072]])
    vertices = np.concatenate([sphere * RADII, ball * 0.012 + centres[0], ball * 0.012 + centres[1]])
    balls = _outward(ball)
    faces = np.concatenate([faces, balls + HEAD, balls + HEAD + EYEBALL])
    assert vertices.shape == (5023, 3) and faces.shape == (9976, 3)

    number = np.arange(5023)
    head = number < HEAD
    eyes = [(number >= HEAD) & (number < HEAD + EYEBALL), number >= HEAD + EYEBALL]
    x, y, z = vertices.T
    mouth_y = -0.2 * RADII[1]
    lower_row = np.isin(number, holes[0][16:])
    upper_row = np.isin(number, holes[0][:16])
    jaw = np.clip((mouth_y - y) / 0.01, 0, 1) * np.clip((z + 0.01) / 0.03, 0, 1) * np.clip((y + 0.1) / 0.02, 0, 1)
    jaw = np.where(lower_row, 1.0, np.where(upper_row, 0.0, jaw)) * head
    low = np.clip((-0.09 - y) / 0.03, 0, 1) * (1 - jaw) * head
    weights = np.stack([low, head * (1 - jaw - low), jaw, eyes[0], eyes[1]], 1).astype(np.float64)

    def around(height: float) -> np.ndarray:
        ring = head & (np.abs(y - height) < 0.006)
        return ring / ring.sum()

    joints = np.stack([around(-0.12), around(-0.07), around(-0.01), eyes[0] / EYEBALL, eyes[1] / EYEBALL])
    shapes = _waves(rng, vertices, 300, 0.004 / (1 + np.arange(300)) ** 0.5)
    expressions = _waves(rng, vertices, 100, 0.003 / (1 + np.arange(100)) ** 0.5)
    expressions *= np.clip(z / 0.05, 0, 1)[:, None, None]
    poses = _waves(rng, vertices, 36, np.full(36, 0.0015))

    lids = np.zeros((2, 5023, 3))
    for lid, hole in zip(lids, holes[1:3], strict=True):
        lid[hole[:5], 1] = -0.004
    lips = head & (np.abs(y - mouth_y) < 0.012) & (np.abs(x) < 0.028) & (z > 0)
    masks = {
        "face": head & (z > 0.03) & (y > -0.08) & (y < 0.09),
        "lips": lips,
        "nose": head & (np.abs(x) < 0.012) & (np.abs(y - 0.005) < 0.018) & (z > 0),
        "forehead": head & (z > 0.03) & (y > 0.06) & (y < 0.1),
        "scalp": head & ((y >= 0.09) | ((z < -0.02) & (y > 0))),
        "neck": head & (y < -0.08),
        "boundary": np.isin(number, holes[3]),
        "left_ear": head & (x > 0.07) & (np.abs(z) < 0.03),
        "right_ear": head & (x < -0.07) & (np.abs(z) < 0.03),
        "left_eyeball": eyes[0],
        "right_eyeball": eyes[1],
    }
    around_y = np.arctan2(x, z) / (2 * np.pi) * 0.98 + 0.5
    uvs = np.stack([around_y, 0.25 + 0.7 * (y - y.min()) / np.ptp(y)], 1)
    for eye, left in zip(eyes, (0.6, 0.05), strict=True):
        part = vertices[eye] - vertices[eye].mean(0)
        uvs[eye] = np.stack([left + 0.15 + part[:, 0] * 10, 0.12 + part[:, 1] * 8], 1)
    return MadeHead(
        vertices=vertices,
        faces=faces,
        mouth=holes[0],
        cap=cap,
        uvs=np.clip(uvs, 0, 1),
        shapedirs=np.concatenate([shapes, expressions], 2),
        posedirs=poses,
        joints=joints,
        weights=weights,
        masks=masks,
        eyelids=lids,
    )


class _Named:
    """Pickled as an object of a class that need not exist here."""

    python2 = ("", "")

    def __init__(self, **state: Any) -> None:
        self.__dict__.update(state)


class Ch(_Named):
    python2 = ("chumpy.ch", "Ch")


class CscMatrix(_Named):
    python2 = ("scipy.sparse.csc", "csc_matrix")


class Python2Pickler(pickle._Pickler):
    """Writes what Python 2's cPickle wrote: byte strings, numpy and scipy under their old module names."""

    dispatch: ClassVar[dict] = dict(pickle._Pickler.dispatch)

    def save_string(self, text: str | bytes) -> None:
        data = text.encode("latin-1") if isinstance(text, str) else text
        short = len(data) < 256
        self.write((b"U" + bytes([len(data)]) if short else b"T" + struct.pack("<i", len(data))) + data)
        self.memoize(text)

    dispatch[str] = save_string
    dispatch[bytes] = save_string

    def save_global(self, obj: Any, name: str | None = None) -> None:
        module, name = getattr(obj, "python2", (obj.__module__, name or obj.__qualname__))
        module = {"numpy._core.multiarray": "numpy.core.multiarray", "builtins": "__builtin__"}.get(module, module)
        self.write(b"c" + f"{module}\n{name}\n".encode())
        self.memoize(obj)

    dispatch[type] = save_global
    dispatch[type(save_global)] = save_global


def python2_pickle(path: Path, value: Any) -> Path:
    """Write `value` with protocol 2 in Python 2's dialect."""
    with path.open("wb") as file:
        Python2Pickler(file, protocol=2).dump(value)
    return path


def _chumpy(array: np.ndarray) -> Ch:
    return Ch(x=array, _dirty_vars=set(), _itr=None, _depends_on_deps=None)


def write_model(path: Path, head: MadeHead, chumpy: bool = True) -> Path:
    """generic_model.pkl (with chumpy arrays) or flame2023.pkl (without)."""
    sparse = csc_matrix(head.joints)
    wrap = _chumpy if chumpy else np.asarray
    store = {
        "f": head.faces.astype(np.uint32),
        "J_regressor": CscMatrix(
            _shape=(5, 5023), maxprint=50, indices=sparse.indices, indptr=sparse.indptr, data=sparse.data
        ),
        "kintree_table": np.array([[4294967295, 0, 1, 1, 1], [0, 1, 2, 3, 4]], np.uint32),
        "J": head.joints @ head.vertices,
        "weights": head.weights,
        "posedirs": head.posedirs,
        "v_template": wrap(head.vertices),
        "shapedirs": wrap(head.shapedirs),
        "bs_style": "lbs",
        "bs_type": "lrotmin",
    }
    return python2_pickle(path, store)


def write_masks(path: Path, head: MadeHead) -> Path:
    """FLAME_masks.pkl."""
    return python2_pickle(path, {name: np.flatnonzero(mask) for name, mask in head.masks.items()})


def write_obj(path: Path, head: MadeHead, faces: np.ndarray) -> Path:
    """A template with one texture coordinate per vertex, in an order of its own, as real templates have it."""
    turn = np.random.default_rng(7).permutation(len(head.uvs))
    number = np.argsort(turn) + 1
    lines = ["# made up", "mtllib none.mtl", *("v {:.7f} {:.7f} {:.7f}".format(*v) for v in head.vertices.tolist())]
    lines += ["vt {:.6f} {:.6f}".format(*uv) for uv in head.uvs[turn].tolist()]
    corners = [f"{k + 1}/{new}" for k, new in enumerate(number.tolist())]
    lines += ["s off", *(f"f {corners[a]} {corners[b]} {corners[c]}" for a, b, c in faces.tolist())]
    path.write_text("\n".join(lines) + "\n")
    return path


def landmark_tables(seed: int = 3, irises: int = 0) -> dict[str, np.ndarray]:
    """What DECA's embedding holds, irises last where there are any; faces and weights drawn at random."""
    rng = np.random.default_rng(seed)

    def weights(*shape: int) -> np.ndarray:
        values = rng.random((*shape, 3))
        return values / values.sum(-1, keepdims=True)

    inner, full = 51 + irises, 68 + irises
    return {
        "static_lmk_faces_idx": rng.integers(0, 9976, inner),
        "static_lmk_bary_coords": weights(inner),
        "dynamic_lmk_faces_idx": rng.integers(0, 9976, (79, 17)),
        "dynamic_lmk_bary_coords": weights(79, 17).astype(np.float32),
        "full_lmk_faces_idx": rng.integers(0, 9976, (1, full)),
        "full_lmk_bary_coords": weights(1, full),
    }


def write_landmarks(path: Path, tables: dict[str, np.ndarray]) -> Path:
    """landmark_embedding.npy: a dictionary that numpy pickles, the contour in it as torch tensors."""
    import torch

    store = {key: torch.from_numpy(value) if key.startswith("dynamic") else value for key, value in tables.items()}
    np.save(path, store, allow_pickle=True)
    return path


def closed_faces(head: MadeHead) -> np.ndarray:
    """(10006, 3) in another order than the model's, with the mouth's 30 last."""
    return np.concatenate([np.roll(head.faces, 1, 1)[::-1], head.cap])


def write_all(folder: Path, head: MadeHead) -> dict[str, Path]:
    """Every file of the family under the names that users have; asset name -> path."""
    folder.mkdir(parents=True, exist_ok=True)
    lids = folder / "eyelids.npz"
    np.savez_compressed(lids, left=head.eyelids[0], right=head.eyelids[1])
    return {
        "flame2020/model": write_model(folder / "generic_model.pkl", head),
        "flame/masks": write_masks(folder / "FLAME_masks.pkl", head),
        "flame/uv_template": write_obj(folder / "head_template_mesh.obj", head, head.faces[::-1]),
        "flame/mouth_closed_template": write_obj(folder / "head_template_mouth_close.obj", head, closed_faces(head)),
        "flame/eyelids": lids,
    }
