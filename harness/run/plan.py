"""From a request to cells, each with its job or the reason why it cannot run; nothing trains yet."""

from __future__ import annotations

import dataclasses
import datetime
import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from headbench.harness.errors import BenchError, DataError, PluginError, did_you_mean
from headbench.harness.options import Execution
from headbench.harness.plugins import DatasetReader, DatasetSpec, MethodSpec, Problem, Registry
from headbench.harness.plugins.checks import check_preset, preset_values
from headbench.harness.plugins.loading import guarded
from headbench.harness.reading import Unreadable
from headbench.harness.run.asked import asked_subjects, escaped, matches
from headbench.harness.run.cell import Cell, CellRecord, Job, State, cell_folder
from headbench.harness.run.config import Setting, apply_settings, config_hash, parse_setting, settings_hash
from headbench.harness.run.data import Manifest, Trained, mixed, whole
from headbench.harness.run.folder import planned_cells, read_plan, write_plan_file
from headbench.harness.run.needs import unmet
from headbench.harness.run.provenance import changes, trained_on
from headbench.harness.run.request import RunRequest, whole_path

if TYPE_CHECKING:
    from headbench.harness.avatar import MethodConfig, Portrait
    from headbench.harness.types import Subject

__all__ = ["Plan", "PlannedCell", "limited", "make_plan", "write_plan"]


@dataclass(frozen=True)
class PlannedCell:
    """A cell, what its worker must know, and its size for estimates."""

    record: CellRecord
    job: Job | None
    """None where the cell cannot run."""
    steps: int = 0
    frames: tuple[int, int] = (0, 0)
    """Training and test frames."""
    size: tuple[int, int] = (0, 0)
    """Width and height of a test image."""
    data: Manifest | None = None
    """What the cell trains and is tested on."""

    @property
    def cell(self) -> Cell:
        """The cell itself."""
        return self.record.cell


@dataclass(frozen=True)
class Plan:
    """The cells of a request, in the order in which they run."""

    run: Path
    cells: tuple[PlannedCell, ...]
    notes: tuple[str, ...]


@dataclass(frozen=True)
class _Place:
    """A subject of a dataset, read, or why it could not be."""

    spec: DatasetSpec
    name: str
    folder: Path
    subject: Subject | None
    fault: str
    data: Manifest | None = None


@dataclass(frozen=True)
class _Entry:
    """A method with one preset, configured, or why it could not be."""

    spec: MethodSpec
    preset: str
    note: str
    settings: tuple[Setting, ...]
    config: MethodConfig | None
    fault: str


def make_plan(request: RunRequest, registry: Registry, protocols: Mapping[str, str], argv: Sequence[str] = ()) -> Plan:
    """All cells of a request: subjects are read and checked, needs looked up.

    Args:
        protocols: name@version -> hash of the protocols to score by.
        argv: the command line, for provenance.

    Raises:
        BenchError: a name, option or value of the request is unknown or does not fit, no data is there, or a cell that
            was begun before had other data or another configuration.
    """
    run = request.folder()
    _check_device(request)
    settings = [parse_setting(text) for text in request.settings]
    methods = _methods(request, registry)
    for preset in request.preset:
        check_preset(preset, registry.methods().values())
    notes: list[str] = _of_old_plan(run)
    datasets = _datasets(request, registry, notes)
    _check_owners(settings, methods, [spec for spec, _, _ in datasets], registry)
    entries = [e for spec in methods for e in _entries(spec, request, registry, _owned(settings, spec.name))]
    places = [p for spec, reader, found in datasets for p in _places(spec, reader, found, settings, request.limit)]
    cells = []
    for place, entry, seed in itertools.product(places, entries, request.seeds):
        data_settings = _owned(settings, place.spec.name)
        variant = _variant(request, entry.settings + data_settings, bool(settings))
        cell = Cell(entry.spec.name, entry.preset, variant, place.spec.name, place.name, seed)
        cells.append(_plan_cell(cell, entry, place, data_settings, request, protocols, argv))
    return Plan(run, tuple(_refuse_changes(run, cells)), tuple(notes))


def write_plan(plan: Plan) -> None:
    """Write plan.json: the cells of this plan after those that earlier requests put into the same run; and the data
    that they are to be trained on."""
    for data in {planned.data.file: planned.data for planned in plan.cells if planned.data is not None}.values():
        data.write(plan.run)
    write_plan_file(plan.run, [planned.cell for planned in plan.cells], plan.notes)


def _of_old_plan(run: Path) -> list[str]:
    """What to say of a plan that is there and cannot be read."""
    try:
        read_plan(run)
    except Unreadable as error:
        return [f"{str(error.args[0]).rstrip('.')}: it is made anew from the cells that are there"]
    except BenchError:  # there is none yet
        pass
    return []


def limited(subject: Subject, limit: int | None) -> Subject:
    """The subject with at most `limit` training and test frames, evenly spaced, the first among them."""

    def pick(frames: tuple[Any, ...]) -> tuple[Any, ...]:
        if limit is None or len(frames) <= limit:
            return frames
        return tuple(frames[k * len(frames) // limit] for k in range(limit))

    return dataclasses.replace(subject, train=pick(subject.train), test=pick(subject.test))


def _check_device(request: RunRequest) -> None:
    """A device or rasterizer that cannot work here is a mistake of the request, not of each of its cells."""
    from headbench.harness.device import resolve_device

    device = resolve_device(request.device)
    if request.rasterizer != "auto":
        from headbench.harness.splat import make_rasterizer

        make_rasterizer(request.rasterizer, device)


def _methods(request: RunRequest, registry: Registry) -> list[MethodSpec]:
    chosen: dict[str, MethodSpec] = {}
    for name in request.methods:
        found = registry.methods().values() if name.lower() == "all" else [registry.method(name)]
        chosen |= {spec.name: spec for spec in found}
    if not chosen:
        raise BenchError("No method is registered.", help="bench plugins")
    return list(chosen.values())


def _datasets(
    request: RunRequest, registry: Registry, notes: list[str]
) -> list[tuple[DatasetSpec, DatasetReader, dict[str, Path]]]:
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
    """Subjects below `root`; what a stranger's reader raises besides DataError is a fault of its plugin."""
    try:
        return reader.subjects(root)
    except BenchError:
        raise
    except Exception as error:
        raise PluginError(
            f"dataset {spec.name}: looking for subjects in {root} failed with {type(error).__name__}: {error}"
        ) from error


def _subjects(dataset: str, found: Mapping[str, Path], wanted: Sequence[str], root: Path) -> dict[str, Path]:
    if not wanted:
        return dict(found)
    chosen: dict[str, Path] = {}
    for pattern in wanted:
        meant = {name: folder for name, folder in found.items() if matches(pattern, name)}
        if not meant:
            raise BenchError(f"{root}: {did_you_mean(f'subject of {dataset}', pattern, map(escaped, found))}")
        chosen |= meant
    return chosen


def _check_owners(
    settings: Sequence[Setting], methods: Sequence[MethodSpec], datasets: Sequence[DatasetSpec], registry: Registry
) -> None:
    here = {spec.name.lower() for spec in methods} | {spec.name.lower() for spec in datasets}
    registered = [*registry.methods(), *registry.datasets()]
    for setting in settings:
        if setting.owner.lower() in here:
            continue
        if setting.owner.lower() in {name.lower() for name in registered}:
            raise BenchError(f"--set {setting.text!r}: {setting.owner} is not part of this run.")
        raise BenchError(f"--set {setting.text!r}: {did_you_mean('method or dataset', setting.owner, registered)}")


def _owned(settings: Sequence[Setting], owner: str) -> tuple[Setting, ...]:
    return tuple(setting for setting in settings if setting.owner.lower() == owner.lower())


def _entries(spec: MethodSpec, request: RunRequest, registry: Registry, settings: tuple[Setting, ...]) -> list[_Entry]:
    try:
        portrait_type: type[Portrait] | None = registry.load_method(spec.name)
        fault = ""
    except PluginError as error:
        if spec.name.lower() in {name.lower() for name in request.methods}:
            raise
        portrait_type, fault = None, str(error.args[0])
    entries: dict[str, _Entry] = {}
    for asked in request.preset:
        preset, note = asked, ""
        if asked not in spec.presets:
            preset = spec.default_preset
            note = f"{spec.name} has no preset {asked!r}; its default {preset!r} was used"
        config = None
        if portrait_type is not None:
            values = preset_values(spec, preset, registry.owner(spec))
            config = apply_settings(portrait_type, values, settings)
        entry = _Entry(spec, preset, note, settings, config, fault)
        if preset not in entries or not note:
            entries[preset] = entry
    return list(entries.values())


def _places(
    spec: DatasetSpec,
    reader: DatasetReader,
    found: Mapping[str, Path],
    settings: Sequence[Setting],
    limit: int | None,
) -> list[_Place]:
    options = _data_options(spec, reader, _owned(settings, spec.name))
    places = []
    for name, folder in found.items():
        subject = _read(spec, reader, folder, options)
        if isinstance(subject, str):
            places.append(_Place(spec, name, folder, None, subject))
        elif not subject.train or not subject.test:
            counts = f"{len(subject.train)} training and {len(subject.test)} test frames"
            places.append(_Place(spec, name, folder, None, f"{folder} has {counts}; both are needed"))
        else:
            subject = limited(subject, limit)
            places.append(_Place(spec, name, folder, subject, "", Manifest.of(subject)))
    return places


def _read(spec: DatasetSpec, reader: DatasetReader, folder: Path, options: Mapping[str, Any]) -> Subject | str:
    """The subject, or why it cannot be read; whatever a reader raises, other subjects go on."""

    def read() -> Subject | str:
        try:
            return reader.read(folder, options)
        except BenchError as error:
            return f"{error.args[0]} ({error.help})" if error.help else str(error.args[0])

    found = guarded(spec.name, f"dataset {spec.name}: reading {folder}", read)
    return found.message if isinstance(found, Problem) else found


def _data_options(spec: DatasetSpec, reader: DatasetReader, settings: Sequence[Setting]) -> dict[str, Any]:
    known = reader.options()
    for setting in settings:
        if setting.path not in known:
            message = did_you_mean(f"option of {spec.name}", setting.path, known)
            raise BenchError(f"--set {setting.text!r}: {message}")
    return {setting.path: setting.value for setting in settings}


def _variant(request: RunRequest, settings: Sequence[Setting], any_settings: bool) -> str:
    name = ""
    if settings:
        name = request.label or settings_hash(settings)
    elif not any_settings:
        name = request.label
    limit = f"limit{request.limit}" if request.limit is not None else ""
    return "-".join(part for part in (name, limit) if part)


def _plan_cell(
    cell: Cell,
    entry: _Entry,
    place: _Place,
    data_settings: Sequence[Setting],
    request: RunRequest,
    protocols: Mapping[str, str],
    argv: Sequence[str],
) -> PlannedCell:
    notes = [entry.note] if entry.note else []
    changed = [setting.text for setting in (*entry.settings, *data_settings)]
    if changed:
        notes.append(f"{cell.variant}: {', '.join(changed)}")
    if request.limit is not None:
        notes.append(f"a quick look: at most {request.limit} training and {request.limit} test frames a subject")
    record = CellRecord(
        cell,
        notes=tuple(notes),
        preset_note=entry.note,
        baseline=entry.spec.baseline,
        protocols=dict(protocols),
        queued=_now(),
    )
    if entry.config is None or place.subject is None:
        return PlannedCell(_ended(record, State.FAILED, entry.fault or place.fault), None)
    subject, values = place.subject, entry.config.model_dump(mode="json")
    reason = unmet(entry.spec, entry.config, place.spec, subject.head)
    if reason:
        record = _ended(record, State.SKIPPED, reason)
    job = Job(
        cell=cell,
        config=values,
        config_hash=config_hash(values),
        data=str(place.folder.resolve()),
        data_options={setting.path: setting.value for setting in data_settings},
        limit=request.limit,
        protocols=tuple(map(whole_path, request.protocols())),
        execution=_execution(request, cell.seed),
        fingerprint=whole(subject.fingerprint),
        argv=tuple(argv),
        data_file=place.data.file if place.data is not None else "",
    )
    from headbench.harness.train.course import Course

    steps = Course(entry.config.train, len(subject.train)).total
    camera = subject.test[0].camera
    frames = (len(subject.train), len(subject.test))
    return PlannedCell(record, job, steps, frames, (camera.width, camera.height), place.data)


def _execution(request: RunRequest, seed: int) -> Execution:
    """How a cell is computed; the number of threads is fixed here, whatever machine the cell runs on."""
    import torch

    return Execution(
        device=request.device,
        rasterizer=request.rasterizer,
        seed=seed,
        threads=request.threads or torch.get_num_threads(),
        deterministic=request.deterministic,
        checkpoint_every=request.checkpoint_every,
        tensorboard=request.tensorboard,
    )


def _ended(record: CellRecord, state: State, reason: str) -> CellRecord:
    return dataclasses.replace(record, state=state, reason=reason, finished=_now())


def _now() -> str:
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")


def _refuse_changes(run: Path, cells: Sequence[PlannedCell]) -> list[PlannedCell]:
    """The cells; one of which nobody knows any more what it was begun with cannot go on, and stops no other.

    Raises:
        BenchError: a cell that was begun would change its data or configuration; the message names what.
    """
    kept = []
    for planned in cells:
        folder = cell_folder(run, planned.cell)
        try:
            found = changes(folder, planned.job, planned.data) if planned.job is not None else []
        except Unreadable as error:
            reason = f"{str(error.args[0]).rstrip('.')}; {error.help}"
            kept.append(PlannedCell(_ended(planned.record, State.FAILED, reason), None))
            continue
        if found:
            raise BenchError(
                f"{folder} was begun with something else: {'; '.join(found)}.",
                help=f"choose another --out or --label, or remove {folder}",
            )
        kept.append(planned)
    _refuse_mixed_data(run, kept)
    return kept


def _refuse_mixed_data(run: Path, cells: Sequence[PlannedCell]) -> None:
    """Cells of one subject in one run are trained on the same data, or no table may show them together.

    Raises:
        BenchError: other data than those of a cell that was begun by an earlier request; the message names what.
    """
    own = {planned.cell.path for planned in cells}
    begun = [cell_folder(run, cell) for cell in planned_cells(run) if cell.path not in own]
    used = [trained for folder in begun if (trained := trained_on(folder)) is not None]
    for planned in cells:
        if planned.job is None or planned.data is None:
            continue
        now = Trained(cell_folder(run, planned.cell), planned.data, dict(planned.job.data_options))
        for other in used:
            found = mixed(other, now)
            if found:
                raise BenchError(
                    f"{other.folder} was trained on other data than {planned.job.data} holds now, and no table shows "
                    f"both: {'; '.join(found)}.",
                    help=f"choose another --out, or remove {other.folder} and train it again",
                )
