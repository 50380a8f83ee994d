"""Checks of the IMAvatar layout that only `bench data check` makes: decode images, list folders and pose the head."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from headbench.datasets.common.documents import read_object
from headbench.datasets.common.findings import Findings, by_number, ranges
from headbench.datasets.common.mattes import edge_faults
from headbench.datasets.common.mesh import ProjectedMesh
from headbench.datasets.common.pixels import read_alpha, read_planes
from headbench.datasets.common.probes import probes
from headbench.datasets.common.roots import there
from headbench.datasets.common.sources import Source, check_decoded, check_masks
from headbench.datasets.imavatar.images import parsed_mouth, stray_images
from headbench.datasets.imavatar.survey import ImavatarSurvey
from headbench.harness.assets import kind, record
from headbench.harness.errors import DataError, MissingAsset
from headbench.harness.head import axis_angle_to_matrix, load_landmarks, project
from headbench.harness.types import Frame, HeadParams

__all__ = ["check_keypoints", "check_pixels"]

_MEDIAN = 3.0
"""Largest median distance of stored landmarks from projected ones, in pixels of an image of 512."""
_ON_MESH = 0.8
"""Least share of the stored landmarks that must fall on the projected mesh."""


def check_pixels(found: ImavatarSurvey) -> None:
    """Add to a survey the problems of all images, mattes and masks, and of files beside them."""
    findings = found.findings
    for clip in found.clips:
        if clip.tracking.whole:
            stray_images(clip.tracking.video, clip.tracking.listed, findings)
        _check_irises(clip.tracking.video.path / "iris.json", findings)
        _check_mattes(clip.images, findings)
        check_decoded(clip.images, findings)
        if clip.parsed:
            masks = {entry.id: parsed_mouth(clip.tracking.video, entry) for entry in clip.tracking.entries}
            check_masks(masks, findings)


def _check_mattes(images: Mapping[str, Source], findings: Findings) -> None:
    """Warn of odd edges in the mattes of a video's first, middle and last image.

    Args:
        images: frame id -> its files.
        findings: receives the warnings.
    """
    names = list(images)
    for name in dict.fromkeys((names[0], names[len(names) // 2], names[-1])) if names else ():
        source = images[name]
        path = source.alpha or source.colour
        try:
            colour = read_planes(source.colour, name)[:3].numpy()
            alpha = read_alpha(path, name)[0].numpy()
        except DataError:  # reported by the pass over all images
            continue
        if len(colour) == 3 and colour.shape[1:] == alpha.shape and alpha.min() != alpha.max():
            for sentence in edge_faults(colour, alpha):
                findings.warning(path, sentence, name, "run the matting again on the images themselves")


def _check_irises(path: Path, findings: Findings) -> None:
    """Warn of images without irises in the detector's file, where it was kept.

    A frame without irises was fitted to those of the frame before.
    """
    faults = Findings()
    content = read_object(path, "irises of all images", faults) if there(path) else None
    for fault in faults.problems:  # nothing else reads the file
        findings.warning(fault.path, fault.message, help=fault.help)
    lost = sorted((name for name, found in (content or {}).items() if found is None), key=by_number)
    if lost:
        findings.warning(
            path,
            f"expected irises in every image, found none in {len(lost)} ({ranges(lost)}): the gaze of the frame before "
            "was used, or none at all",
        )


def check_keypoints(found: ImavatarSurvey, frames: Sequence[Frame], mesh: ProjectedMesh) -> None:
    """Compare the stored landmarks with the head in the first, the middle and the last frame.

    Where the landmarks' places on the mesh are known (flame/landmarks is registered, or the subject is synthetic), by
    their distance; otherwise by whether they fall on the mesh.

    Args:
        found: the survey; receives what is wrong.
        frames: all frames of the subject.
        mesh: the subject's head mesh.
    """
    findings = found.findings
    entries = {entry.id: (clip, entry) for clip, entry in found.rows()}
    try:
        places = _landmarks(found)
    except MissingAsset:
        return  # the overlap of mesh and image says it
    except DataError as error:
        findings.remark(found.clips[0].tracking.path, f"landmarks not compared: {error.args[0]}", help=error.help)
        return
    if places is None and found.head != "openhead":
        message = "landmarks compared with the outline of the head alone: flame/landmarks is not registered"
        findings.remark(found.clips[0].tracking.path, message, help=kind("flame/landmarks").command)
    for row in probes(len(frames)):
        frame = frames[row]
        clip, entry = entries[frame.id]
        if entry.keypoints is None:
            message = "landmarks not compared: no `flame_keypoints` in the file, or zeros alone"
            findings.remark(clip.tracking.path, message, frame.id)
            return
        try:
            message = _compare(entry.keypoints, frame, mesh, places)
        except (MissingAsset, DataError):
            return  # the overlap of mesh and image says it
        if message:
            findings.error(
                clip.tracking.path,
                f"flame_keypoints: {message}",
                frame.id,
                "another FLAME version, head scale or camera than that of the tracking, or intrinsics borrowed from "
                "another camera",
            )


_Places = Callable[[Tensor, HeadParams], Tensor]
"""Type of a function that finds landmarks (B, N, 3) on posed vertices (B, V, 3), with the head's parameters."""


def _landmarks(found: ImavatarSurvey) -> _Places | None:
    """Function that finds the landmarks on this subject's posed mesh; None where their places are not known.

    Raises:
        MissingAsset: the head model is not registered.
        DataError: a registered file is not what it should be.
    """
    vertices = list(found.synthetic.landmarks)
    if vertices:
        return lambda posed, params: posed[:, vertices]
    if found.head == "openhead" or record("flame/landmarks") is None:
        return None
    known = load_landmarks(found.head)

    def places(posed: Tensor, params: HeadParams) -> Tensor:
        # The fit turned the contour with the head's own rotation: its cameras are not turned.
        return known.points(posed, axis_angle_to_matrix(params.root) @ axis_angle_to_matrix(params.neck))

    return places


def _compare(keypoints: NDArray[np.float64], frame: Frame, mesh: ProjectedMesh, places: _Places | None) -> str:
    """Say how stored landmarks disagree with the projected head; empty where they agree.

    Args:
        keypoints: (K, 2) stored landmarks, -1 to 1 from edge to edge of the image.
        frame: their frame.
        mesh: the subject's head mesh.
        places: finds the landmarks on the mesh; None compares with its silhouette.
    """
    width, height = frame.camera.width, frame.camera.height
    stored = (keypoints + 1) / 2 * (width, height)
    if places is not None:
        posed = torch.from_numpy(mesh.vertices(frame.params)).to(torch.float32)[None]
        points = project(places(posed, frame.params), frame.camera)[0][0].double().numpy()
        if len(points) <= len(stored):
            # Irises may follow the landmarks of the face.
            off = float(np.median(np.linalg.norm(points - stored[: len(points)], axis=1))) * 512 / max(width, height)
            if not off <= _MEDIAN:
                return (
                    f"expected a median of {_MEDIAN:g} px of 512 between stored and projected landmarks, "
                    f"found {off:.1f}"
                )
            return ""
    seen = mesh.silhouette(frame.params, frame.camera)
    column, line = np.floor(stored).astype(int).clip(-1, max(width, height)).T
    inside = (column >= 0) & (column < width) & (line >= 0) & (line < height)
    share = seen[line[inside], column[inside]].sum() / max(len(stored), 1)
    if share < _ON_MESH:
        return f"expected at least {_ON_MESH:.0%} of the landmarks on the projected head, found {share:.0%}"
    return ""
