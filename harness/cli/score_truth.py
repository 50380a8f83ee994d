"""What `bench score --renders` was asked to compare, and the subject that `--truth DATASET/SUBJECT` names."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from headbench.harness.errors import BenchError, did_you_mean
from headbench.harness.reading import kind_at

if TYPE_CHECKING:
    from headbench.harness.types import Subject

__all__ = ["Folders", "named_subject"]


@dataclass(frozen=True)
class Folders:
    """What `bench score` was asked to compare, as the command line names it."""

    renders: Path
    truth: str
    """Folder or video, or DATASET/SUBJECT."""
    alpha: Path | None = None
    data_root: Path | None = None
    settings: tuple[str, ...] = ()
    out: Path | None = None


def named_subject(truth: str, data_root: Path | None, settings: Sequence[str]) -> Subject | None:
    """Read the subject that names the ground truth; return None where that is a folder or a video.

    Args:
        truth: DATASET/SUBJECT, or a path of pictures.
        data_root: folder that holds the datasets; needed for a subject alone.
        settings: options of the dataset's reader, DATASET.OPTION=VALUE; for a subject alone.

    Raises:
        BenchError: there is neither a folder nor such a subject.
        DataError: the subject cannot be read.
    """
    from headbench.harness.plugins import registry

    if kind_at(Path(truth)):
        _refuse_data(truth, data_root, settings)
        return None
    dataset, _, name = truth.partition("/")
    spec = next((each for each in registry().datasets().values() if each.name.lower() == dataset.lower()), None)
    if spec is None or not name:
        raise BenchError(
            f"--truth {truth}: there is no such folder or video, and it is no DATASET/SUBJECT.",
            help="bench list datasets",
        )
    if data_root is None:
        raise BenchError(
            f"--truth {truth} names a subject, and nobody knows where its data are.",
            help=f"--truth {truth} --data-root FOLDER",
        )
    reader = registry().load_dataset(spec.name)
    found = reader.subjects(data_root)
    if name not in found:
        raise BenchError(f"--truth {truth}: {data_root}: {did_you_mean('subject', name, found)}")
    return reader.read(found[name], _options(settings, spec.name, reader.options()))


def _refuse_data(truth: str, data_root: Path | None, settings: Sequence[str]) -> None:
    """Refuse what only a subject of a dataset has."""
    if settings or data_root is not None:
        given = "--set" if settings else "--data-root"
        raise BenchError(f"{given} is for a subject of a dataset, and {truth} is {kind_at(Path(truth))}.")


def _options(settings: Sequence[str], dataset: str, known: Mapping[str, Any]) -> dict[str, Any]:
    """Options of a dataset's reader from settings DATASET.OPTION=VALUE."""
    from headbench.harness.run.config import parse_setting

    found = {}
    for setting in map(parse_setting, settings):
        if setting.owner.lower() != dataset.lower():
            raise BenchError(f"--set {setting.text!r}: only options of {dataset} can be set here.")
        if setting.path not in known:
            raise BenchError(f"--set {setting.text!r}: {did_you_mean(f'option of {dataset}', setting.path, known)}")
        found[setting.path] = setting.value
    return found
