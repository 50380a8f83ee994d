"""The active spherical-harmonics degree while training goes on, and through a checkpoint."""

import torch

from headbench.harness.blocks.degree import RisingDegree
from headbench.harness.types import Clock


def drawn_with(degree: RisingDegree, steps: int) -> list[int]:
    """The degree of each of the first steps."""
    found = []
    for step in range(1, steps + 1):
        found.append(degree.now)
        degree.after(Clock(step, 1, steps, steps))
    return found


def test_the_degree_rises_at_multiples_or_a_step_later() -> None:
    assert drawn_with(RisingDegree(3, 3), 13) == [0, 0, 1, 1, 1, 2, 2, 2, 3, 3, 3, 3, 3]
    assert drawn_with(RisingDegree(3, 3, lag=1), 13) == [0, 0, 0, 1, 1, 1, 2, 2, 2, 3, 3, 3, 3]
    assert drawn_with(RisingDegree(2, 0), 3) == [2, 2, 2]
    assert drawn_with(RisingDegree(0, 1), 3) == [0, 0, 0]


def test_a_loaded_degree_is_the_saved_one() -> None:
    trained = RisingDegree(3, 10)
    trained.after(Clock(25, 1, 100, 100))
    fresh = RisingDegree(3, 10)
    fresh.load_state_dict(trained.state_dict())
    assert fresh.now == trained.now == 2
    assert torch.equal(fresh.active, torch.tensor(2))
