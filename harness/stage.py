"""What a stage implements: it makes a portrait from a parent portrait, or from nothing."""

from __future__ import annotations

import abc
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import BaseModel, Field
from torch import Tensor

from headbench.harness.avatar import Portrait, Section
from headbench.harness.files import make_folder
from headbench.harness.options import Execution
from headbench.harness.types import Subject, TrainView

if TYPE_CHECKING:
    from headbench.harness.train import LoadedPortrait

__all__ = ["Stage", "StageWork", "input_file", "input_files"]

_INPUT = {"input_file": True}

Progress = Callable[[Mapping[str, Any]], None]


def input_file(required: bool = False, description: str = "") -> Any:
    """The default of an option, of type Path or None, that names a file of the user's: ``--set edit.picture=FILE``.

    The file must be there when the run is planned. What it holds counts, not where it lies: an instance is made again
    when its SHA-256 changes. A stage finds it in `StageWork.inputs`.

    Args:
        required: without it the option is None where the user names no file.
        description: one phrase.
    """
    return Field(default=... if required else None, description=description or None, json_schema_extra=dict(_INPUT))


def input_files(config: BaseModel) -> dict[str, Path]:
    """Option -> the file that it names, of options that are `input_file`."""
    fields = type(config).model_fields
    named = [name for name, field in fields.items() if field.json_schema_extra == _INPUT]
    return {name: Path(getattr(config, name)) for name in named if getattr(config, name) is not None}


@dataclass(frozen=True)
class StageWork:
    """All that a stage gets."""

    about: Mapping[str, str]
    """method, preset, variant, dataset, subject."""
    portrait_type: type[Portrait]
    """The class that loads the result."""
    parent: LoadedPortrait | None
    """With identity, head, configuration and refined per-frame parameters; None for a root."""
    subject: Subject
    """Training frames alone: it has no test frames."""
    config: Any
    """Of the stage's own type; for ``train`` the method's."""
    options: Execution
    folder: Path
    """Of the instance. What a stage writes here besides, it keeps."""
    inputs: Mapping[str, Path]
    """Option -> the file that the user named by it (`input_file`)."""
    progress: Progress
    """Hears step, total and whatever else the stage can say."""
    save: Callable[[Portrait, int, Mapping[str, Tensor]], None]
    """Keeps a portrait after so many steps, with tensors to go on from; the older checkpoints go."""
    resume: Callable[[Portrait], tuple[int, Mapping[str, Tensor]] | None]
    """Puts the newest whole checkpoint into a portrait; its step and tensors, or None where there is none."""

    @property
    def data(self) -> TrainView:
        """The training frames as a method's `create` sees them, at the size of the first."""
        camera = self.subject.train[0].camera
        return TrainView(self.subject.train, camera.width, camera.height, self.options.seed, str(self.scratch))

    @property
    def scratch(self) -> Path:
        """A folder for the stage's own files while it works."""
        place = self.folder / "scratch"
        make_folder(place)
        return place


class Stage(abc.ABC):
    """Makes portraits; made with no arguments."""

    config_type: ClassVar[type[Section]] = Section
    """The stage's options; unknown ones are errors."""

    @abc.abstractmethod
    def run(self, work: StageWork) -> Portrait | None:
        """Make the portrait.

        It must load without the parent's folder: what it needs of its parent (learned corrections of the head, networks
        that move Gaussians) is part of its own tensors. Random numbers have been seeded.

        Returns:
            the portrait, which is then saved; None where the stage has saved it and its summary itself, as ``train``
            does.

        Raises:
            BenchError: what the user can mend.
        """
