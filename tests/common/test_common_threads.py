"""Work is the same in one thread and in several."""

from __future__ import annotations

import threading

import pytest

from headbench.datasets.common.threads import THREADS, spread


@pytest.mark.parametrize("few", [True, False])
def test_results_come_in_the_order_of_the_rows(few: bool) -> None:
    seen = set()

    def work(one: int, two: str) -> str:
        seen.add(threading.get_ident())
        return f"{one}{two}"

    words = [chr(97 + k % 26) for k in range(100)]
    assert spread(work, range(100), words, few=few) == [f"{k}{word}" for k, word in enumerate(words)]
    assert (threading.get_ident() in seen) is few and 1 <= len(seen) <= (1 if few else THREADS)
    assert spread(work, [], [], few=few) == []


def test_many_rows_are_worked_on_at_once() -> None:
    barrier = threading.Barrier(THREADS, timeout=60)
    assert sorted(spread(lambda row: barrier.wait(), range(THREADS), few=False)) == [*range(THREADS)]


@pytest.mark.parametrize("few", [True, False])
def test_an_error_of_one_row_is_raised(few: bool) -> None:
    with pytest.raises(ZeroDivisionError):
        spread(lambda row: 1 // row, [2, 1, 0], few=few)
