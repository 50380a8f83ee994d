"""Try the first import of a stranger's plugin, and the first loading of each of its classes, in a child process.

An exception at import is a line of `bench plugins`; a hang, an exit and a crash cannot be caught, and end or stop the
process that they happen in. So they happen here first, in a child with a time limit, and such a plugin, or such a class
of one, is not loaded anywhere else.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

from headbench.harness.errors import PluginError
from headbench.harness.names import one_line

__all__ = ["SECONDS", "Candidate", "child", "try_import"]

SECONDS = "HEADBENCH_PLUGIN_SECONDS"
"""Environment variable: seconds that importing a plugin may take the first time; 0 imports without a trial."""
_START = 120.0
"""Seconds that the child may take to import our own code; if it takes longer, nothing is known of the plugin."""
_SCRIPT = (
    "import json, signal, sys; asked = json.loads(sys.argv[1]); signal.alarm(asked['alarm']); "
    "sys.path[:] = asked['path']; from headbench.harness.plugins.trial import child; child(asked)"
)
"""Code of the child process; its alarm ends a child whose parent was killed."""


@dataclass(frozen=True)
class Candidate:
    """Plugin that an entry point names, or one of its classes, which is to be tried before it is loaded."""

    distribution: str
    version: str
    point: metadata.EntryPoint
    kind: str = ""
    """Kind of the class that is to be loaded, such as method; empty where the plugin alone is tried."""
    name: str = ""
    """Name of the method, dataset or other thing that the class implements."""
    target: str = ""
    """Class to be loaded, ``package.module:Class``."""

    @property
    def key(self) -> str:
        """Key by which the result of a plugin's trial is remembered."""
        return ":".join([self.distribution, self.point.name, *filter(None, [self.kind, self.name])])

    @property
    def doing(self) -> str:
        """Words for messages that say what the trial of a plugin does."""
        return f"loading {self.target}" if self.target else "importing it"

    @property
    def packages(self) -> list[str]:
        """Top-level packages whose files decide how the trial of a plugin goes."""
        tops = (value.partition(":")[0].partition(".")[0].strip() for value in (self.point.value, self.target))
        return list(dict.fromkeys(top for top in tops if top))


def child(asked: dict[str, Any]) -> None:
    """Work of the child process: import the plugin, call its hooks and load the class that is asked for.

    Exceptions are no harm.

    Args:
        asked: what `try_import` passes on: import path, entry point, class, and the files that mark begin and end.
    """
    from headbench.harness.plugins.kinds import KINDS
    from headbench.harness.plugins.loading import ENTRY_POINTS, Source
    from headbench.harness.plugins.registry import Registry

    if asked["kind"] == "method":
        importlib.import_module("headbench.harness.avatar")  # torch takes its own time, not the plugin's
    Path(asked["begun"]).touch()
    point = metadata.EntryPoint(asked["name"], asked["value"], ENTRY_POINTS)
    registry = Registry([Source(asked["name"], point.load)])
    for kind in (kind for kind in KINDS if kind.name == asked["kind"]):
        with contextlib.suppress(PluginError):
            registry.load(kind, asked["of"])
        if kind.name == "stage":
            with contextlib.suppress(PluginError):
                registry.load_portrait(f"stage:{asked['of']}")
    Path(asked["done"]).touch()


def try_import(candidate: Candidate, limit: float) -> str | None:
    """Harm that a candidate does to a process (hang, exit, crash); empty if none, None where that is not known.

    Args:
        candidate: plugin, or class of one, to try.
        limit: seconds that it may take.
    """
    with tempfile.TemporaryDirectory() as place:
        begun, done, said = (Path(place) / name for name in ("begun", "done", "said"))
        point = candidate.point
        asked = {
            "path": sys.path,
            "name": point.name,
            "value": point.value,
            "kind": candidate.kind,
            "of": candidate.name,
            "begun": str(begun),
            "done": str(done),
            "alarm": int(_START + limit) + 1,
        }
        try:
            with said.open("wb") as out, _started(asked, out) as process:
                ended = _wait(process, begun, limit)
                code = process.poll()
        except OSError:
            return None
        if not begun.exists():
            return None
        return _judge(candidate.doing, ended, done.exists(), code, limit, said)


@contextlib.contextmanager
def _started(asked: dict[str, Any], out: Any) -> Iterator[subprocess.Popen[bytes]]:
    """Start the child in a process group of its own, of which nothing is left after the block."""
    process = subprocess.Popen(
        [sys.executable, "-P", "-c", _SCRIPT, json.dumps(asked)],
        stdin=subprocess.DEVNULL,
        stdout=out,
        stderr=out,
        # A plugin that starts headbench while it is imported must not start trials of its own.
        env=os.environ | {"HEADBENCH_PLUGINS": "0"},
        start_new_session=True,
    )
    try:
        yield process
    finally:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def _wait(process: subprocess.Popen[bytes], begun: Path, limit: float) -> bool:
    """Whether the child ended within `limit` seconds of the begin of the plugin's import."""
    start = time.monotonic()
    began = None
    while True:
        try:
            process.wait(0.02)
            return True
        except subprocess.TimeoutExpired:
            now = time.monotonic()
        if began is None and begun.exists():
            began = now
        if now - start > _START if began is None else now - began > limit:
            return False


def _judge(doing: str, ended: bool, done: bool, code: int | None, limit: float, said: Path) -> str:
    """Sentence on the harm that a tried plugin did; empty if it did none.

    Args:
        doing: words for what was tried.
        ended: whether the child ended within the limit.
        done: whether it came to the end of its work.
        code: exit code of the child; negative for the number of a signal, None while it runs.
        limit: seconds that the trial could take.
        said: file of what the child printed.
    """
    if not ended:
        what = "keeps the process from ending" if done else "did not end"
        return f"{doing} {what} within {limit:g} s ({SECONDS}=60 waits longer)"
    if done and code == 0:
        return ""
    how = f"with exit code {code}"
    if code is not None and code < 0:
        how = f"by {signal.Signals(-code).name}" if -code in {s.value for s in signal.Signals} else f"by signal {-code}"
    lines = said.read_bytes()[-4000:].decode("utf-8", "replace").split("\n")
    last = next((one_line(line) for line in reversed(lines) if line.strip()), "")
    return f"{doing} ends the process {how}" + (f": {last[:200]}" if last else "")
