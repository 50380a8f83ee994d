"""Result of one pass over a subject's folder, from which both checking and reading the subject are made."""

from __future__ import annotations

import abc
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from headbench.datasets.common.findings import Findings
from headbench.datasets.common.fingerprints import fingerprint
from headbench.datasets.common.mesh import ProjectedMesh
from headbench.datasets.common.params import tensor
from headbench.harness.types import Frame

__all__ = ["Floats", "Survey", "known"]

Floats = NDArray[np.float64]
_Part = TypeVar("_Part")


@dataclass(frozen=True)
class Survey(abc.ABC):
    """Result of one pass over a subject's folder: all that could be read, and its faults; no image is decoded.

    Each layout has a subclass with the parts of its own. All but the fields may be asked for only where it is `sound`.
    """

    path: Path
    """Folder of the subject."""
    findings: Findings
    """Problems of the subject; checks that come later add theirs here, too."""
    head: str
    """Tag of the head model whose coefficients these are; empty where it is not known."""

    @property
    @abc.abstractmethod
    def whole(self) -> bool:
        """Tell whether every part that a `Subject` needs could be read."""

    @property
    def sound(self) -> bool:
        """Tell whether a `Subject` can be made: every part could be read, and no error was found."""
        return self.whole and not self.findings.errors()

    @property
    @abc.abstractmethod
    def shape(self) -> Floats:
        """Identity coefficients (S,) as stored."""

    @property
    def static_offset(self) -> Floats | None:
        """Offset (V, 3) of the template's vertices, in metres; None, as in most layouts, where there is none."""
        return None

    @abc.abstractmethod
    def split(self) -> tuple[Sequence[str], Sequence[str]]:
        """Ids of the training frames, and of the test frames."""

    @abc.abstractmethod
    def variant(self) -> str:
        """Preparation of the data within the layout; it follows the dataset's name and a slash in `Subject.variant`."""

    @abc.abstractmethod
    def digests(self) -> Mapping[str, str]:
        """Frame id -> digest of the bytes that its pixels are read from."""

    @abc.abstractmethod
    def numbers(self) -> Mapping[str, Sequence[NDArray[Any]]]:
        """Frame id -> its tracking, as stored."""

    def shared(self) -> Sequence[NDArray[Any] | str]:
        """Numbers and texts that all frames share, as stored."""
        return [self.head, self.shape]

    @abc.abstractmethod
    def where(self, frame: Frame, what: str) -> Path:
        """File that a quantity of a frame was read from.

        Args:
            frame: a frame of the subject.
            what: name of the quantity, one of those of `check_motion`.
        """

    def fingerprint(self) -> dict[str, str]:
        """Digests of images, tracking and split: the value of `Subject.fingerprint`."""
        return fingerprint(*self.split(), self.digests(), self.numbers(), self.shared())

    def offset(self) -> Tensor | None:
        """Static offset (1, V, 3) as a float32 tensor; None where there is none."""
        return None if self.static_offset is None else tensor(self.static_offset[None])

    def mesh(self) -> ProjectedMesh:
        """The subject's head mesh, from which masks are rasterized."""
        return ProjectedMesh(self.head, tensor(self.shape[None]), self.offset())


def known(part: _Part | None) -> _Part:
    """Return a part of a survey that must be there.

    Args:
        part: None where the survey lacks it.

    Raises:
        ValueError: it is None.
    """
    if part is None:
        raise ValueError("a part of a survey that is not whole was asked for")
    return part
