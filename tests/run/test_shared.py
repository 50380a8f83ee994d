"""Work that is shared among forked processes: results are those of a loop, whatever becomes of the processes."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import torch
from waiting import until

from headbench.harness.run.shared import Shared


def shared(count: int, work: Callable[[int], Any], processes: int) -> Shared[Any]:
    return Shared(count, work, list, tuple, processes)


@pytest.fixture
def before() -> set[str]:
    """Children that earlier tests left to this process, such as the one that tracks what pools share."""
    return children()


@pytest.fixture
def alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Threads that earlier tests left to this process do not keep it from forking."""
    monkeypatch.setattr(threading, "active_count", lambda: 1)


def children() -> set[str]:
    return set(Path(f"/proc/{os.getpid()}/task/{os.getpid()}/children").read_text().split())


@pytest.mark.parametrize("count", [0, 1, 5, 4097, 10_000])
def test_results_are_those_of_a_loop_in_its_order(count: int, before: set[str]) -> None:
    with shared(count, lambda piece: (piece, "\udc80"), 2) as work:
        assert work.results() == [(piece, "\udc80") for piece in range(count)]
    assert children() <= before


@pytest.mark.usefixtures("alone")
def test_other_processes_do_the_work_until_this_one_asks_for_it(tmp_path: Path) -> None:
    def work(piece: int) -> tuple[int, int]:
        (tmp_path / str(piece)).touch()
        return piece, os.getpid()

    with shared(3, work, 1) as pieces:
        until(lambda: len(list(tmp_path.iterdir())) == 3)
        found = pieces.results()
    assert [piece for piece, _ in found] == [0, 1, 2]
    assert os.getpid() not in {pid for _, pid in found}


@pytest.mark.tried(
    "faults in runs", "a process killed while it reads subjects for a plan", "the plan: another process reads them"
)
@pytest.mark.usefixtures("alone")
def test_what_a_process_that_died_did_not_give_is_computed_here() -> None:
    here = os.getpid()

    def work(piece: int) -> tuple[int, int]:
        if os.getpid() != here and piece == 2:
            os.kill(os.getpid(), 9)
        return piece, piece * piece

    with shared(6, work, 2) as pieces:
        assert pieces.results() == [(piece, piece * piece) for piece in range(6)]


@pytest.mark.usefixtures("alone")
def test_several_threads_of_a_process_may_compute_with_torch(tmp_path: Path) -> None:
    torch.rand(1000, 1000).sum()  # makes torch's pool of threads, which is none of a fork's

    def work(piece: int) -> tuple[float, int]:
        with ThreadPoolExecutor(4) as pool:
            sums = list(pool.map(lambda _: float(torch.ones(300, 1000).sum()), range(8)))
        (tmp_path / str(piece)).touch()
        return sum(sums), torch.get_num_threads()

    with shared(3, work, 1) as pieces:
        until(lambda: len(list(tmp_path.iterdir())) == 3)
        assert pieces.results() == [(2_400_000.0, 1)] * 3


@pytest.mark.usefixtures("alone")
def test_what_fails_in_a_process_fails_here(before: set[str]) -> None:
    def work(piece: int) -> tuple[int, int]:
        return piece, 1 // piece

    with pytest.raises(ZeroDivisionError), shared(2, work, 1) as pieces:
        pieces.results()
    assert children() <= before


@pytest.mark.usefixtures("alone")
def test_processes_end_with_the_block(before: set[str]) -> None:
    here = os.getpid()

    def work(piece: int) -> tuple[int]:
        while os.getpid() != here:
            os.sched_yield()
        return (piece,)

    with pytest.raises(KeyError), shared(2, work, 2):
        assert children() - before
        raise KeyError
    assert children() <= before


def test_nothing_is_forked_beside_threads(before: set[str]) -> None:
    gate = threading.Event()
    thread = threading.Thread(target=gate.wait)
    thread.start()
    try:
        with shared(2, lambda piece: (piece, os.getpid()), 2) as pieces:
            assert children() <= before
            assert pieces.results() == [(0, os.getpid()), (1, os.getpid())]
    finally:
        gate.set()
        thread.join()
