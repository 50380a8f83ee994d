"""Base class of stages, which make a portrait from a parent portrait, or from training frames alone."""

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
from headbench.harness.types import Identity, Subject, TrainView

if TYPE_CHECKING:
    from headbench.harness.train import LoadedPortrait

__all__ = ["Kept", "Stage", "StageWork", "file_options", "input_file", "input_files", "input_path", "takes_folder"]

_INPUT = {"input_file": True}
_PATH = {"input_file": True, "folder": True}

Progress = Callable[[Mapping[str, Any]], None]
"""Callback that receives what a stage reports of its progress: step, total and whatever else it has."""


def input_file(required: bool = False, description: str = "") -> Any:
    """Default for an option, of type Path or None, that names a file of the user's: ``--set edit.picture=FILE``.

    The file must be there when the run is planned. What it holds counts, not where it lies: an instance is made again
    when its SHA-256 changes. A stage finds it in `StageWork.inputs`.

    Args:
        required: whether the user must name a file; otherwise the option may be None.
        description: of the option, one phrase.
    """
    return Field(default=... if required else None, description=description or None, json_schema_extra=dict(_INPUT))


def input_path(description: str = "") -> Any:
    """Default for an option, of type Path or None, that names a file or a folder of the user's, as `input_file` does.

    All files in a folder count: an instance is made again when one of them changes.

    Args:
        description: of the option, one phrase.
    """
    return Field(default=None, description=description or None, json_schema_extra=dict(_PATH))


def takes_folder(config: BaseModel, option: str) -> bool:
    """Whether an option, declared by `input_file` or `input_path`, may name a folder."""
    return type(config).model_fields[option].json_schema_extra == _PATH


def input_files(config: BaseModel) -> dict[str, Path]:
    """Files that the user named in `config`: option -> path, for options declared by `input_file` or `input_path`."""
    named = file_options(type(config))
    return {name: Path(getattr(config, name)) for name in named if getattr(config, name) is not None}


def file_options(kind: type[BaseModel]) -> list[str]:
    """Options of a stage's `config_type` that are declared by `input_file` or `input_path`."""
    return [name for name, field in kind.model_fields.items() if field.json_schema_extra in (_INPUT, _PATH)]


@dataclass(frozen=True)
class Kept:
    """What a portrait keeps of its subject, where it is not its parent's nor what training frames give."""

    identity: Identity
    frames: Mapping[str, Tensor]
    """Refined parameters of training frames, as `LoadedPortrait.frames`; empty where there are none."""
    notes: tuple[str, ...] = ()
    """Sentences that tables print."""
    seconds: float | None = None
    """Time that the training took; 0 where nobody knows, so that tables show a dash. None: what the stage took here."""


@dataclass(frozen=True)
class StageWork:
    """Input of a stage: its parent, the training frames, its options, and where to keep its result."""

    about: Mapping[str, str]
    """Names of method, preset, variant, dataset and subject."""
    portrait_type: type[Portrait]
    """The class that loads the result."""
    parent: LoadedPortrait | None
    """The portrait to start from, with identity, configuration and refined per-frame parameters; None for a root."""
    subject: Subject
    """The subject with its training frames alone: it has no test frames."""
    config: Any
    """The stage's options, of its `config_type`; for ``train`` the method's configuration."""
    options: Execution
    folder: Path
    """Folder of the instance; files that a stage writes here stay."""
    inputs: Mapping[str, Path]
    """Option -> the file or folder that the user named by it (`input_file`, `input_path`)."""
    progress: Progress
    """Callback that receives step, total and whatever else the stage reports."""
    save: Callable[[Portrait, int, Mapping[str, Tensor]], None]
    """Writes a checkpoint: (portrait, number of steps taken, tensors to go on from). Older ones are removed."""
    resume: Callable[[Portrait], tuple[int, Mapping[str, Tensor]] | None]
    """Loads the newest whole checkpoint into a portrait; returns its step and tensors, None where there is none."""
    portrait_config: Any = None
    """Configuration of the class that loads the result, of its `config_type`."""

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
    """Base of all stages: makes a portrait by `run`. The class is instantiated without arguments."""

    config_type: ClassVar[type[Section]] = Section
    """Type of the stage's options; unknown ones are errors."""

    @classmethod
    def networks(cls, config: Any) -> frozenset[str]:
        """Registered networks (vgg16, lpips-alex) that these options need, besides those of the stage's spec.

        Args:
            config: the stage's options, of `config_type`.
        """
        return frozenset()

    @classmethod
    def portrait_config(cls, parent: LoadedPortrait, config: Any) -> Mapping[str, Any]:
        """Values of the configuration of the class that loads the result, where that is not the parent's class.

        Args:
            parent: what the instance is made from.
            config: the stage's options, of `config_type`.

        Returns:
            values for the class's own `config_type`; by default ``train`` of the method with the stage's options.
        """
        return {"train": parent.config.train.model_dump(mode="json"), **config.model_dump(mode="json")}

    def keeps(self, work: StageWork) -> Kept | None:
        """What the portrait keeps of its subject; asked once `run` has returned a portrait.

        Args:
            work: the stage's input.

        Returns:
            None, the default: the parent's, or for a root what the training frames give.
        """
        return None

    @abc.abstractmethod
    def run(self, work: StageWork) -> Portrait | None:
        """Make the portrait from the parent and the training frames.

        It must load without the parent's folder: what it needs of its parent (learned corrections of the head, networks
        that move Gaussians) is part of its own tensors. Random numbers have been seeded.

        Args:
            work: the stage's input.

        Returns:
            the portrait, which is then saved; None where the stage has saved it and its summary itself, as ``train``
            does.

        Raises:
            BenchError: anything that the user can mend.
        """
