"""Where mouth masks come from: a face parser's files, or the projected mesh for all frames alike."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

from torch import Tensor

from headbench.datasets.common.findings import Findings, ranges
from headbench.datasets.common.masks import MOUTH_NOTE, projected_mouth
from headbench.datasets.common.mesh import ProjectedMesh
from headbench.datasets.common.pixels import read_alpha
from headbench.datasets.insta.layout import Folder
from headbench.harness.types import Camera, HeadParams

__all__ = ["mouth_maker", "parsed_frames"]

_PARSER = "zllrunning/face-parsing.PyTorch makes FlashAvatar's parsing/NNNNN_mouth.png"


def parsed_frames(folder: Folder, frames: Sequence[str], findings: Findings) -> bool:
    """Whether every frame has a parsed mouth mask; if not, that is a warning and a note."""
    there = folder.present("parsing")
    missing = [frame for frame in frames if folder.parsed(frame).name not in there]
    if not missing:
        return True
    found = "none" if len(missing) == len(frames) else f"{len(missing)} missing ({ranges(missing)})"
    findings.warning(
        folder.path / "parsing",
        f"expected a mouth mask for each of {len(frames)} frames, found {found}: projected from the head mesh",
        "" if len(missing) == len(frames) else missing[0],
        _PARSER,
    )
    findings.note(f"{MOUTH_NOTE} (parsing/ has not all of them)")
    return False


def mouth_maker(
    folder: Folder, frame: str, parsed: bool, mesh: ProjectedMesh, params: HeadParams, camera: Camera
) -> Callable[[], Tensor]:
    """What gives a frame's mouth mask, (1, H, W) uint8, when a method asks for it."""
    if parsed:
        return partial(read_alpha, folder.parsed(frame), frame)
    return projected_mouth(mesh, params, camera)
