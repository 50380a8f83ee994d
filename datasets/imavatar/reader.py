"""Readers of the IMAvatar layout, one for each dataset that has it."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import torch

from headbench.datasets.common.cameras import cameras
from headbench.datasets.common.clothing import WithoutClothing, clothing_masks
from headbench.datasets.common.findings import Findings
from headbench.datasets.common.masks import projected_mouth
from headbench.datasets.common.mesh import ProjectedMesh
from headbench.datasets.common.params import head_params
from headbench.datasets.common.pixels import PixelReader, read_alpha
from headbench.datasets.common.reader import SurveyReader
from headbench.datasets.common.sources import check_sample
from headbench.datasets.imavatar.cameras import intrinsic_matrix, world_to_camera
from headbench.datasets.imavatar.checks import check_keypoints, check_pixels
from headbench.datasets.imavatar.images import HardMatte, classes_file, parsed_mouth
from headbench.datasets.imavatar.layout import find_subjects
from headbench.datasets.imavatar.options import ImavatarOptions
from headbench.datasets.imavatar.survey import Clip, ImavatarSurvey, survey
from headbench.datasets.imavatar.tracking import Entry
from headbench.harness.types import Camera, Frame, HeadParams, Pixels, Subject

__all__ = ["EmoTalk3dReader", "ImavatarReader", "NerFaceReader", "PointAvatarReader"]


class ImavatarReader(SurveyReader[ImavatarOptions, ImavatarSurvey]):
    """Reads subjects that IMAvatar's pipeline tracked, and synthetic ones in the same layout."""

    dataset = "imavatar"
    options_type = ImavatarOptions

    def subjects(self, root: Path) -> dict[str, Path]:
        return find_subjects(root, self.dataset)

    def survey(self, folder: Path, options: ImavatarOptions, findings: Findings) -> ImavatarSurvey:
        return survey(folder, options, findings)

    def look_closely(self, found: ImavatarSurvey) -> None:
        check_pixels(found)

    def look_briefly(self, found: ImavatarSurvey) -> None:
        for clip in found.clips:
            check_sample(clip.images, found.findings)

    def frames(self, found: ImavatarSurvey) -> list[Frame]:
        params, mesh = _params(found), found.mesh()
        frames = []
        for row, (clip, entry) in enumerate(found.rows()):
            camera, pose = _camera(clip, entry, found.options), params.rows(slice(row, row + 1))
            source = clip.images[entry.id]
            mouth = (
                partial(read_alpha, parsed_mouth(clip.tracking.video, entry), entry.id)
                if clip.parsed
                else projected_mouth(mesh, pose, camera)
            )
            classes = clothing_masks(classes_file(clip.tracking.video, entry), entry.id) if clip.classed else {}
            masks = {"mouth": mouth, **classes}
            pixels: Callable[[], Pixels] = PixelReader(entry.id, source.colour, source.alpha, masks)
            if found.options.clothing == "remove":
                pixels = WithoutClothing(pixels, entry.id)
            if found.options.mask == "hard":
                pixels = HardMatte(pixels)
            points = None if entry.keypoints is None else torch.from_numpy(entry.keypoints)
            place = clip.tracking.video.name
            frames.append(Frame(entry.id, camera, pose, pixels, place, timestep=row, landmarks=points))
        return frames

    def look_at_subject(self, found: ImavatarSurvey, subject: Subject) -> None:
        check_keypoints(found, subject.train + subject.test, ProjectedMesh.of(subject))


class PointAvatarReader(ImavatarReader):
    """Reads PointAvatar's people, which IMAvatar's pipeline tracked."""

    dataset = "pointavatar"


class NerFaceReader(ImavatarReader):
    """Reads NerFace's people, tracked again by IMAvatar's pipeline: FateAvatar's 4dface."""

    dataset = "4dface"


class EmoTalk3dReader(ImavatarReader):
    """Reads frontal videos of EmoTalk3D's people, tracked by IMAvatar's pipeline as FateAvatar's authors did."""

    dataset = "emotalk3d"


def _camera(clip: Clip, entry: Entry, options: ImavatarOptions) -> Camera:
    width, height = clip.images[entry.id].size
    K = intrinsic_matrix(clip.lens, width, height, options.camera)
    return cameras(world_to_camera(entry.world_mat)[None], K, width, height)[0]


def _params(found: ImavatarSurvey) -> HeadParams:
    """Stack the parameters of all frames to one batch.

    Head motion is in the root and neck, translation in the camera.
    """
    entries = [entry for _, entry in found.rows()]
    pose = np.stack([entry.pose for entry in entries]).reshape(-1, 5, 3)
    return head_params(
        found.head,
        found.synthetic.expression(np.stack([entry.expression for entry in entries])),
        root=pose[:, 0],
        neck=pose[:, 1],
        jaw=pose[:, 2],
        eye_left=pose[:, 3],
        eye_right=pose[:, 4],
    )
