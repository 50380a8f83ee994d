"""Show a run while it goes on: live lines on a terminal, plain lines elsewhere."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping, Sequence
from typing import Any

from headbench.harness.console import STATE_STYLES, console, duration, is_terminal, live, plain, say
from headbench.harness.names import one_line
from headbench.harness.run import Cell, CellRecord, State

__all__ = ["Counter", "PlainWatcher", "TerminalWatcher", "describe", "outcome", "watcher"]

PLAIN_EVERY = 10.0
"""Seconds between two lines on one stage where standard output is no terminal."""
LOST_SHOWN = 5
"""Maximum number of a cell's faults that are spelt out."""


def describe(now: Mapping[str, Any]) -> str:
    """Progress report of a cell on one line: stage, step, rate, time left."""
    parts = [str(now.get("stage", ""))]
    if "step" in now and now.get("total"):
        parts.append(f"{now['step']}/{now['total']} ({100 * now['step'] // now['total']} %)")
    if now.get("rate"):
        parts.append(f"{now['rate']:.1f} it/s")
    if now.get("gaussians"):
        parts.append(f"{now['gaussians']:,} Gaussians")
    if "loss" in now:
        parts.append(f"loss {now['loss']:.4g}")
    if "eta" in now:
        parts.append(f"{duration(now['eta'])} left")
    return ", ".join(part for part in parts if part)


def ended_line(record: CellRecord, number: int, total: int) -> str:
    """Final state of a cell on one line, with its number among all cells.

    Args:
        record: final record of the cell.
        number: place of the cell in the plan, from 1.
        total: number of cells in the plan.
    """
    text = f"[{number}/{total}] {record.cell.path}: {record.state}"
    return f"{text}: {outcome(record)}" if outcome(record) else text


def elsewhere_line(cell: Cell, by: str, number: int, total: int) -> str:
    """Line on a cell that another process has.

    Args:
        cell: the cell.
        by: process and machine.
        number: place of the cell in the plan, from 1.
        total: number of cells in the plan.
    """
    return f"[{number}/{total}] {cell.path}: at work elsewhere: {one_line(by)}"


def outcome(record: CellRecord) -> str:
    """Reason of a cell's state, and which of its stage instances are missing and why."""
    parts = [record.reason, *(f"{way} {each.state}: {each.reason}" for way, each in record.unmade().items())]
    return "; ".join(part for part in parts if part)


def lost_lines(cell: Cell, faults: Sequence[str]) -> list[str]:
    """Lines on what of a finished cell is done again, one per fault; of many faults the first few."""
    shown = list(faults[:LOST_SHOWN])
    if len(faults) > LOST_SHOWN:
        shown.append(f"{len(faults) - LOST_SHOWN} more")
    return [f"{cell.path}: {one_line(fault)}; done again" for fault in shown]


class PlainWatcher:
    """Watcher that prints whole lines, for logs and pipes; where several cells run, each line names its cell."""

    def __init__(self) -> None:
        self._said: dict[str, tuple[str, float]] = {}
        """Path of a running cell -> stage of its last line, and when that was printed (monotonic clock, seconds)."""

    def lost(self, cell: Cell, faults: Sequence[str]) -> None:
        """Say what of a finished cell is done again."""
        say("\n".join(lost_lines(cell, faults)))

    def started(self, cell: Cell, number: int, total: int) -> None:
        """Say that a cell starts."""
        self._said[cell.path] = ("", 0.0)
        say(f"[{number}/{total}] {cell.path}: start")

    def elsewhere(self, cell: Cell, by: str, number: int, total: int) -> None:
        """Say who has a cell."""
        say(elsewhere_line(cell, by, number, total))

    def progress(self, cell: Cell, now: Mapping[str, Any]) -> None:
        """Say where a cell is, at a change of stage and every few seconds."""
        stage, moment = str(now.get("stage", "")), time.monotonic()
        before, last = self._said.get(cell.path, ("", 0.0))
        if stage == before and moment - last < PLAIN_EVERY:
            return
        self._said[cell.path] = (stage, moment)
        which = f"{cell.path}: " if len(self._said) > 1 else ""
        say(f"    {one_line(which + describe(now))}")

    def ended(self, record: CellRecord, number: int, total: int) -> None:
        """Say how a cell ended."""
        self._said.pop(record.cell.path, None)
        say(one_line(ended_line(record, number, total)))


class TerminalWatcher:
    """Watcher that shows a live line for each cell that runs, and prints one line for each that ended."""

    def __init__(self) -> None:
        self._status = live()
        self._lines: dict[str, tuple[str, str]] = {}
        """Path of a running cell -> heading of its live line, and where the cell is."""

    def lost(self, cell: Cell, faults: Sequence[str]) -> None:
        """Say what of a finished cell is done again."""
        for line in lost_lines(cell, faults):
            say(line)

    def started(self, cell: Cell, number: int, total: int) -> None:
        """Start the live line of a cell."""
        self._lines[cell.path] = (f"[{number}/{total}] {cell.path}", "")
        self._show()

    def elsewhere(self, cell: Cell, by: str, number: int, total: int) -> None:
        """Say who has a cell."""
        say(elsewhere_line(cell, by, number, total))

    def progress(self, cell: Cell, now: Mapping[str, Any]) -> None:
        """Renew the live line of a cell."""
        if cell.path in self._lines:
            self._lines[cell.path] = (self._lines[cell.path][0], f": {describe(now)}")
            self._show()

    def ended(self, record: CellRecord, number: int, total: int) -> None:
        """Replace the live line of a cell by a lasting one."""
        self._status.stop()
        self._lines.pop(record.cell.path, None)
        style = STATE_STYLES[State(record.state).value]
        console().print(f"[{style}]●[/] {plain(ended_line(record, number, total))}")
        if self._lines:
            self._show()

    def _show(self) -> None:
        self._status.update("\n".join(plain(head + now) for head, now in self._lines.values()))
        self._status.start()


class Counter:
    """Live line on a terminal for work in several threads, ``3/10 subjects; bala: head mesh``; elsewhere nothing.

    Args:
        total: number of things to do.
        what: what the things are called, such as subjects.
    """

    def __init__(self, total: int, what: str) -> None:
        self._total = total
        self._what = what
        self._done = 0
        self._doing: dict[str, str] = {}
        self._lock = threading.Lock()
        self._status = live() if is_terminal() else None

    def __enter__(self) -> Counter:
        if self._status is not None:
            self._status.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._status is not None:
            self._status.stop()

    def doing(self, name: str, step: str) -> None:
        """Say what is being done with the thing called `name`.

        Args:
            name: name of the thing.
            step: what is being done with it.
        """
        with self._lock:
            self._doing[name] = step
            self._show()

    def ended(self, name: str) -> None:
        """Count the thing called `name` as done."""
        with self._lock:
            self._doing.pop(name, None)
            self._done += 1
            self._show()

    def _show(self) -> None:
        if self._status is not None:
            now = ", ".join(f"{name}: {step}" for name, step in self._doing.items())
            self._status.update(plain(f"{self._done}/{self._total} {self._what}; {now}".rstrip("; ")))


def watcher() -> PlainWatcher | TerminalWatcher:
    """Watcher that fits standard output: live lines on a terminal, else plain lines."""
    return TerminalWatcher() if is_terminal() else PlainWatcher()
