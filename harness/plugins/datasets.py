"""Interface that dataset plugins implement."""

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
    """Reader of one dataset layout into this project's conventions; made without arguments, and without state."""

    @abc.abstractmethod
    def subjects(self, root: Path) -> dict[str, Path]:
        """Find the subjects of the layout below a folder: name -> folder of the subject.

        Args:
            root: a data root with ``<dataset>/<subject>``, the dataset's own folder, or one subject's folder.

        Raises:
            DataError: nothing of this layout is there; the message says what was looked for.
        """

    @abc.abstractmethod
    def read(self, folder: Path, options: Mapping[str, object]) -> Subject:
        """Read a subject, and check it before anything trains; images are read later.

        Args:
            folder: folder of the subject.
            options: values of `options`.

        Raises:
            DataError: the subject has problems; the message has the first, the number of others and the command that
                lists all.
        """

    @abc.abstractmethod
    def check(self, folder: Path, options: Mapping[str, object]) -> list[Problem]:
        """Find all problems of a subject, in the order of frames; arguments as for `read`."""

    def options(self) -> dict[str, str]:
        """Options that `read` understands, each with one sentence on it."""
        return {}
