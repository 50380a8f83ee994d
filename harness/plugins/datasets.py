"""What a dataset plugin implements."""

from __future__ import annotations

import abc
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from headbench.harness.problems import Problem

if TYPE_CHECKING:
    from headbench.harness.types import Subject

__all__ = ["DatasetReader"]


class DatasetReader(abc.ABC):
    """Reads one layout into this project's conventions. Made with no arguments; holds no state."""

    @abc.abstractmethod
    def subjects(self, root: Path) -> dict[str, Path]:
        """Subject name -> its folder, below a data root ``root/<dataset>/<subject>``, the dataset's own folder or
        one subject's folder.

        Raises:
            DataError: nothing of this layout is there; the message says what was looked for.
        """

    @abc.abstractmethod
    def read(self, folder: Path, options: Mapping[str, object]) -> Subject:
        """The subject, checked before anything trains; images are read later.

        Raises:
            DataError: the first problem, with the number of others and the command that lists all.
        """

    @abc.abstractmethod
    def check(self, folder: Path, options: Mapping[str, object]) -> list[Problem]:
        """All problems, in the order of frames."""

    def options(self) -> dict[str, str]:
        """Option -> one sentence; what `read` understands."""
        return {}
