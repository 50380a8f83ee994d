"""Source of mouth masks: a face parser's files, or the projected mesh for all frames alike."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

from torch import Tensor

from headbench.datasets.common.findings import Findings
from headbench.datasets.common.masks import MOUTH_NOTE, all_parsed, projected_mouth
from headbench.datasets.common.mesh import ProjectedMesh
from headbench.datasets.common.pixels import read_alpha
from headbench.datasets.insta.layout import Folder
from headbench.harness.types import Camera, HeadParams

__all__ = ["mouth_maker", "parsed_frames"]

_PARSER = "zllrunning/face-parsing.PyTorch makes FlashAvatar's parsing/NNNNN_mouth.png"


def parsed_frames(folder: Folder, frames: Sequence[str], findings: Findings) -> bool:
    """Tell whether every frame has a face parser's mouth mask; if not, that is a warning and a note.

    Args:
        folder: the subject's.
        frames: frame ids.
        findings: receives the warning and the note.
    """
    masks = {frame: folder.parsed(frame) for frame in frames}
    if all_parsed(folder.path / "parsing", masks, findings, _PARSER):
        return True
    findings.note(f"{MOUTH_NOTE} (parsing/ has not all of them)")
    return False


def mouth_maker(
    folder: Folder, frame: str, parsed: bool, mesh: ProjectedMesh, params: HeadParams, camera: Camera
) -> Callable[[], Tensor]:
    """Make a function that gives a frame's mouth mask, (1, H, W) uint8, when a method asks for it.

    Args:
        folder: the subject's.
        frame: the frame's id.
        parsed: whether to read the face parser's mask; otherwise it is rasterized from the mesh.
        mesh: the subject's.
        params: the frame's, B = 1.
        camera: the frame's, B = 1.
    """
    if parsed:
        return partial(read_alpha, folder.parsed(frame), frame)
    return projected_mouth(mesh, params, camera)
