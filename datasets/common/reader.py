"""Base class of this package's readers: one survey per folder, which a check examines closely and a run briefly."""

from __future__ import annotations

import abc
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Generic, TypeVar

from headbench.datasets.common.findings import Findings
from headbench.datasets.common.motion import check_motion
from headbench.datasets.common.options import ReaderOptions
from headbench.datasets.common.params import tensor
from headbench.datasets.common.survey import Survey
from headbench.datasets.common.views import read_views
from headbench.harness.plugins import DatasetReader, Problem
from headbench.harness.types import Frame, Subject

__all__ = ["SurveyReader"]

Options = TypeVar("Options", bound=ReaderOptions)
Found = TypeVar("Found", bound=Survey)


class SurveyReader(DatasetReader, Generic[Options, Found]):
    """Checks and reads subjects by a survey of their folder; help may name options as ``--set DATASET.``."""

    dataset: str
    """Name that the reader is registered by."""
    options_type: type[Options]
    """Class of the reader's options."""
    sequences: Collection[str] = ()
    """Names that stand for whole sequences where a problem's frame is given."""

    def options(self) -> dict[str, str]:
        return self.options_type.help()

    def check(self, folder: Path, options: Mapping[str, object]) -> list[Problem]:
        found = self._survey(folder, options)
        self.look_closely(found)
        subject = self._subject(found)
        if subject is not None:
            self.look_at_subject(found, subject)
        return self._named(found.findings).ordered()

    def read(self, folder: Path, options: Mapping[str, object]) -> Subject:
        found = self._survey(folder, options)
        if found.sound:
            self.look_briefly(found)
        subject = self._subject(found)
        if subject is None:
            raise self._named(found.findings).first_error(self.dataset, folder)
        return subject

    @abc.abstractmethod
    def survey(self, folder: Path, options: Options, findings: Findings) -> Found:
        """Read all that can be read of a subject without decoding images.

        Args:
            folder: the subject's.
            options: the reader's, checked.
            findings: receives what is wrong.
        """

    @abc.abstractmethod
    def look_closely(self, found: Found) -> None:
        """Add the problems that only `check` looks for: in all images and in files that are not needed.

        The survey may have errors.
        """

    @abc.abstractmethod
    def look_briefly(self, found: Found) -> None:
        """Add the problems that a run can afford to look for before it trains: in some images.

        The survey is sound.
        """

    @abc.abstractmethod
    def frames(self, found: Found) -> Sequence[Frame]:
        """Make the frames of a sound survey, each once, sequence by sequence."""

    def look_at_subject(self, found: Found, subject: Subject) -> None:
        """Add the problems that are found by posing the subject's head; by default none. Only `check` asks for it."""

    def _survey(self, folder: Path, options: Mapping[str, object]) -> Found:
        return self.survey(folder, self.options_type.parse(options, self.dataset), Findings(self.sequences))

    def _subject(self, found: Found) -> Subject | None:
        """Make a subject of a survey; None where it has an error, be it found only while the subject is made."""
        if not found.sound:
            return None
        frames = {frame.id: frame for frame in self.frames(found)}
        shape = tensor(found.shape[None])
        check_motion([*frames.values()], shape, found.where, found.findings)
        views = read_views(found.path, next(iter(frames.values())).params, found.findings) if frames else {}
        if found.findings.errors():
            return None
        train, test = (tuple(frames[name] for name in part) for part in found.split())
        return Subject(
            name=found.path.resolve().name,
            dataset=self.dataset,
            head=found.head,
            shape=shape,
            train=train,
            test=test,
            static_offset=found.offset(),
            variant=f"{self.dataset}/{found.variant()}",
            fingerprint=found.fingerprint(),
            notes=tuple(found.findings.notes),
            views=views,
        )

    def _named(self, findings: Findings) -> Findings:
        """Copy problems with the dataset's own name in the commands of their help."""
        named = Findings()
        named.problems = [
            replace(problem, help=problem.help.replace("--set DATASET.", f"--set {self.dataset}."))
            for problem in findings.problems
        ]
        return named
