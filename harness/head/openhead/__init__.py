"""The built-in open head: a CC0 head and neck from MakeHuman's data, in three topologies. See ATTRIBUTION.md."""

from __future__ import annotations

import functools
from importlib.resources import files
from typing import Any

import numpy as np
from numpy.typing import NDArray

from headbench.harness.head.arrays import TOPOLOGIES, HeadArrays

__all__ = ["UNIT", "load_arrays", "part_faces"]

UNIT = 2e-6
"""Unit of the stored displacements, in metres; they are whole multiples of it."""


@functools.lru_cache(maxsize=1)
def _stored() -> dict[str, NDArray[Any]]:
    """Return the arrays of openhead.npz by name, read once."""
    with files(__name__).joinpath("openhead.npz").open("rb") as handle, np.load(handle, allow_pickle=False) as data:
        return {name: data[name] for name in data.files}


@functools.lru_cache(maxsize=len(TOPOLOGIES))
def load_arrays(topology: str = "open") -> HeadArrays:
    """Load the arrays of the open head, read only. Vertices of `open` and `mouth_closed` are the first ones of `teeth`.

    Expression coefficients are the ARKit-named face units, 0 at rest and 1 at full strength; identity coefficients are
    standard deviations. `open` has skin and eyes with an opening between the lips, `mouth_closed` a cap over it,
    `teeth` the mouth's inside, teeth and tongue instead. There are no pose correctives.
    """
    data = _stored()
    inside = topology == "teeth"
    count = len(data["template"]) if inside else int(data["open_vertices"])
    extra = {"open": [], "mouth_closed": ["cap"], "teeth": ["inside"]}[topology]
    expressions = _directions(data["expression"], count)
    names = tuple(str(name) for name in data["expression_names"])
    blink = np.stack([expressions[..., names.index(f"eyeBlink{side}")] for side in ("Left", "Right")])
    arrays = HeadArrays(
        tag="openhead",
        topology=topology,
        template=data["template"][:count],
        shape_dirs=_directions(data["shape"], count),
        expression_dirs=expressions,
        pose_dirs=np.zeros((36, 3 * count), dtype=np.float32),
        joint_regressor=data["joint_regressor"][:, :count],
        weights=data["weights"][:count],
        parents=(-1, 0, 1, 1, 1),
        faces=np.concatenate([data[f"faces_{name}"] for name in ("open", *extra)]).astype(np.int64),
        uvs=data["uvs"],
        uv_faces=np.concatenate([data[f"uv_{name}"] for name in ("open", *extra)]).astype(np.int64),
        regions={
            name.removeprefix("region_"): mask[:count] for name, mask in data.items() if name.startswith("region_")
        },
        eyelid_dirs=blink,
        expression_names=names,
    )
    # A process loads the head many times, and models copy what they need.
    for array in (*vars(arrays).values(), *arrays.regions.values()):
        if isinstance(array, np.ndarray):
            array.flags.writeable = False
    return arrays


def _directions(stored: NDArray[np.int16], count: int) -> NDArray[np.float32]:
    """Convert the first `count` vertices of stored displacements (K, V, 3), in UNIT, to (count, 3, K) metres."""
    return np.ascontiguousarray(np.moveaxis(stored[:, :count], 0, -1).astype(np.float32) * np.float32(UNIT))


def part_faces(part: str) -> NDArray[np.int64]:
    """Return the indices of the faces of topology `teeth` that are of bag, upper_teeth, lower_teeth or tongue."""
    data = _stored()
    first = len(data["faces_open"])
    counts = dict(zip(data["inside_names"].tolist(), data["inside_counts"].tolist(), strict=True))
    before = list(counts)[: list(counts).index(part)]
    start = first + sum(counts[name] for name in before)
    return np.arange(start, start + counts[part])
