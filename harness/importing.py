"""Base class of importers, which read checkpoints that the published code of a method wrote."""

from __future__ import annotations

import abc
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from headbench.harness.errors import BenchError, did_you_mean

if TYPE_CHECKING:
    from torch import Tensor

    from headbench.harness.types import Identity

__all__ = ["Foreign", "Importer", "Imported", "importer_for"]


@dataclass(frozen=True)
class Foreign:
    """Checkpoint of a published code that is imported, with what is known besides."""

    path: Path
    """The file."""
    parameters: Path | None
    """File with the head model's parameters, where the published code keeps them in one of their own."""
    config: Any
    """Configuration of the method, of its `config_type`."""
    head: str
    """Tag of the head model."""
    known: Identity | None
    """Identity of the subject as a dataset gives it: camera, first frame and statistics of expressions."""


@dataclass(frozen=True)
class Imported:
    """What an importer has read."""

    identity: Identity
    state: Mapping[str, Tensor]
    """Entries of the portrait's state_dict that the checkpoint holds; others keep the values that `create` gives."""
    notes: tuple[str, ...] = ()
    """Sentences on what was left out."""


class Importer(abc.ABC):
    """Reads checkpoints that the published code of a method wrote. The class is instantiated without arguments."""

    suffixes: ClassVar[tuple[str, ...]]
    """Endings of the files, such as .pth."""
    head: ClassVar[str]
    """Tag of the head model of the published code, such as flame2020."""
    parameters: ClassVar[str] = ""
    """Name of the file beside that holds the head model's parameters; empty where there is none."""

    @abc.abstractmethod
    def settings(self, path: Path) -> Mapping[str, Any]:
        """Options of the method that a file decides, such as the degree of its spherical harmonics.

        Raises:
            Unreadable: the file is damaged, or of another method.
        """

    @abc.abstractmethod
    def read(self, foreign: Foreign) -> Imported:
        """Read a checkpoint.

        Raises:
            Unreadable: a file is damaged or does not fit the head model or the method's configuration.
            MissingAsset: the head model's files are not registered.
        """


def importer_for(importers: Sequence[Importer], path: Path) -> Importer:
    """The importer whose files have the ending of `path`.

    Args:
        importers: of one method.
        path: the file.

    Raises:
        BenchError: none has.
    """
    endings = {ending: each for each in importers for ending in each.suffixes}
    if path.suffix.lower() not in endings:
        said = did_you_mean("ending of published checkpoints", path.suffix, endings)
        raise BenchError(f"{path}: {said}", help="bench import --help")
    return endings[path.suffix.lower()]
