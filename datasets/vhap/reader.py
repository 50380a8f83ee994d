"""The reader of VHAP's exports."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from headbench.datasets.common.cameras import cameras, pinhole
from headbench.datasets.common.findings import Findings
from headbench.datasets.common.masks import MOUTH_NOTE, projected_mouth
from headbench.datasets.common.mesh import ProjectedMesh
from headbench.datasets.common.motion import check_motion
from headbench.datasets.common.params import head_params, tensor
from headbench.datasets.common.pixels import PixelReader
from headbench.datasets.common.sources import Source, check_decoded, check_sample
from headbench.datasets.vhap.images import BakedPixels, OpaquePixels
from headbench.datasets.vhap.layout import DATASET, find_subjects
from headbench.datasets.vhap.options import VhapOptions
from headbench.datasets.vhap.survey import Loaded, survey
from headbench.datasets.vhap.transforms import Entry, Lens
from headbench.harness.plugins import DatasetReader, Problem
from headbench.harness.types import Camera, Frame, HeadParams, Pixels, Subject

__all__ = ["VhapReader"]


class VhapReader(DatasetReader):
    """Subjects that VHAP tracked and exported, one sequence or several combined, and made-up ones."""

    def options(self) -> dict[str, str]:
        return VhapOptions.help()

    def subjects(self, root: Path) -> dict[str, Path]:
        return find_subjects(root)

    def check(self, folder: Path, options: Mapping[str, object]) -> list[Problem]:
        chosen = VhapOptions.parse(options, "vhap")
        findings = Findings()
        loaded = survey(folder, chosen, findings)
        if loaded is not None:
            check_decoded(loaded.images, findings, _against_black(chosen))
        if loaded is not None and not findings.errors():
            _subject(folder, loaded, chosen, findings)
        return findings.ordered()

    def read(self, folder: Path, options: Mapping[str, object]) -> Subject:
        chosen = VhapOptions.parse(options, "vhap")
        findings = Findings()
        loaded = survey(folder, chosen, findings)
        if loaded is not None and not findings.errors():
            check_sample(loaded.images, findings, _against_black(chosen))
        subject = None if loaded is None or findings.errors() else _subject(folder, loaded, chosen, findings)
        if subject is None or findings.errors():
            raise findings.first_error(DATASET, folder)
        return subject


def _subject(folder: Path, loaded: Loaded, options: VhapOptions, findings: Findings) -> Subject:
    numbers = loaded.parameters
    moments = sorted(numbers.moments)
    params, row = _params(loaded, moments), {moment: k for k, moment in enumerate(moments)}
    shape = tensor(numbers.shape[None])
    offset = None if numbers.static_offset is None else tensor(numbers.static_offset[None])
    mesh = ProjectedMesh(loaded.head, shape, offset)
    frames = []
    for entry in loaded.entries:
        k = row[entry.timestep]
        pose, camera = params.rows(slice(k, k + 1)), _camera(entry, options.principal_point)
        source = loaded.images[entry.id]
        reader = PixelReader(entry.id, source.colour, source.alpha, {"mouth": projected_mouth(mesh, pose, camera)})
        pixels = _pixels(reader, source, options.baked)
        frames.append(Frame(entry.id, camera, pose, pixels, entry.sequence, entry.timestep, entry.camera))
    findings.note(MOUTH_NOTE)
    files = {entry.id: entry.params for entry in loaded.entries}
    check_motion(frames, shape, lambda frame, _: files[frame.id], findings)
    count = len(loaded.train)
    return Subject(
        name=folder.resolve().name,
        dataset=DATASET,
        head=loaded.head,
        shape=shape,
        train=tuple(frames[:count]),
        test=tuple(frames[count:]),
        static_offset=offset,
        variant=loaded.variant(),
        fingerprint=loaded.fingerprint(),
        notes=tuple(findings.notes),
    )


def _against_black(options: VhapOptions) -> str:
    """What helps against colours that fade with alpha; nothing where black is taken out of them."""
    return "" if options.baked == "black" else "--set vhap.baked=black where it was black, or divide colours by alpha"


def _pixels(reader: PixelReader, source: Source, baked: str) -> Callable[[], Pixels]:
    if not source.has_alpha:
        return OpaquePixels(reader)
    # RGBA files were never composited.
    return reader if baked == "none" or source.alpha is None else BakedPixels(reader, baked)


def _camera(entry: Entry, principal_point: str) -> Camera:
    lens = entry.lens
    return cameras(entry.w2c[None], _intrinsics(lens, principal_point), lens.width, lens.height)[0]


def _intrinsics(lens: Lens, principal_point: str) -> NDArray[np.float64]:
    """(3, 3) pixels."""
    if principal_point == "centred":
        focal = lens.width / (2 * np.tan(lens.angle_x / 2))
        return pinhole(focal, focal, lens.width / 2, lens.height / 2)
    cy = lens.height - lens.cy if principal_point == "vhap" else lens.cy
    return pinhole(lens.fl_x, lens.fl_y, lens.cx, cy)


def _params(loaded: Loaded, moments: list[int]) -> HeadParams:
    """One row a moment; `rotation` turns FLAME's root joint, `translation` comes after."""
    rows = [loaded.parameters.moments[moment] for moment in moments]
    stacked = {key: np.stack([row[key] for row in rows]) for key in rows[0]}
    return head_params(
        loaded.head,
        stacked["expr"],
        root=stacked["rotation"],
        neck=stacked["neck_pose"],
        jaw=stacked["jaw_pose"],
        eye_left=stacked["eyes_pose"][:, :3],
        eye_right=stacked["eyes_pose"][:, 3:],
        translation=stacked["translation"],
    )
