"""Find and read the subjects of a request, each once."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

from headbench.harness.errors import BenchError, DataError, PluginError, did_you_mean
from headbench.harness.plugins import DatasetReader, DatasetSpec, Problem, Registry
from headbench.harness.plugins.loading import guarded
from headbench.harness.records import parsed
from headbench.harness.run.asked import asked_subjects, escaped, matches
from headbench.harness.run.config import Setting
from headbench.harness.run.data import Manifest
from headbench.harness.run.entries import owned
from headbench.harness.run.request import RunRequest
from headbench.harness.run.shared import Shared, cores
from headbench.harness.run.subject import limited

if TYPE_CHECKING:
    from headbench.harness.types import Subject

__all__ = ["Outline", "Place", "Reading", "chosen_datasets"]

_FEW = 4
"""Number of subjects below which one process reads them all."""
_MOST = 8
"""Largest number of processes that read subjects, each with memory of its own."""


@dataclass(frozen=True)
class Outline:
    """Summary of a subject that was read, with all that a plan needs of it."""

    head: str
    """Tag of the head model."""
    train: int
    """Number of training frames."""
    test: int
    """Number of test frames."""
    width: int
    """Width of a test image in pixels."""
    height: int
    """Height of a test image in pixels."""
    data: Manifest

    @classmethod
    def of(cls, subject: Subject) -> Outline:
        """Outline of a subject that has training and test frames."""
        camera = subject.test[0].camera
        return cls(
            subject.head, len(subject.train), len(subject.test), camera.width, camera.height, Manifest.of(subject)
        )


@dataclass(frozen=True)
class Place:
    """Subject of a dataset as it was read, or the reason why it could not be."""

    spec: DatasetSpec
    name: str
    folder: Path
    subject: Outline | None
    fault: str

    @functools.cached_property
    def whole_path(self) -> str:
        """Path of the subject's folder without links, which all of its cells share."""
        return str(self.folder.resolve())

    @property
    def data(self) -> Manifest | None:
        """Manifest of the subject's data; None where it could not be read."""
        return self.subject.data if self.subject is not None else None

    @functools.cached_property
    def data_file(self) -> str:
        """Path of the data's manifest below a run's folder; empty where the subject could not be read."""
        return self.subject.data.file if self.subject is not None else ""

    @functools.cached_property
    def digests(self) -> dict[str, str]:
        """Kind of data -> digest over all frames; empty where the subject could not be read."""
        return dict(self.subject.data.fingerprint) if self.subject is not None else {}


def chosen_datasets(
    request: RunRequest, registry: Registry, notes: list[str]
) -> list[tuple[DatasetSpec, DatasetReader, dict[str, Path]]]:
    """Datasets of a request, each with its reader and the chosen subjects' folders by name.

    Args:
        request: names datasets, subjects and the data root.
        registry: knows the datasets.
        notes: gets a line for each dataset that ``all`` means and that cannot be looked at.

    Raises:
        BenchError: the data root is no folder, a dataset or subject is unknown, or nothing was found.
    """
    if not request.data_root.is_dir():
        raise BenchError(f"data root {request.data_root} is no folder.", help="bench data synth --help")
    chosen: dict[str, tuple[DatasetSpec, DatasetReader, dict[str, Path]]] = {}
    for text in request.datasets:
        name, wanted = asked_subjects(text)
        everything = name.lower() == "all"
        for spec in registry.datasets().values() if everything else [registry.dataset(name)]:
            try:
                reader = registry.load_dataset(spec.name)
                found = _found(spec, reader, request.data_root)
            except (DataError, PluginError) as error:
                if not everything:
                    raise
                notes.append(f"dataset {spec.name}: {error.args[0]}")
                continue
            before = chosen[spec.name][2] if spec.name in chosen else {}
            chosen[spec.name] = (spec, reader, before | _subjects(spec.name, found, wanted, request.data_root))
    if not chosen:
        raise BenchError(f"No dataset found below {request.data_root}. " + " ".join(notes), help="bench list datasets")
    return list(chosen.values())


def _found(spec: DatasetSpec, reader: DatasetReader, root: Path) -> dict[str, Path]:
    """Folders of the subjects below `root` by name; what a reader raises but BenchError is a fault of its plugin."""
    try:
        return reader.subjects(root)
    except BenchError:
        raise
    except Exception as error:
        raise PluginError(
            f"dataset {spec.name}: looking for subjects in {root} failed with {type(error).__name__}: {error}"
        ) from error


def _subjects(dataset: str, found: Mapping[str, Path], wanted: Sequence[str], root: Path) -> dict[str, Path]:
    """Folders of the subjects that a request names, by name.

    Args:
        dataset: name of the dataset, for messages.
        found: folders of all subjects by name.
        wanted: patterns of subjects; none of them means all.
        root: the data root, for messages.

    Raises:
        BenchError: a pattern matches no subject.
    """
    if not wanted:
        return dict(found)
    chosen: dict[str, Path] = {}
    for pattern in wanted:
        meant = {name: folder for name, folder in found.items() if matches(pattern, name)}
        if not meant:
            raise BenchError(f"{root}: {did_you_mean(f'subject of {dataset}', pattern, map(escaped, found))}")
        chosen |= meant
    return chosen


class Reading:
    """Reading of a dataset's subjects, each limited in frames, by several processes where that is worth it.

    It begins with the block; one that cannot be read gets a fault and stops no other. Readers of strangers' plugins
    work in this process alone: they may keep what no other process sees.

    Args:
        spec: the dataset.
        reader: its reader.
        found: folders of the subjects by name.
        settings: all settings of the request; the dataset's own are options of its reader.
        limit: maximum number of training frames, and of test frames; None: all.
        alone: whether the reader works in this process alone.
    """

    def __init__(
        self,
        spec: DatasetSpec,
        reader: DatasetReader,
        found: Mapping[str, Path],
        settings: Sequence[Setting],
        limit: int | None,
        alone: bool,
    ) -> None:
        self._spec, self._reader, self._folders = spec, reader, list(found.items())
        self._settings, self._limit = owned(settings, spec.name), limit
        many = not alone and len(self._folders) >= _FEW
        # Unknown options are refused by `places`.
        many = many and {setting.path for setting in self._settings} <= set(reader.options())
        processes = min(cores() - 1, _MOST) if many else 0
        self._shared = Shared(len(self._folders), self._outline, _packed, _unpacked, processes)

    def __enter__(self) -> Reading:
        self._shared.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._shared.__exit__(kind, error, trace)

    def places(self) -> list[Place]:
        """Wait for the subjects, and return each as it was read.

        Raises:
            BenchError: an option of the dataset is unknown.
        """
        _data_options(self._spec, self._reader, self._settings)
        places = []
        for (name, folder), found in zip(self._folders, self._shared.results(), strict=True):
            outline, fault = (None, found) if isinstance(found, str) else (found, "")
            places.append(Place(self._spec, name, folder, outline, fault))
        return places

    def _outline(self, number: int) -> Outline | str:
        """Outline of a subject, or why it cannot be read."""
        folder = self._folders[number][1]
        subject = _read(self._spec, self._reader, folder, {each.path: each.value for each in self._settings})
        if isinstance(subject, str):
            return subject
        if not subject.train or not subject.test:
            counts = f"{len(subject.train)} training and {len(subject.test)} test frames"
            return f"{folder} has {counts}; both are needed"
        return Outline.of(limited(subject, self._limit))


def _packed(found: Outline | str) -> dict[str, Any] | str:
    return found if isinstance(found, str) else {**found.__dict__, "data": found.data.__dict__}


def _unpacked(found: Any) -> Outline | str:
    return found if isinstance(found, str) else parsed(Outline, found, Path())


def _read(spec: DatasetSpec, reader: DatasetReader, folder: Path, options: Mapping[str, Any]) -> Subject | str:
    """Subject in `folder`, or why it cannot be read; whatever a reader raises, other subjects go on.

    Args:
        spec: dataset of the subject.
        reader: reader of that dataset.
        folder: folder of the subject.
        options: options of the reader.
    """

    def read() -> Subject | str:
        try:
            return reader.read(folder, options)
        except BenchError as error:
            return f"{error.args[0]} ({error.help})" if error.help else str(error.args[0])

    found = guarded(spec.name, f"dataset {spec.name}: reading {folder}", read)
    return found.message if isinstance(found, Problem) else found


def _data_options(spec: DatasetSpec, reader: DatasetReader, settings: Sequence[Setting]) -> dict[str, Any]:
    """Options of a dataset's reader that settings give; an unknown one is a BenchError."""
    known = reader.options()
    for setting in settings:
        if setting.path not in known:
            message = did_you_mean(f"option of {spec.name}", setting.path, known)
            raise BenchError(f"--set {setting.text!r}: {message}")
    return {setting.path: setting.value for setting in settings}
