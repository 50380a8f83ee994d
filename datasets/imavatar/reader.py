"""The readers of the IMAvatar layout, one for each dataset that has it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np

from headbench.datasets.common.cameras import cameras
from headbench.datasets.common.findings import Findings
from headbench.datasets.common.masks import projected_mouth
from headbench.datasets.common.mesh import ProjectedMesh
from headbench.datasets.common.motion import check_motion
from headbench.datasets.common.params import head_params, tensor
from headbench.datasets.common.pixels import PixelReader, read_alpha
from headbench.datasets.common.sources import check_sample
from headbench.datasets.imavatar.cameras import intrinsic_matrix, world_to_camera
from headbench.datasets.imavatar.checks import check_keypoints, check_pixels
from headbench.datasets.imavatar.images import HardMatte, parsed_mouth
from headbench.datasets.imavatar.layout import find_subjects
from headbench.datasets.imavatar.options import ImavatarOptions
from headbench.datasets.imavatar.survey import Clip, Loaded, survey
from headbench.datasets.imavatar.tracking import Entry
from headbench.harness.plugins import DatasetReader, Problem
from headbench.harness.types import Camera, Frame, HeadParams, Subject

__all__ = ["EmoTalk3dReader", "ImavatarReader", "NerFaceReader", "PointAvatarReader"]


class ImavatarReader(DatasetReader):
    """Subjects that IMAvatar's pipeline tracked, and made-up ones in the same layout."""

    dataset = "imavatar"

    def options(self) -> dict[str, str]:
        return ImavatarOptions.help()

    def subjects(self, root: Path) -> dict[str, Path]:
        return find_subjects(root, self.dataset)

    def check(self, folder: Path, options: Mapping[str, object]) -> list[Problem]:
        chosen = ImavatarOptions.parse(options, self.dataset)
        findings = Findings()
        loaded = survey(folder, chosen, findings)
        if loaded is not None:
            check_pixels(loaded, findings)
        if loaded is not None and not findings.errors():
            subject = self._subject(folder, loaded, chosen, findings)
            if not findings.errors():
                check_keypoints(loaded, subject.train + subject.test, ProjectedMesh.of(subject), findings)
        return [self._named(problem) for problem in findings.ordered()]

    def read(self, folder: Path, options: Mapping[str, object]) -> Subject:
        chosen = ImavatarOptions.parse(options, self.dataset)
        findings = Findings()
        loaded = survey(folder, chosen, findings)
        for clip in loaded.clips if loaded is not None and not findings.errors() else ():
            check_sample(clip.images, findings)
        subject = None if loaded is None or findings.errors() else self._subject(folder, loaded, chosen, findings)
        if subject is None or findings.errors():
            findings.problems = [self._named(problem) for problem in findings.problems]
            raise findings.first_error(self.dataset, folder)
        return subject

    def _named(self, problem: Problem) -> Problem:
        """With the dataset's own name in the commands of its help."""
        return replace(problem, help=problem.help.replace("--set DATASET.", f"--set {self.dataset}."))

    def _subject(self, folder: Path, loaded: Loaded, options: ImavatarOptions, findings: Findings) -> Subject:
        rows = loaded.rows()
        params = _params(loaded)
        shape = tensor(loaded.shape[None])
        mesh = ProjectedMesh(loaded.head, shape)
        frames: dict[str, Frame] = {}
        for row, (clip, entry) in enumerate(rows):
            camera, pose = _camera(clip, entry, options), params.rows(slice(row, row + 1))
            source = clip.images[entry.id]
            mouth = (
                partial(read_alpha, parsed_mouth(clip.tracking.video, entry), entry.id)
                if clip.parsed
                else projected_mouth(mesh, pose, camera)
            )
            reader = PixelReader(entry.id, source.colour, source.alpha, {"mouth": mouth})
            pixels = HardMatte(reader) if options.mask == "hard" else reader
            frames[entry.id] = Frame(entry.id, camera, pose, pixels, clip.tracking.video.name, timestep=row)
        files = {clip.tracking.video.name: clip.tracking.path for clip in loaded.clips}
        check_motion([*frames.values()], shape, lambda frame, _: files[frame.sequence], findings)
        return Subject(
            name=folder.resolve().name,
            dataset=self.dataset,
            head=loaded.head,
            shape=shape,
            train=tuple(frames[name] for name in loaded.train),
            test=tuple(frames[name] for name in loaded.test),
            variant=loaded.variant(self.dataset),
            fingerprint=loaded.fingerprint(),
            notes=tuple(findings.notes),
        )


class PointAvatarReader(ImavatarReader):
    """PointAvatar's people."""

    dataset = "pointavatar"


class NerFaceReader(ImavatarReader):
    """NerFace's people, tracked again by IMAvatar's pipeline: FateAvatar's 4dface."""

    dataset = "4dface"


class EmoTalk3dReader(ImavatarReader):
    """Frontal videos of EmoTalk3D's people, tracked by IMAvatar's pipeline as FateAvatar's authors did."""

    dataset = "emotalk3d"


def _camera(clip: Clip, entry: Entry, options: ImavatarOptions) -> Camera:
    width, height = clip.images[entry.id].size
    K = intrinsic_matrix(clip.lens, width, height, options.camera)
    return cameras(world_to_camera(entry.world_mat)[None], K, width, height)[0]


def _params(loaded: Loaded) -> HeadParams:
    """All rows as one batch; head motion is in the root and neck, translation in the camera."""
    entries = [entry for _, entry in loaded.rows()]
    pose = np.stack([entry.pose for entry in entries]).reshape(-1, 5, 3)
    return head_params(
        loaded.head,
        loaded.made_up.expression(np.stack([entry.expression for entry in entries])),
        root=pose[:, 0],
        neck=pose[:, 1],
        jaw=pose[:, 2],
        eye_left=pose[:, 3],
        eye_right=pose[:, 4],
    )
