"""Test sequences, whose tracking and cameras are published and whose images are not: what a submission renders."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from headbench.datasets.common.findings import Findings
from headbench.datasets.common.motion import check_motion
from headbench.datasets.common.params import tensor
from headbench.datasets.common.roots import there
from headbench.datasets.nersemble.benchmark import (
    CRF,
    FPS,
    PARTICIPANTS,
    QUOTA,
    SEQUENCES,
    SERIALS,
    SIZE,
    SUBMISSION_TRACKING,
    TASK,
    TEST_SEQUENCES,
    TITLE,
    TRAIN_SERIAL,
)
from headbench.datasets.nersemble.calibration import read_calibration
from headbench.datasets.nersemble.layout import DATASET, Folder
from headbench.datasets.nersemble.options import NersembleOptions
from headbench.datasets.nersemble.people import head_and_size
from headbench.datasets.nersemble.tracking import frame_ids, read_tracking
from headbench.harness.errors import DataError
from headbench.harness.files import sha256_of
from headbench.harness.plugins.submissions import HiddenView, SubmissionTask, VideoSlot
from headbench.harness.types import Camera, Frame, HeadParams, Pixels

__all__ = ["benchmark_test", "submission_task"]


def submission_task() -> SubmissionTask:
    """Describe the submission that the organisers ask for: 5 people x 4 sequences x 4 cameras."""
    return SubmissionTask(
        name=TASK,
        title=TITLE,
        videos=tuple(
            VideoSlot(f"{person}/{sequence}/cam_{serial}.mp4", person, sequence, serial)
            for person in PARTICIPANTS
            for sequence in TEST_SEQUENCES
            for serial in SERIALS
        ),
        width=SIZE,
        height=SIZE,
        fps=FPS,
        crf=CRF,
        tracking=SUBMISSION_TRACKING,
        quota=QUOTA,
    )


def benchmark_test(folder: Path, options: Mapping[str, object] | None = None) -> tuple[HiddenView, ...]:
    """Make the hidden views of one person: 4 sequences, each seen by 4 cameras, sequence by sequence.

    `HiddenView.params` is one batch of T rows in the order of the video, T being the tracking's number of frames; views
    of one sequence share it. Frame ids are ``<sequence>_<number in five digits>``, as those of training frames. Images
    are 512 x 512 but for synthetic people. Needs no image, no training sequence and no head model.

    Args:
        folder: the person's.
        options: those of the reader; tracking=v1 is refused, the others do not matter here.

    Raises:
        DataError: a sequence's tracking or a camera is missing or wrong, or options ask for another tracking than the
            benchmark's.
    """
    if NersembleOptions.parse(options or {}, "nersemble").tracking != "v2":
        raise DataError(
            f"{folder}: expected tracking=v2 for test sequences, found tracking=v1: submissions are on "
            f"{SUBMISSION_TRACKING} alone, and v1 has no test sequences.",
            help=f"train again without --set {DATASET}.tracking=v1",
        )
    place, findings = Folder(folder), Findings(SEQUENCES)
    head, size = head_and_size(folder, findings)
    calibration = read_calibration(place.calibration, SERIALS, size, findings)
    views = []
    for sequence in TEST_SEQUENCES:
        path = place.tracking(sequence, "v2")
        if not there(path):
            findings.error(path, "expected the tracking of a test sequence, found no such file", sequence)
            continue
        tracking = read_tracking(path, sequence, findings)
        if tracking is None or calibration is None or head is None or findings.errors():
            continue
        params = tracking.params(head)
        ids = frame_ids(sequence, tracking)
        check_motion(
            _unseen(sequence, ids, params, calibration.camera(TRAIN_SERIAL)),
            tensor(tracking.shape[None]),
            lambda _, __, path=path: path,  # type: ignore[misc]
            findings,
        )
        digests = {"head": head, "size": size, "tracking": sha256_of(path), "cameras": sha256_of(place.calibration)}
        digest = hashlib.sha256(json.dumps(digests, sort_keys=True).encode()).hexdigest()
        for serial in SERIALS:
            views.append(
                HiddenView(
                    subject=place.name,
                    sequence=sequence,
                    camera_id=serial,
                    frame_ids=ids,
                    camera=calibration.camera(serial),
                    params=params,
                    tracking=SUBMISSION_TRACKING,
                    fingerprint=digest,
                )
            )
    if findings.errors():
        raise findings.first_error(DATASET, folder)
    return tuple(views)


def _unseen(sequence: str, ids: Sequence[str], params: HeadParams, camera: Camera) -> list[Frame]:
    """Make the frames of a hidden sequence as one camera would see them; asking for an image is an error.

    Args:
        sequence: its name.
        ids: ids of the T frames.
        params: T rows.
        camera: B = 1.
    """

    def hidden() -> Pixels:
        raise DataError(f"{sequence}: the images of test sequences are not published.")

    return [
        Frame(name, camera, params.rows(slice(row, row + 1)), hidden, sequence, row, TRAIN_SERIAL)
        for row, name in enumerate(ids)
    ]
