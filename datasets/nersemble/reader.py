"""Reader of the NeRSemble benchmark's task mono FLAME avatar: surveys a person's folder and makes the frames."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from headbench.datasets.common.findings import Findings
from headbench.datasets.common.masks import MOUTH_NOTE, projected_mouth
from headbench.datasets.common.reader import SurveyReader
from headbench.datasets.common.survey import known
from headbench.datasets.nersemble.benchmark import SEQUENCES, TRAIN_SERIAL
from headbench.datasets.nersemble.checks import check_first_pictures, deep_checks
from headbench.datasets.nersemble.clips import Clip, Shelf
from headbench.datasets.nersemble.hidden import benchmark_test, submission_task
from headbench.datasets.nersemble.layout import DATASET, find_subjects
from headbench.datasets.nersemble.options import NersembleOptions
from headbench.datasets.nersemble.pixels import VideoPixels
from headbench.datasets.nersemble.survey import NersembleSurvey, survey
from headbench.datasets.nersemble.tracking import frame_ids
from headbench.harness.plugins.submissions import HiddenView, SubmissionTask, TakesSubmissions
from headbench.harness.types import Frame

__all__ = ["NersembleReader"]


class NersembleReader(SurveyReader[NersembleOptions, NersembleSurvey], TakesSubmissions):
    """Reads the benchmark's five people, and synthetic ones in the same layout."""

    dataset = DATASET
    options_type = NersembleOptions
    sequences = SEQUENCES

    def subjects(self, root: Path) -> dict[str, Path]:
        return find_subjects(root)

    def survey(self, folder: Path, options: NersembleOptions, findings: Findings) -> NersembleSurvey:
        return survey(folder, options, findings)

    def look_closely(self, found: NersembleSurvey) -> None:
        deep_checks(found)

    def look_briefly(self, found: NersembleSurvey) -> None:
        check_first_pictures(found)

    def frames(self, found: NersembleSurvey) -> list[Frame]:
        camera, mesh, shelf = known(found.calibration).camera(TRAIN_SERIAL), found.mesh(), Shelf()
        frames: list[Frame] = []
        for name, tracking in found.sequences.items():
            clip = Clip(*found.videos(name), len(tracking), known(found.size), shelf)
            params = tracking.params(found.head)
            for row, frame in enumerate(frame_ids(name, tracking)):
                pose = params.rows(slice(row, row + 1))
                masks = {"mouth": projected_mouth(mesh, pose, camera)}
                pixels = VideoPixels(clip, row, found.options.white, found.options.alpha, masks)
                # Moments are counted over all training sequences, held out or not, so that a split does not renumber
                # them.
                frames.append(Frame(frame, camera, pose, pixels, name, len(frames), TRAIN_SERIAL))
        found.findings.note(MOUTH_NOTE)
        return frames

    def submission(self) -> SubmissionTask:
        return submission_task()

    def hidden(self, folder: Path, options: Mapping[str, object]) -> Sequence[HiddenView]:
        return benchmark_test(folder, options)
