"""The reader of the NeRSemble benchmark's task mono FLAME avatar."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from headbench.datasets.common.findings import Findings
from headbench.datasets.common.masks import MOUTH_NOTE, projected_mouth
from headbench.datasets.common.mesh import ProjectedMesh
from headbench.datasets.common.motion import check_motion
from headbench.datasets.common.params import tensor
from headbench.datasets.nersemble.benchmark import SEQUENCES, TRAIN_SERIAL
from headbench.datasets.nersemble.checks import check_first_pictures, deep_checks
from headbench.datasets.nersemble.clips import Clip, Shelf
from headbench.datasets.nersemble.hidden import benchmark_test, submission_task
from headbench.datasets.nersemble.layout import DATASET, find_subjects
from headbench.datasets.nersemble.options import NersembleOptions
from headbench.datasets.nersemble.pixels import VideoPixels
from headbench.datasets.nersemble.survey import Loaded, survey
from headbench.datasets.nersemble.tracking import frame_ids
from headbench.harness.plugins import DatasetReader, HiddenView, Problem, SubmissionTask
from headbench.harness.types import Frame, Subject

__all__ = ["NersembleReader"]


class NersembleReader(DatasetReader):
    """The benchmark's five people, and made-up ones in the same layout."""

    def options(self) -> dict[str, str]:
        return NersembleOptions.help()

    def subjects(self, root: Path) -> dict[str, Path]:
        return find_subjects(root)

    def check(self, folder: Path, options: Mapping[str, object]) -> list[Problem]:
        findings = Findings(SEQUENCES)
        found = survey(folder, NersembleOptions.parse(options, "nersemble"), findings)
        deep_checks(found, findings)
        if not findings.errors():
            _subject(found, findings)
        return findings.ordered()

    def read(self, folder: Path, options: Mapping[str, object]) -> Subject:
        findings = Findings(SEQUENCES)
        found = survey(folder, NersembleOptions.parse(options, "nersemble"), findings)
        if not findings.errors():
            check_first_pictures(found, findings)
        subject = None if findings.errors() else _subject(found, findings)
        if subject is None or findings.errors():
            raise findings.first_error(DATASET, folder)
        return subject

    def submission(self) -> SubmissionTask:
        return submission_task()

    def hidden(self, folder: Path, options: Mapping[str, object]) -> Sequence[HiddenView]:
        return benchmark_test(folder, options)


def _subject(found: Loaded, findings: Findings) -> Subject:
    if found.calibration is None or found.head is None or found.size is None or not found.sequences:
        raise findings.first_error(DATASET, found.folder.path)
    camera = found.calibration.camera(TRAIN_SERIAL)
    shape = tensor(next(iter(found.sequences.values())).shape[None])
    mesh, shelf = ProjectedMesh(found.head, shape), Shelf()
    frames: dict[str, list[Frame]] = {}
    # Moments are counted over all training sequences, held out or not, so that a split does not renumber them.
    moment = 0
    for name, tracking in found.sequences.items():
        paths = found.folder.images(name, TRAIN_SERIAL), found.folder.alpha(name, TRAIN_SERIAL)
        clip = Clip(*paths, len(tracking), found.size, shelf)
        params = tracking.params(found.head)
        frames[name] = []
        for row, frame in enumerate(frame_ids(name, tracking)):
            pose = params.rows(slice(row, row + 1))
            masks = {"mouth": projected_mouth(mesh, pose, camera)}
            pixels = VideoPixels(clip, row, found.options.white, found.options.alpha, masks)
            frames[name].append(Frame(frame, camera, pose, pixels, name, moment, TRAIN_SERIAL))
            moment += 1
    findings.note(MOUTH_NOTE)
    every = [frame for part in frames.values() for frame in part]
    check_motion(every, shape, lambda frame, _: found.sequences[frame.sequence].path, findings)
    train, test = (tuple(frame for name in part for frame in frames[name]) for part in found.split())
    return Subject(
        name=found.folder.name,
        dataset=DATASET,
        head=found.head,
        shape=shape,
        train=train,
        test=test,
        variant=found.variant(),
        fingerprint=found.fingerprint(),
        notes=tuple(findings.notes),
    )
