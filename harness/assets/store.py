"""Store of registered files: copies in the user's data folder, with a record beside each."""

from __future__ import annotations

import datetime
import shutil
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path

from headbench.harness.assets.kinds import KINDS, Refusal, kind
from headbench.harness.errors import BenchError, DataError, MissingAsset, of_system
from headbench.harness.files import atomic_path, read_json, sha256_of, write_json
from headbench.harness.home import home

__all__ = ["Record", "asset", "files", "home", "record", "records", "register", "verify"]


@dataclass(frozen=True)
class Record:
    """Record of a registered file: name, checksum, size, source and licence."""

    name: str
    """Name of the asset, such as ``flame2020/model``."""
    file: str
    """Name of the file in the folder of the record."""
    sha256: str
    """SHA-256 of the file, in hexadecimal digits."""
    size: int
    """Size of the file in bytes."""
    source: str
    """Where the user had the file from, in words."""
    licence: str
    """Licence of the file, in words."""
    date: str
    """Time of registering: UTC, ISO 8601."""
    shapes: Mapping[str, str] = field(default_factory=dict)
    """Name of an array in the file -> its shape and type."""
    note: str = ""
    """A sentence for the user."""


def _record_path(name: str) -> Path:
    """Return the path of an asset's record."""
    return home() / "assets" / f"{name}.json"


def record(name: str) -> Record | None:
    """Read the record of a registered asset; None where it is not registered.

    Raises:
        BenchError: no asset has this name.
        DataError: the record is damaged.
    """
    path = _record_path(kind(name).name)
    if not path.is_file():
        return None
    try:
        return Record(**read_json(path))
    except (BenchError, TypeError) as error:
        raise DataError(f"{path} is not a record of an asset: {error}.", help=kind(name).command) from error


def records() -> dict[str, Record]:
    """Read the records of all registered assets by name."""
    found = {k.name: record(k.name) for k in KINDS}
    return {name: each for name, each in found.items() if each is not None}


def files() -> dict[str, Path]:
    """Return the paths of all registered files that exist, by name of the asset."""
    placed = {name: _record_path(name).parent / found.file for name, found in records().items()}
    return {name: path for name, path in placed.items() if path.is_file()}


def asset(name: str) -> Path:
    """Return the path of a registered file.

    Raises:
        BenchError: no asset has this name.
        MissingAsset: it is not registered, or its file is gone.
    """
    known = kind(name)
    found = record(name)
    if found is None:
        raise MissingAsset(f"{known.name} is not registered: {known.what}. Get it from {known.where}.", known.command)
    path = _record_path(name).parent / found.file
    if not path.is_file():
        raise MissingAsset(f"{known.name} was registered on {found.date}, but {path} is gone.", known.command)
    return path


def register(
    name: str, file: Path, source: str, shapes: Mapping[str, str] | None = None, note: str = "", licence: str = ""
) -> Path:
    """Copy a file into the store as an asset and return the copy; an older one is replaced.

    The copy is complete before the record names it, so a kill leaves either the old asset or the new one.

    Args:
        name: one of KINDS.
        file: what to copy; its content is not checked here (see AssetKind.recognise).
        source: where the user had it from.
        shapes: array -> shape, shown by `bench assets list`.
        note: a sentence for the user.
        licence: where it differs from the kind's.

    Raises:
        BenchError: no asset has this name.
        DataError: `file` cannot be read, or changes meanwhile.
    """
    known = kind(name)
    old = record(name)
    folder = _record_path(name).parent
    try:
        digest = sha256_of(file)
        # The digest in the name keeps the old file whole until the record points to the new one.
        target = folder / f"{name.rpartition('/')[2]}-{digest[:12]}{file.suffix}"
        with atomic_path(target) as part:
            shutil.copyfile(file, part)
            if sha256_of(part) != digest:
                raise DataError(f"{file} changed while it was copied.", help="run this again")
    except OSError as error:
        fault = of_system(error, str(file))
        raise DataError(str(fault.args[0]), fault.help) from error
    entry = Record(
        name=name,
        file=target.name,
        sha256=digest,
        size=target.stat().st_size,
        source=source,
        licence=licence or known.licence,
        date=datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        shapes=dict(shapes or {}),
        note=note,
    )
    write_json(_record_path(name), asdict(entry))
    if old is not None and old.file != target.name:
        (folder / old.file).unlink(missing_ok=True)
    return target


def verify(name: str) -> list[str]:
    """Check a registered file, and return a sentence per fault; empty where nothing is wrong.

    Checks size, SHA-256 and that the content is still recognised with the recorded shapes.

    Raises:
        MissingAsset: it is not registered.
    """
    path = asset(name)
    found = record(name)
    if found is None:
        raise MissingAsset(f"{name} is not registered.", kind(name).command)
    size = path.stat().st_size
    if size != found.size:
        return [f"{path}: expected {found.size} bytes, found {size}"]
    digest = sha256_of(path)
    if digest != found.sha256:
        return [f"{path}: expected SHA-256 {found.sha256}, found {digest}"]
    seen = kind(name).recognise(path)
    if isinstance(seen, Refusal):
        return [f"{path}: its content is not recognised as {kind(name).what}: {seen.reason}"]
    strange = kind(name).mismatch(path, files())
    if strange:
        return [f"{path}: {strange}"]
    if found.shapes and dict(seen.shapes) != dict(found.shapes):
        return [f"{path}: expected shapes {dict(found.shapes)}, found {dict(seen.shapes)}"]
    return []
