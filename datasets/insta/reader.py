"""The reader of the INSTA layout."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from headbench.datasets.insta.cameras import cameras
from headbench.datasets.insta.checks import deep_checks, probes
from headbench.datasets.insta.coefficients import Coefficients
from headbench.datasets.insta.findings import Findings
from headbench.datasets.insta.layout import DATASET, find_subjects
from headbench.datasets.insta.loading import Loaded, survey
from headbench.datasets.insta.masks import mouth_maker
from headbench.datasets.insta.mesh import ProjectedMesh
from headbench.datasets.insta.options import HELP, InstaOptions
from headbench.datasets.insta.pixels import PixelReader
from headbench.datasets.insta.reprojection import check_reprojection
from headbench.datasets.insta.rotations import axis_angles
from headbench.harness.errors import DataError
from headbench.harness.plugins import DatasetReader, Problem
from headbench.harness.types import Frame, HeadParams, Subject

__all__ = ["InstaReader"]


class InstaReader(DatasetReader):
    """Subjects that metrical-tracker tracked and INSTA exported, and made-up ones in the same layout."""

    def options(self) -> dict[str, str]:
        return dict(HELP)

    def subjects(self, root: Path) -> dict[str, Path]:
        return find_subjects(root)

    def check(self, folder: Path, options: Mapping[str, object]) -> list[Problem]:
        chosen = InstaOptions.parse(options)
        findings = Findings()
        found = survey(folder, findings)
        deep_checks(found, findings)
        loaded = found.loaded(findings)
        if loaded is not None:
            subject = self._subject(loaded, chosen, findings)
            mesh = ProjectedMesh(subject.head, subject.shape)
            check_reprojection(loaded.folder, subject.train + subject.test, probes(found), mesh, findings)
        return findings.ordered()

    def read(self, folder: Path, options: Mapping[str, object]) -> Subject:
        chosen = InstaOptions.parse(options)
        findings = Findings()
        loaded = survey(folder, findings).loaded(findings)
        if loaded is None:
            raise _error(folder, findings)
        return self._subject(loaded, chosen, findings)

    def _subject(self, loaded: Loaded, options: InstaOptions, findings: Findings) -> Subject:
        entries, numbers = loaded.entries, loaded.coefficients
        views = cameras(loaded.train.intrinsics, [entry.c2w for entry in entries], options.fov)
        params = _params(loaded.head, numbers, options)
        mesh = ProjectedMesh(loaded.head, _tensor(numbers.shape[None]))
        frames = []
        for row, entry in enumerate(entries):
            camera, pose = views[row], params.rows(slice(row, row + 1))
            mouth = mouth_maker(loaded.folder, entry.id, loaded.parsed, mesh, pose, camera)
            pixels = PixelReader(entry.id, loaded.images[entry.id], mouth)
            frames.append(Frame(entry.id, camera, pose, pixels, timestep=int(entry.id)))
        count = len(loaded.train.entries)
        return Subject(
            name=loaded.folder.name,
            dataset=DATASET,
            head=loaded.head,
            shape=_tensor(numbers.shape[None]),
            train=tuple(frames[:count]),
            test=tuple(frames[count:]),
            variant=loaded.variant(),
            fingerprint=loaded.fingerprint(),
            notes=tuple(findings.notes),
        )


def _tensor(values: NDArray[np.float64]) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(values)).to(torch.float32)


def _params(head: str, numbers: Coefficients, options: InstaOptions) -> HeadParams:
    """All rows as one batch. The tracker never moves root, neck or translation: the head's motion is the camera's."""
    count = len(numbers.exp)
    zero = torch.zeros(count, 3)
    joint3, joint4 = (_tensor(axis_angles(six)) for six in (numbers.eyes[:, :6], numbers.eyes[:, 6:]))
    if options.eyes == "fateavatar":
        joint3, joint4 = joint4, joint3
    eyelids = None if numbers.eyelids is None or options.eyelids == "ignore" else _tensor(numbers.eyelids)
    return HeadParams(
        head=head,
        expression=_tensor(numbers.exp),
        root=zero,
        neck=zero,
        jaw=_tensor(axis_angles(numbers.jaw)),
        eye_left=joint3,
        eye_right=joint4,
        translation=zero,
        eyelids=eyelids,
    )


def _error(folder: Path, findings: Findings) -> DataError:
    errors = findings.errors()
    others = f" ... and {len(errors) - 1} more problem(s)" if len(errors) > 1 else ""
    first = errors[0].line() if errors else f"{folder}: no frames"
    return DataError(first.removeprefix("error: ") + others, help=f"bench data check {DATASET} --data-root {folder}")
