"""Files that say which process holds something, such as a cell or the files of a run, and that it still lives.

No lock of the file system is needed, since not every shared one has locks: a claim is made by an exclusive link and
kept by its time of modification. The claim of a process that is gone is taken over: at once where the process ran on
this machine since it was started, and else after `STALE` seconds without a sign of life. Only times that the file
system gave are compared, so that it does not matter what the clocks of the machines say.
"""

from __future__ import annotations

import contextlib
import errno
import json
import math
import os
import signal
import socket
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from headbench.harness.errors import BenchError
from headbench.harness.execution.system import boot_id, is_process, memory_kills, pid_space, start_of
from headbench.harness.files import discard, now_at
from headbench.harness.reading import Unreadable, read_text
from headbench.harness.records import read_record

__all__ = [
    "BEAT",
    "STALE",
    "Claim",
    "Claimed",
    "ask_to_end",
    "asked_to_end",
    "holder_of",
    "holding",
    "is_here",
    "kept",
    "left_at",
    "lives",
    "new_claim",
    "take",
]

BEAT = 5.0
"""Seconds between two renewals of a claim, the signs that its process lives."""
STALE = 60.0
"""Seconds without a sign of life after which a process that cannot be looked for here is taken for dead."""
PREDECESSOR = 30.0
"""Seconds to wait for the end of a process that ends because its parent has."""
LISTEN = 1.0
"""Seconds between two looks for a request to end."""


@dataclass(frozen=True)
class Claim:
    """Claim of a process on what it works on."""

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


class Claimed(BenchError):
    """Error that another process holds what is wanted.

    Args:
        holder: its claim.
        doing: what it does, such as "works on the cell runs/x/cells/…".
        path: file of the claim.
    """

    def __init__(self, holder: Claim, doing: str, path: Path) -> None:
        if not holder.pid:
            help = f"wait, or remove {path}"
        elif is_here(holder):
            help = f"wait for it, or end it: kill {holder.pid}"
        else:
            help = f"wait for it, or end it on {holder.host}: kill {holder.pid}"
        super().__init__(f"{holder} {doing}.", help=help)
        self.holder = holder


def new_claim(parent: int = 0) -> Claim:
    """New claim of this process, which ends with the process `parent` (0: with none)."""
    process = os.getpid()
    name, kills = socket.gethostname(), memory_kills()
    return Claim(name, process, boot_id(), pid_space(), start_of(process), parent, kills, uuid.uuid4().hex)


_UNKNOWN = Claim("an unknown machine", 0, "", "", "", 0, 0, "")


def left_at(path: Path) -> Claim | None:
    """Claim in a file, whether or not its process lives; a damaged one names an unknown machine, None is no file."""
    if not os.path.lexists(path):
        return None
    try:
        return read_record(Claim, path)
    except Unreadable as error:
        return None if error.missing else _UNKNOWN


def holder_of(path: Path, patient: bool = False) -> Claim | None:
    """Claim in a file whose process lives, None where there is none; asking changes nothing.

    Args:
        path: file of the claim.
        patient: wait for the end of a process whose parent is gone.
    """
    deadline = time.monotonic() + PREDECESSOR
    while True:
        claim = left_at(path)
        if claim is None or not lives(claim, path):
            return None
        if not (patient and _goes(claim) and time.monotonic() < deadline):
            return claim
        time.sleep(0.1)


@contextlib.contextmanager
def holding(
    path: Path,
    doing: str,
    parent: int = 0,
    wait: float = 0.0,
    tell: Callable[[Claim], object] | None = None,
    gone: Callable[[], object] = lambda: None,
) -> Iterator[Claim | None]:
    """Hold the claim in the file `path` until the block ends; it ends early where somebody asked for that.

    Should another process take the claim, because no sign of life reached it in time, this process ends at once, as
    if it were killed: two must never write in one place.

    Args:
        path: file of the claim.
        doing: what its holder does, for messages, such as "works on the cell runs/x/cells/…".
        parent: ID of the process whose end also ends this one; 0: none.
        wait: seconds to wait for another process to let go; who is about to end, since its parent has, is waited for
            in any case.
        tell: is called once with the claim that is waited for.
        gone: is called before this process ends because the claim's file is not there any more.

    Yields:
        the claim of an earlier process that was killed; None where there was none.

    Raises:
        Claimed: a living process holds the claim.
    """
    mine = new_claim(parent)
    before = _wait_for(path, mine, doing, wait, tell)
    with kept(path, mine, lambda found: _end_at_once(path, found, gone)):
        yield before


@contextlib.contextmanager
def kept(path: Path, mine: Claim, lost: Callable[[Claim | None], object]) -> Iterator[None]:
    """Renew the signs of life of a claim that this process has made until the block ends, then remove it.

    Args:
        path: file of the claim.
        mine: the claim in it.
        lost: is called, in another thread, with what is found instead of it.
    """
    done = threading.Event()
    beat = threading.Thread(target=_keep, args=(path, mine, done, lost), daemon=True, name="claim")
    beat.start()
    try:
        yield
    finally:
        done.set()
        beat.join()
        if left_at(path) == mine:
            path.unlink(missing_ok=True)
        with contextlib.suppress(OSError):
            _request(path, mine).unlink(missing_ok=True)


def _end_at_once(path: Path, found: Claim | None, gone: Callable[[], object]) -> None:
    if found is None:
        gone()
    os.write(2, f"{found or 'somebody'} took the claim {path}; this process ends.\n".encode())
    os._exit(1)


def _wait_for(path: Path, mine: Claim, doing: str, wait: float, tell: Callable[[Claim], object] | None) -> Claim | None:
    """Put the claim `mine` into a file; return the claim of a dead process that it replaces, if any, or raise Claimed.

    Args:
        path: file of the claim.
        mine: the claim.
        doing: what a holder does, for the message.
        wait: seconds to wait for a living holder.
        tell: is called once with the living holder's claim.
    """
    began, told = time.monotonic(), False
    while not _create(path, mine):
        found = left_at(path)
        if found is None:
            continue
        if not lives(found, path):
            if _take_over(path, found, mine):
                return found
        elif time.monotonic() - began > max(wait, PREDECESSOR if _goes(found) else 0.0):
            raise Claimed(found, doing, path)
        elif tell is not None and not told and time.monotonic() - began > LISTEN:
            told = True
            tell(found)
        time.sleep(0.1)
    return None


def take(path: Path, mine: Claim, alive: Callable[[Claim], bool]) -> bool:
    """Put a claim into a file that has none, or that of a dead process; False where another process was faster.

    Args:
        path: file of the claim.
        mine: the claim, which is no sign of life by itself.
        alive: whether the process of a claim in that file lives.
    """
    while not _create(path, mine):
        found = left_at(path)
        if found is not None:
            return found == mine or (not alive(found) and _take_over(path, found, mine))
    return True


def _take_over(path: Path, dead: Claim, mine: Claim) -> bool:
    """Replace the claim of a dead process by `mine`; False where another process was faster."""
    marker = path.with_name(f"{path.stem}.takeover")
    if not _create(marker, mine):
        if _age(marker) > STALE:  # its process was killed in that moment
            marker.unlink(missing_ok=True)
        return False
    try:
        if left_at(path) != dead:
            return False
        with _written(path, mine) as temporary:
            discard(path, folders_alone=True)
            temporary.replace(path)
        _request(path, dead).unlink(missing_ok=True)
        return True
    finally:
        marker.unlink(missing_ok=True)


_REFUSED = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EIO)
"""Errors of the system that mean more than that a file system has no links."""


def _create(path: Path, claim: Claim) -> bool:
    """Write a claim's file atomically unless the file exists; False where it does."""
    try:
        with _written(path, claim) as temporary:
            try:
                os.link(temporary, path)
            except FileExistsError:
                # A network file system whose answer was lost asks twice, and the second time it exists.
                return temporary.stat().st_nlink > 1
    except FileNotFoundError:
        # The holder of the claim is tidying up the folder.
        path.parent.mkdir(parents=True, exist_ok=True)
        return False
    except OSError as error:
        if error.errno in _REFUSED:
            raise OSError(error.errno, error.strerror, str(path)) from error
        return _create_plain(path, claim)  # a file system without links
    return True


def _create_plain(path: Path, claim: Claim) -> bool:
    """Write a claim's file unless it exists, on a file system without links; False where it exists."""
    try:
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666)
    except FileExistsError:
        return False
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(json.dumps(asdict(claim)))
    except OSError:  # half a claim would keep others out
        path.unlink(missing_ok=True)
        raise
    return True


@contextlib.contextmanager
def _written(path: Path, claim: Claim) -> Iterator[Path]:
    """Write a claim into a temporary file beside `path`, which is removed after the block."""
    # Of a form that `remove_leftovers` removes.
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}.part")
    try:
        temporary.write_text(json.dumps(asdict(claim), indent=1) + "\n", encoding="utf-8")
        yield temporary
    finally:
        temporary.unlink(missing_ok=True)


def is_here(claim: Claim) -> bool:
    """Return whether a claim's process is of this machine, boot and container, so that its number means that process.

    Two machines may have one name; no two have one boot.
    """
    return (claim.host, claim.boot, claim.space) == (socket.gethostname(), boot_id(), pid_space())


def lives(claim: Claim, signs: Path) -> bool:
    """Return whether the process of a claim lives.

    Args:
        claim: the claim.
        signs: file whose time of modification is the last sign of life.
    """
    return is_process(claim.pid, claim.started) if is_here(claim) else _age(signs) < STALE


def _goes(claim: Claim) -> bool:
    """Return whether the living process of a claim is about to end, because its parent has."""
    return is_here(claim) and claim.parent != 0 and not is_process(claim.parent, start_of(claim.parent))


def _age(path: Path) -> float:
    """Seconds since a file was last modified, by the clock of its file system; infinite where it is missing."""
    try:
        # Opening asks the server of a network file system anew, where a look alone may be answered from memory.
        handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    except OSError:
        return math.inf
    try:
        return now_at(path.parent) - os.fstat(handle).st_mtime
    finally:
        os.close(handle)


def ask_to_end(path: Path, claim: Claim) -> None:
    """Ask the process of a claim on whatever machine to end in order, which it hears within seconds.

    Args:
        path: file of the claim.
        claim: what was read from it.
    """
    _request(path, claim).write_text(f"{claim.token}\n", encoding="utf-8")


def asked_to_end(path: Path, claim: Claim) -> bool:
    """Return whether the process of a claim was asked to end by `ask_to_end`."""
    try:
        return read_text(_request(path, claim)).strip() == claim.token
    except Unreadable:
        return False


def _request(path: Path, claim: Claim) -> Path:
    """File beside a claim's by which its process is asked to end."""
    return path.with_name(f"{path.stem}.{claim.pid}.stop")


def _keep(path: Path, mine: Claim, done: threading.Event, lost: Callable[[Claim | None], object]) -> None:
    """Renew a claim's sign of life until the work is done; hear requests to end, and whether another has taken it."""
    beat, asked = 0.0, False
    while not done.wait(min(BEAT, LISTEN)):
        if not asked and asked_to_end(path, mine):
            asked = True
            os.kill(os.getpid(), signal.SIGTERM)
        beat += min(BEAT, LISTEN)
        if beat < BEAT:
            continue
        beat = 0.0
        found: Claim | None
        try:
            found = read_record(Claim, path)
        except Unreadable as error:
            # A network share that does not answer for a moment must not cost the claim.
            found = None if error.missing else mine
        if found != mine:
            lost(found)
            continue
        with contextlib.suppress(OSError):
            os.utime(path)
