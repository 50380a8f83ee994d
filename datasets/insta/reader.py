"""The reader of the INSTA layout."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from headbench.datasets.common.findings import Findings
from headbench.datasets.common.mesh import ProjectedMesh
from headbench.datasets.common.motion import check_motion
from headbench.datasets.common.params import head_params, tensor
from headbench.datasets.common.pixels import PixelReader
from headbench.datasets.common.sources import check_sample
from headbench.datasets.insta.cameras import cameras
from headbench.datasets.insta.checks import deep_checks
from headbench.datasets.insta.coefficients import Coefficients
from headbench.datasets.insta.layout import DATASET, find_subjects
from headbench.datasets.insta.masks import mouth_maker
from headbench.datasets.insta.options import InstaOptions
from headbench.datasets.insta.rotations import axis_angles
from headbench.datasets.insta.survey import Loaded, survey
from headbench.harness.plugins import DatasetReader, Problem
from headbench.harness.types import Frame, HeadParams, Subject

__all__ = ["InstaReader"]


class InstaReader(DatasetReader):
    """Subjects that metrical-tracker tracked and INSTA exported, and made-up ones in the same layout."""

    def options(self) -> dict[str, str]:
        return InstaOptions.help()

    def subjects(self, root: Path) -> dict[str, Path]:
        return find_subjects(root)

    def check(self, folder: Path, options: Mapping[str, object]) -> list[Problem]:
        chosen = InstaOptions.parse(options, "insta")
        findings = Findings()
        found = survey(folder, findings)
        deep_checks(found, findings)
        loaded = found.loaded(findings)
        if loaded is not None:
            self._subject(loaded, chosen, findings)
        return findings.ordered()

    def read(self, folder: Path, options: Mapping[str, object]) -> Subject:
        chosen = InstaOptions.parse(options, "insta")
        findings = Findings()
        loaded = survey(folder, findings).loaded(findings)
        if loaded is not None:
            check_sample(loaded.images, findings)
        if loaded is None or findings.errors():
            raise findings.first_error(DATASET, folder)
        subject = self._subject(loaded, chosen, findings)
        if findings.errors():
            raise findings.first_error(DATASET, folder)
        return subject

    def _subject(self, loaded: Loaded, options: InstaOptions, findings: Findings) -> Subject:
        entries, numbers = loaded.entries, loaded.coefficients
        views = cameras(loaded.intrinsics, [entry.c2w for entry in entries], options.fov)
        params = _params(loaded.head, numbers, options)
        mesh = ProjectedMesh(loaded.head, tensor(numbers.shape[None]))
        frames = []
        for row, entry in enumerate(entries):
            camera, pose = views[row], params.rows(slice(row, row + 1))
            mouth = mouth_maker(loaded.folder, entry.id, loaded.parsed, mesh, pose, camera)
            source = loaded.images[entry.id]
            pixels = PixelReader(entry.id, source.colour, source.alpha, {"mouth": mouth})
            frames.append(Frame(entry.id, camera, pose, pixels, timestep=int(entry.id)))
        shape = tensor(numbers.shape[None])
        check_motion(frames, shape, loaded.where, findings)
        count = len(loaded.train.entries)
        return Subject(
            name=loaded.folder.name,
            dataset=DATASET,
            head=loaded.head,
            shape=shape,
            train=tuple(frames[:count]),
            test=tuple(frames[count:]),
            variant=loaded.variant(),
            fingerprint=loaded.fingerprint(),
            notes=tuple(findings.notes),
        )


def _params(head: str, numbers: Coefficients, options: InstaOptions) -> HeadParams:
    """All rows as one batch. The tracker never moves root, neck or translation: the head's motion is the camera's."""
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
