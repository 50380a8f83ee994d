"""Claims on cells (one training each): a file in a cell's folder says which process works there, and still does.

No lock of the file system is needed, since not every shared one has locks: a claim is made by an exclusive link and
kept by its time of modification. The claim of a process that is gone is taken over: at once where the process ran on
this machine, and where it ran on another, after `STALE` seconds without a sign of life.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
import threading
import time
import uuid
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from headbench.harness.errors import BenchError
from headbench.harness.execution.system import boot_id, is_process, memory_kills, pid_space, start_of
from headbench.harness.files import discard
from headbench.harness.reading import Unreadable
from headbench.harness.records import read_record

__all__ = ["BEAT", "CLAIM", "STALE", "Claim", "Claimed", "claimed", "holder", "left_behind"]

CLAIM = "claim.json"
"""Name of the claim's file in the cell's folder; it is there while a process works, and after one that was killed."""
TAKEOVER = "claim.takeover"
"""Name of the file beside the claim that guards the moment in which a dead process's claim gets a new owner."""
BEAT = 5.0
"""Seconds between two renewals of a claim, the signs that its process lives."""
STALE = 60.0
"""Seconds without a sign of life after which a process on another machine is taken for dead."""
PREDECESSOR = 30.0
"""Seconds to wait for the end of a process that ends because its parent has."""


class Claimed(BenchError):
    """Error that another process works on the cell."""


@dataclass(frozen=True)
class Claim:
    """Claim on a cell: the process that works on it."""

    host: str
    pid: int
    boot: str
    """ID of the machine's present boot."""
    space: str
    """ID of the PID namespace that `pid` belongs to."""
    started: str
    """Start time of the process, in the clock of its machine."""
    parent: int
    """ID of the process whose end also ends this one; 0: none."""
    kills: int
    """Number of processes that the kernel had killed for want of memory when this one began."""
    token: str
    """Random text by which no two claims are equal."""

    def __str__(self) -> str:
        return f"process {self.pid} on {self.host}"


def _mine(parent: int) -> Claim:
    """New claim of this process, which ends with the process `parent` (0: with none)."""
    process = os.getpid()
    name, kills = socket.gethostname(), memory_kills()
    return Claim(name, process, boot_id(), pid_space(), start_of(process), parent, kills, uuid.uuid4().hex)


_UNKNOWN = Claim("an unknown machine", 0, "", "", "", 0, 0, "")


def left_behind(folder: Path) -> Claim | None:
    """Claim in a cell's folder, whether or not its process lives; a damaged one names an unknown machine."""
    path = folder / CLAIM
    if not os.path.lexists(path):
        return None
    try:
        return read_record(Claim, path)
    except Unreadable as error:
        return None if error.missing else _UNKNOWN


def holder(folder: Path, patient: bool = False) -> Claim | None:
    """Claim of the process that works on a cell now, None where none does; asking changes nothing.

    Args:
        folder: folder of the cell.
        patient: wait for the end of a process whose parent is gone.
    """
    deadline = time.monotonic() + PREDECESSOR
    while True:
        claim = left_behind(folder)
        if claim is None or not _lives(claim, _age(folder / CLAIM, time.time())):
            return None
        if not (patient and _goes(claim) and time.monotonic() < deadline):
            return claim
        time.sleep(0.1)


@contextlib.contextmanager
def claimed(folder: Path, parent: int = 0) -> Iterator[Claim | None]:
    """Hold the claim on a cell until the block ends.

    Should another process take the claim, because no sign of life reached it in time, this process ends at once, as
    if it were killed: two must never write in one folder.

    Args:
        folder: folder of the cell.
        parent: ID of the process whose end also ends this one; 0: none.

    Yields:
        the claim of an earlier process that was killed; None where there was none.

    Raises:
        Claimed: a living process holds the claim.
    """
    mine = _mine(parent)
    before = _take(folder, mine)
    done = threading.Event()
    beat = threading.Thread(target=_keep, args=(folder / CLAIM, mine, done), daemon=True, name="claim")
    beat.start()
    try:
        yield before
    finally:
        done.set()
        beat.join()
        if left_behind(folder) == mine:
            (folder / CLAIM).unlink(missing_ok=True)


def _take(folder: Path, mine: Claim) -> Claim | None:
    """Put the claim `mine` on a cell; return the claim of a dead process that it replaces, if any, or raise Claimed."""
    path, deadline = folder / CLAIM, time.monotonic() + PREDECESSOR
    while not _create(path, mine):
        found = left_behind(folder)
        if found is None:
            continue
        if not _lives(found, _age(path, _now(folder))):
            if _take_over(folder, found, mine):
                return found
        elif not _goes(found) or time.monotonic() > deadline:
            raise Claimed(
                f"{found} works on the cell {folder}.",
                help=f"wait for it, or end it: kill {found.pid}" if found.pid else f"wait, or remove {path}",
            )
        time.sleep(0.1)
    return None


def _take_over(folder: Path, dead: Claim, mine: Claim) -> bool:
    """Replace the claim of a dead process by `mine`; False where another process was faster."""
    marker = folder / TAKEOVER
    if not _create(marker, mine):
        if _age(marker, _now(folder)) > STALE:  # its process was killed in that moment
            marker.unlink(missing_ok=True)
        return False
    try:
        if left_behind(folder) != dead:
            return False
        with _written(folder / CLAIM, mine) as temporary:
            discard(folder / CLAIM, folders_alone=True)
            temporary.replace(folder / CLAIM)
        return True
    finally:
        marker.unlink(missing_ok=True)


def _create(path: Path, claim: Claim) -> bool:
    """Write a claim's file atomically unless the file exists; False where it does."""
    try:
        with _written(path, claim) as temporary:
            os.link(temporary, path)
    except FileExistsError:
        return False
    except FileNotFoundError:
        # The holder of the claim is tidying up the cell's folder.
        path.parent.mkdir(parents=True, exist_ok=True)
        return False
    except OSError:  # a file system without links
        return _create_plain(path, claim)
    return True


def _create_plain(path: Path, claim: Claim) -> bool:
    """Write a claim's file unless it exists, on a file system without links; False where it exists."""
    try:
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666)
    except FileExistsError:
        return False
    with os.fdopen(handle, "w", encoding="utf-8") as file:
        file.write(json.dumps(asdict(claim)))
    return True


@contextlib.contextmanager
def _written(path: Path, claim: Claim) -> Iterator[Path]:
    """Write a claim into a temporary file beside `path`, which is removed after the block."""
    temporary = _beside(path)
    try:
        temporary.write_text(json.dumps(asdict(claim), indent=1) + "\n", encoding="utf-8")
        yield temporary
    finally:
        temporary.unlink(missing_ok=True)


def _beside(path: Path) -> Path:
    """Path of a temporary file beside `path`, of a form that `remove_leftovers` removes."""
    return path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}.part")


def _lives(claim: Claim, age: float) -> bool:
    """Whether the process of a claim lives, whose last sign of life is `age` seconds old."""
    if claim.host == socket.gethostname():
        if claim.boot != boot_id():
            return False
        if claim.space == pid_space():
            return is_process(claim.pid, claim.started)
    return age < STALE


def _goes(claim: Claim) -> bool:
    """Whether the living process of a claim is about to end, because its parent has."""
    here = replace(claim, host=socket.gethostname(), boot=boot_id(), space=pid_space()) == claim
    return here and claim.parent != 0 and not is_process(claim.parent, start_of(claim.parent))


def _age(path: Path, now: float) -> float:
    """Seconds since a file was last modified; 0 where it is missing."""
    try:
        return now - path.stat().st_mtime
    except OSError:
        return 0.0


def _now(folder: Path) -> float:
    """Time by the clock that stamps files in `folder`, which may be another machine's; seconds since the epoch."""
    probe = _beside(folder / CLAIM)
    try:
        probe.touch()
        return probe.stat().st_mtime
    except FileNotFoundError:  # tidied up
        return 0.0
    finally:
        probe.unlink(missing_ok=True)


def _keep(path: Path, mine: Claim, done: threading.Event) -> None:
    """Renew a claim's sign of life until the work is done; end the process if another has taken the claim."""
    while not done.wait(BEAT):
        found: Claim | None
        try:
            found = read_record(Claim, path)
        except Unreadable as error:
            # A network share that does not answer for a moment must not cost the claim.
            found = None if error.missing else mine
        if found != mine:
            os.write(2, f"{found or 'somebody'} took the claim {path}; this process ends.\n".encode())
            os._exit(1)
        with contextlib.suppress(OSError):
            os.utime(path)
