"""Reader of the INSTA layout: surveys a subject's folder and makes its frames."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from headbench.datasets.common.cameras import cameras as stacked
from headbench.datasets.common.cameras import pinhole
from headbench.datasets.common.clothing import INSTA_CODES, cloth_mask, read_classes
from headbench.datasets.common.findings import Findings
from headbench.datasets.common.intrinsics import Intrinsics
from headbench.datasets.common.params import each_row, head_params
from headbench.datasets.common.pixels import PixelReader
from headbench.datasets.common.reader import SurveyReader
from headbench.datasets.common.sources import check_sample
from headbench.datasets.common.survey import known
from headbench.datasets.insta.checks import deep_checks
from headbench.datasets.insta.coefficients import Coefficients
from headbench.datasets.insta.layout import DATASET, find_subjects
from headbench.datasets.insta.masks import mouth_maker
from headbench.datasets.insta.options import InstaOptions
from headbench.datasets.insta.rotations import axis_angles
from headbench.datasets.insta.survey import InstaSurvey, survey
from headbench.harness.types import Camera, Frame, HeadParams

__all__ = ["InstaReader"]


class InstaReader(SurveyReader[InstaOptions, InstaSurvey]):
    """Reads subjects that metrical-tracker tracked and INSTA exported, and synthetic ones in the same layout."""

    dataset = DATASET
    options_type = InstaOptions

    def subjects(self, root: Path) -> dict[str, Path]:
        return find_subjects(root)

    def survey(self, folder: Path, options: InstaOptions, findings: Findings) -> InstaSurvey:
        return survey(folder, options, findings)

    def look_closely(self, found: InstaSurvey) -> None:
        deep_checks(found)

    def look_briefly(self, found: InstaSurvey) -> None:
        check_sample(found.images, found.findings)

    def frames(self, found: InstaSurvey) -> list[Frame]:
        entries, numbers = found.entries, known(found.coefficients)
        views = cameras(known(found.train.intrinsics), [entry.c2w for entry in entries], found.options.fov)
        poses, mesh = each_row(_params(found.head, numbers, found.options)), found.mesh()
        frames = []
        for row, entry in enumerate(entries):
            camera, pose = views[row], poses[row]
            mouth = mouth_maker(found.folder, entry.id, found.parsed, mesh, pose, camera)
            source = found.images[entry.id]
            masks = {"mouth": mouth}
            if found.classed:
                codes = partial(read_classes, found.folder.classes(entry.id), entry.id)
                masks["cloth"] = partial(cloth_mask, codes, INSTA_CODES)
            pixels = PixelReader(entry.id, source.colour, source.alpha, masks)
            frames.append(Frame(entry.id, camera, pose, pixels, timestep=int(entry.id)))
        return frames


def _params(head: str, numbers: Coefficients, options: InstaOptions) -> HeadParams:
    """Stack the parameters of all frames to one batch.

    The tracker never moves root, neck or translation: the head's motion is the camera's.
    """
    joint3, joint4 = axis_angles(numbers.eyes[:, :6]), axis_angles(numbers.eyes[:, 6:])
    if options.eyes == "fateavatar":
        joint3, joint4 = joint4, joint3
    return head_params(
        head,
        numbers.exp,
        jaw=axis_angles(numbers.jaw),
        eye_left=joint3,
        eye_right=joint4,
        eyelids=None if options.eyelids == "ignore" else numbers.eyelids,
    )


def intrinsic_matrix(k: Intrinsics, fov: str) -> NDArray[np.float64]:
    """Intrinsic matrix (3, 3) in pixels, by one of three readings of the JSON.

    Args:
        k: size and intrinsics of the JSON.
        fov: exact, or fateavatar: the field of view 2 atan(2 c^2 / (size fl)) with a centred principal point, which
            is the true one only where c is half the size; the focal length is off by (size / (2 c))^2. centred: the
            focal lengths of the JSON with a centred principal point.
    """
    focal = k.fl_x, k.fl_y
    if fov == "fateavatar":
        focal = k.fl_x * (k.width / (2 * k.cx)) ** 2, k.fl_y * (k.height / (2 * k.cy)) ** 2
    centre = (k.cx, k.cy) if fov == "exact" else (k.width / 2, k.height / 2)
    return pinhole(*focal, *centre)


def cameras(k: Intrinsics, poses: Sequence[NDArray[np.float64]], fov: str) -> list[Camera]:
    """Make one camera (B = 1) per camera-to-world matrix; inverted in float64.

    Args:
        k: size and intrinsics of the JSON.
        poses: (4, 4) camera to world, OpenCV axes, metres, one per camera.
        fov: exact, fateavatar or centred; see `intrinsic_matrix`.
    """
    return stacked(np.linalg.inv(np.stack(poses)), intrinsic_matrix(k, fov), k.width, k.height)
