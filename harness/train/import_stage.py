"""The root stage ``import``: makes a portrait from a checkpoint that a method's published code wrote."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from headbench.harness.avatar import MethodConfig, Portrait, Section
from headbench.harness.errors import BenchError, DataError
from headbench.harness.files import atomic_folder
from headbench.harness.head import load_head
from headbench.harness.importing import Foreign, Imported, Importer, importer_for
from headbench.harness.reading import Unreadable
from headbench.harness.records import write_sealed
from headbench.harness.stage import Kept, Stage, StageWork, input_file
from headbench.harness.train.checkpoint import save_checkpoint
from headbench.harness.train.setup import identity_of
from headbench.harness.trained import SUMMARY, CheckpointState, Machine, TrainSummary

__all__ = ["ImportConfig", "ImportStage", "import_alone"]


class ImportConfig(Section):
    """Options of the stage ``import``."""

    file: Path = input_file(required=True, description="The checkpoint.")
    parameters: Path | None = input_file(description="The head model's parameters, where they lie in a file beside.")
    head: str = ""
    """Tag of the head model; empty: that of the published code."""


class ImportStage(Stage):
    """The stage ``import``: a portrait of the cell's method from a checkpoint that its published code wrote."""

    config_type = ImportConfig

    def __init__(self) -> None:
        self._kept: Kept | None = None

    def run(self, work: StageWork) -> Portrait:
        """Read the checkpoint; the subject gives camera, first frame and expressions, the checkpoint the rest."""
        from headbench.harness.plugins import registry

        importer = importer_for(registry().load_importers(work.about["method"]), work.inputs["file"])
        known = identity_of(work.subject)
        inputs, config = work.inputs, work.portrait_config
        head = work.config.head or importer.head
        foreign = Foreign(inputs["file"], inputs.get("parameters"), config, head, known)
        portrait, found = _portrait(importer, foreign, work.portrait_type)
        if found.identity.head != known.head:
            raise BenchError(
                f"{foreign.path} is of head model {found.identity.head}, {known.subject} is tracked with {known.head}: "
                "coefficients of one do not drive the other.",
                help="--head TAG",
            )
        self._kept = Kept(found.identity, {}, found.notes, 0.0)
        return portrait

    def keeps(self, work: StageWork) -> Kept | None:
        """What the checkpoint says of its subject, which is not what a dataset's tracker says.

        Args:
            work: not used.
        """
        return self._kept


def import_alone(
    importer: Importer, foreign: Foreign, portrait_type: type[Portrait], about: Mapping[str, str], out: Path
) -> tuple[str, ...]:
    """Import a checkpoint without a subject, as the folder of a stage instance that appears whole or not at all.

    Args:
        importer: reads it.
        foreign: the checkpoint, without a known identity.
        portrait_type: class of the method.
        about: names of method, preset, variant, dataset and subject.
        out: the folder to make.

    Returns:
        sentences on what was left out.

    Raises:
        BenchError: the checkpoint cannot be read, or does not fit.
        MissingAsset: the head model's files are not registered.
    """
    portrait, found = _portrait(importer, foreign, portrait_type)
    machine = Machine("cpu", "auto", 0)
    config: MethodConfig = foreign.config
    loader = f"method:{about['method']}"
    values = config.model_dump(mode="json")
    state = CheckpointState(1, about, values, 0.0, 0, {}, notes=found.notes, machine=machine, loader=loader)
    with atomic_folder(out) as folder:
        save_checkpoint(folder, portrait, found.identity, {}, state)
        summary = TrainSummary(1, 0.0, 0.0, portrait.count(), 0, machine.device, machine.rasterizer, found.notes)
        write_sealed(folder / SUMMARY, dataclasses.asdict(summary))
    return found.notes


def _portrait(importer: Importer, foreign: Foreign, portrait_type: type[Portrait]) -> tuple[Portrait, Imported]:
    """Make the portrait of a checkpoint.

    Raises:
        Unreadable: its values are not finite, or do not fit the method.
    """
    found = importer.read(foreign)
    _check_finite(foreign.path, found.state)
    head = load_head(found.identity.head, foreign.config.topology())
    try:
        portrait = portrait_type.create(head, found.identity, None, foreign.config)
    except DataError as error:
        said = str(error.args[0]).rstrip(".")
        raise Unreadable(foreign.parameters or foreign.path, f"found an identity that does not fit: {said}") from error
    portrait.resize_for({name: value.shape for name, value in found.state.items()})
    own = portrait.state_dict()
    for name, value in found.state.items():
        if name not in own or own[name].shape != value.shape:
            expected = f"expected {tuple(own[name].shape)}" if name in own else "which the method does not have"
            raise Unreadable(
                foreign.path,
                f"found {name} of shape {tuple(value.shape)}, {expected}",
                "choose the options of the method that it was trained with",
            )
    portrait.load_state_dict({**own, **found.state})
    return portrait.eval(), found


def _check_finite(path: Path, state: Mapping[str, Tensor]) -> None:
    """Refuse values that are not finite.

    Raises:
        Unreadable: some are not; the first such entry is named.
    """
    for name, value in state.items():
        if value.is_floating_point() and not bool(torch.isfinite(value).all()):
            raise Unreadable(path, f"found values that are not finite (NaN or infinite), which become {name}")
