"""Reader of VHAP's exports: surveys a subject's folder and makes its frames."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from headbench.datasets.common.cameras import cameras, pinhole
from headbench.datasets.common.findings import Findings
from headbench.datasets.common.masks import MOUTH_NOTE, projected_mouth
from headbench.datasets.common.params import head_params
from headbench.datasets.common.pixels import PixelReader
from headbench.datasets.common.reader import SurveyReader
from headbench.datasets.common.sources import Source, check_decoded, check_sample
from headbench.datasets.common.survey import known
from headbench.datasets.vhap.images import BakedPixels, OpaquePixels
from headbench.datasets.vhap.layout import DATASET, find_subjects
from headbench.datasets.vhap.options import VhapOptions
from headbench.datasets.vhap.survey import VhapSurvey, survey
from headbench.datasets.vhap.transforms import Entry, Lens
from headbench.harness.types import Camera, Frame, HeadParams, Pixels

__all__ = ["VhapReader"]


class VhapReader(SurveyReader[VhapOptions, VhapSurvey]):
    """Reads subjects that VHAP tracked and exported, one sequence or several combined, and synthetic ones."""

    dataset = DATASET
    options_type = VhapOptions

    def subjects(self, root: Path) -> dict[str, Path]:
        return find_subjects(root)

    def survey(self, folder: Path, options: VhapOptions, findings: Findings) -> VhapSurvey:
        return survey(folder, options, findings)

    def look_closely(self, found: VhapSurvey) -> None:
        check_decoded(found.images, found.findings, _against_black(found.options))

    def look_briefly(self, found: VhapSurvey) -> None:
        check_sample(found.images, found.findings, _against_black(found.options))

    def frames(self, found: VhapSurvey) -> list[Frame]:
        moments = sorted(known(found.parameters).moments)
        params, row = _params(found, moments), {moment: k for k, moment in enumerate(moments)}
        mesh = found.mesh()
        frames = []
        for entry in found.entries:
            k = row[entry.timestep]
            pose, camera = params.rows(slice(k, k + 1)), _camera(entry, found.options.principal_point)
            source = found.images[entry.id]
            reader = PixelReader(entry.id, source.colour, source.alpha, {"mouth": projected_mouth(mesh, pose, camera)})
            pixels = _pixels(reader, source, found.options.baked)
            frames.append(Frame(entry.id, camera, pose, pixels, entry.sequence, entry.timestep, entry.camera))
        found.findings.note(MOUTH_NOTE)
        return frames


def _against_black(options: VhapOptions) -> str:
    """Help against colours that fade with alpha; empty where the reader takes black out of them."""
    return "" if options.baked == "black" else "--set vhap.baked=black where it was black, or divide colours by alpha"


def _pixels(reader: PixelReader, source: Source, baked: str) -> Callable[[], Pixels]:
    """Choose what decodes a frame: with its background taken out, as stored, or opaque."""
    if not source.has_alpha:
        return OpaquePixels(reader)
    # RGBA files were never composited.
    return reader if baked == "none" or source.alpha is None else BakedPixels(reader, baked)


def _camera(entry: Entry, principal_point: str) -> Camera:
    lens = entry.lens
    return cameras(entry.w2c[None], _intrinsics(lens, principal_point), lens.width, lens.height)[0]


def _intrinsics(lens: Lens, principal_point: str) -> NDArray[np.float64]:
    """Intrinsic matrix (3, 3) in pixels, by the option `principal_point`."""
    if principal_point == "centred":
        focal = lens.width / (2 * np.tan(lens.angle_x / 2))
        return pinhole(focal, focal, lens.width / 2, lens.height / 2)
    cy = lens.height - lens.cy if principal_point == "vhap" else lens.cy
    return pinhole(lens.fl_x, lens.fl_y, lens.cx, cy)


def _params(found: VhapSurvey, moments: list[int]) -> HeadParams:
    """Stack the parameters of all moments to one batch, one row per moment.

    `rotation` turns FLAME's root joint, `translation` comes after.
    """
    rows = [known(found.parameters).moments[moment] for moment in moments]
    stacked = {key: np.stack([row[key] for row in rows]) for key in rows[0]}
    return head_params(
        found.head,
        stacked["expr"],
        root=stacked["rotation"],
        neck=stacked["neck_pose"],
        jaw=stacked["jaw_pose"],
        eye_left=stacked["eyes_pose"][:, :3],
        eye_right=stacked["eyes_pose"][:, 3:],
        translation=stacked["translation"],
    )
