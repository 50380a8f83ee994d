"""Mouth masks of frames for which a dataset has none: rasterized from the head mesh."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

from torch import Tensor

from headbench.datasets.common.findings import Findings, ranges
from headbench.datasets.common.mesh import ProjectedMesh
from headbench.datasets.common.numbering import masks_renumbered
from headbench.datasets.common.paths import not_folders
from headbench.datasets.common.roots import names_in, odd_names
from headbench.harness.reading import kind_at
from headbench.harness.types import Camera, HeadParams

__all__ = ["MOUTH_NOTE", "all_classed", "all_parsed", "projected_mouth"]

MOUTH_NOTE = "mouth masks projected from the head mesh"
"""Note of a subject whose mouth masks are rasterized."""


def projected_mouth(mesh: ProjectedMesh, params: HeadParams, camera: Camera) -> Callable[[], Tensor]:
    """Make a function that rasterizes a frame's mouth mask, (1, H, W) uint8, when a method asks for it.

    Its place is `PixelReader.masks`.

    Args:
        mesh: the subject's.
        params: the frame's, B = 1.
        camera: the frame's, B = 1.
    """
    return partial(mesh.mouth, params, camera)


def all_parsed(place: Path, masks: Mapping[str, Path], findings: Findings, help: str) -> bool:
    """Tell whether every frame has a face parser's mouth mask; a warning if not. What is there and no file is an error.

    Args:
        place: the folder of masks.
        masks: frame id -> where its mask would be, in `place` or a folder in it.
        findings: receives the warning and the errors.
        help: who makes the masks.
    """
    named = [path.stem for path in masks.values()]
    if not_folders([place], findings) or masks_renumbered(place, [named], findings):
        return False
    folders = {path.parent for path in masks.values()}
    names, odd = ({folder: listed(folder) for folder in folders} for listed in (names_in, odd_names))
    missing = [frame for frame, path in masks.items() if path.name not in names[path.parent]]
    for frame, path in masks.items():
        if path.name in odd[path.parent]:
            findings.error(path, f"expected a mouth mask, found {kind_at(path)}", frame, help, kind="no-mask-file")
    if not missing:
        return True
    whole = len(missing) == len(masks)
    findings.warning(
        place,
        f"expected a mouth mask for each of {len(masks)} frames, found "
        f"{'none' if whole else f'{len(missing)} missing ({ranges(missing)})'}: projected from the head mesh",
        "" if whole else missing[0],
        help,
    )
    return False


def all_classed(files: Mapping[str, Path], findings: Findings) -> bool:
    """Tell whether every frame has a face parser's class numbers; a warning where some have and others have not.

    Args:
        files: frame id -> where its class numbers would be.
        findings: receives the warning.
    """
    names = {folder: names_in(folder) for folder in {path.parent for path in files.values()}}
    missing = [frame for frame, path in files.items() if path.name not in names[path.parent]]
    if missing and len(missing) < len(files):
        findings.warning(
            files[missing[0]].parent,
            f"expected a face parser's classes for each of {len(files)} frames, found {len(missing)} missing "
            f"({ranges(missing)}): no mask of clothing",
            missing[0],
            "run the face parser on those frames",
            kind="no-classes",
        )
    return not missing
