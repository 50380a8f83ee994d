"""Record where a cell's numbers come from: code, machine, configuration and data."""

from __future__ import annotations

import contextlib
import os
import platform
import re
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import headbench
from headbench.harness.errors import BenchError
from headbench.harness.layout import CellFolder
from headbench.harness.reading import Unreadable
from headbench.harness.records import read_record, read_sealed, write_sealed
from headbench.harness.run.cell import Job, run_of
from headbench.harness.run.config import config_hash
from headbench.harness.run.data import Manifest, Trained, differences, whole
from headbench.harness.versions import installed_version

__all__ = ["Provenance", "changes", "collect", "read_provenance", "record_provenance", "trained_by", "trained_on"]

PACKAGES = ("headbench", "torch", "numpy", "numba", "gsplat", "safetensors", "pillow", "scipy")
"""Distributions whose versions may change a number."""

_DRIVER = Path("/proc/driver/nvidia/version")
"""File in which the kernel module of NVIDIA's driver says its version."""


@dataclass(frozen=True)
class Origin:
    """Origin of a cell's data, as ``provenance.json`` records it."""

    folder: str
    options: Mapping[str, Any]
    """Options of the dataset's reader."""
    fingerprint: Mapping[str, str]
    file: str = ""
    """Path, below the run's folder, of the file with frames, split and digests per frame."""


@dataclass(frozen=True)
class Provenance:
    """Code, machine, configuration and data that a cell was begun with: ``provenance.json``."""

    versions: Mapping[str, Any]
    code: Mapping[str, Any]
    machine: Mapping[str, Any]
    argv: tuple[str, ...]
    config_hash: str
    config: Mapping[str, Any]
    data: Origin
    resumed_with: tuple[Mapping[str, Any], ...] = ()


def read_provenance(folder: Path) -> Provenance | None:
    """Read what the cell in `folder` was begun with; None where nothing was trained yet.

    Raises:
        Unreadable: ``provenance.json`` is missing although something was trained, or damaged.
    """
    path = folder / "provenance.json"
    try:
        found = read_record(Provenance, path)
        if config_hash(found.config) != found.config_hash:
            raise Unreadable(path, "found a configuration that does not have the hash beside it")
    except Unreadable as error:
        if not _begun(folder):
            return None
        error.help = (
            f"without it nobody knows what was trained: restore it; or remove {folder}, then run the same `bench run` "
            "command again"
        )
        raise
    return found


def trained_on(folder: Path) -> Trained | None:
    """Data that the cell in `folder` was trained on; None where nothing was trained yet, or that is not known."""
    try:
        found = read_provenance(folder) if _begun(folder) else None
    except Unreadable:
        return None
    return None if found is None else trained_by(folder, found)


def trained_by(folder: Path, found: Provenance) -> Trained:
    """Data that the cell in `folder` was trained on, by what it was begun with."""
    run = run_of(folder)
    data = Manifest.read(run, found.data.file)
    if data is None:
        cell = folder.relative_to(run).parts
        data = Manifest(cell[2], cell[3], "", (), (), whole(found.data.fingerprint))
    return Trained(folder, data, found.data.options)


def changes(folder: Path, job: Job, data: Manifest | None = None) -> list[str]:
    """Differences between a job and what its cell was begun with, in words; none where nothing was trained yet.

    Args:
        folder: folder of the cell.
        job: what the cell would go on with.
        data: manifest of the job's data, where the plan has not been written yet; None: the one in the run's folder.

    Raises:
        Unreadable: the record of what the cell was begun with is missing or damaged.
    """
    saved = read_provenance(folder) if _begun(folder) else None
    if saved is None:
        return []
    found = []
    if saved.config_hash != job.config_hash:
        found += _differences("config", saved.config, job.config) or ["the configuration"]
    run = run_of(folder)
    old, new = Manifest.read(run, saved.data.file), data or Manifest.read(run, job.data_file)
    found += differences(whole(saved.data.fingerprint), job.fingerprint, old, new)
    found += _differences("data option", saved.data.options, job.data_options)
    return found


def record_provenance(folder: Path, job: Job) -> None:
    """Write provenance.json of a cell that starts, or check it against that of a cell that goes on.

    Args:
        folder: folder of the cell.
        job: job of the cell.

    Raises:
        BenchError: the cell was begun with other data or another configuration; the message names what changed.
        Unreadable: the record of what the cell was begun with is missing or damaged.
    """
    found = changes(folder, job)
    if found:
        raise BenchError(
            f"{folder} was begun with something else: {'; '.join(found)}.",
            help=f"choose another --out or --label, or remove {folder}",
        )
    path = folder / "provenance.json"
    now = collect(job)
    if _begun(folder):
        first = read_sealed(path, dict)
        resumed = {k: now[k] for k in ("versions", "code", "machine", "argv")}
        if resumed != {k: first[k] for k in resumed}:
            write_sealed(path, {**first, "resumed_with": [*first.get("resumed_with", []), resumed]})
        return
    write_sealed(path, now)


def collect(job: Job) -> dict[str, Any]:
    """Provenance of a job that this process computes: versions, code, machine, options, configuration and data."""
    return {
        "versions": package_versions() | {"python": platform.python_version()},
        "code": _code(),
        "machine": _machine(),
        "argv": list(job.argv),
        "seed": job.cell.seed,
        "device": job.execution.device,
        "rasterizer": job.execution.rasterizer,
        "deterministic": job.execution.deterministic,
        "limit": job.limit,
        "config_hash": job.config_hash,
        "config": dict(job.config),
        "data": {
            "folder": job.data,
            "options": dict(job.data_options),
            "fingerprint": dict(job.fingerprint),
            "file": job.data_file,
        },
    }


def _begun(folder: Path) -> bool:
    return os.path.lexists(folder) and bool(CellFolder(folder).roots())


def _differences(what: str, old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    lines = []
    for key in sorted({*old, *new}):
        before, after = old.get(key), new.get(key)
        if isinstance(before, Mapping) and isinstance(after, Mapping):
            lines += _differences(f"{what} {key}", before, after)
        elif before != after:
            lines.append(f"{what} {key} was {_short(before)}, is {_short(after)}")
    return lines


def _short(value: Any) -> str:
    text = str(value)
    return text[:12] + "…" if len(text) > 40 else text


def package_versions() -> dict[str, str | None]:
    """Package -> installed version, of those that results may depend on; None for one that is not installed."""
    return {name: installed_version(name) for name in PACKAGES}


def _code() -> dict[str, Any]:
    """Commit of the checkout that this code runs from, and whether tracked files differ; None outside of one."""
    root = Path(next(iter(headbench.__path__))).resolve()
    if not (root / ".git").exists():
        return {"commit": None, "dirty": None}
    commit = _output("git", "-C", str(root), "rev-parse", "HEAD")
    changed = _output("git", "-C", str(root), "status", "--porcelain", "--untracked-files=no")
    return {"commit": commit, "dirty": None if changed is None else bool(changed)}


def _machine() -> dict[str, Any]:
    import torch

    machine: dict[str, Any] = {
        "platform": platform.platform(),
        "processor": _processor(),
        "threads": torch.get_num_threads(),
        "cuda": torch.version.cuda,
        "gpus": [],
        "driver": None,
    }
    if torch.cuda.is_available():
        machine["gpus"] = [torch.cuda.get_device_name(k) for k in range(torch.cuda.device_count())]
        machine["driver"] = _driver()
    return machine


def _driver() -> str | None:
    """Version of NVIDIA's driver: from the kernel, at once, or from nvidia-smi; None where neither says."""
    with contextlib.suppress(OSError):
        said = re.search(r"^NVRM version:.*?\s(\d+(?:\.\d+)+)\s", _DRIVER.read_text(errors="replace"), re.MULTILINE)
        if said is not None:
            return said[1]
    text = _output("nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader")
    return text.splitlines()[0] if text else None


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    if info.is_file():
        for line in info.read_text(encoding="utf-8", errors="replace").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or sys.platform


def _output(*command: str) -> str | None:
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=20, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()
