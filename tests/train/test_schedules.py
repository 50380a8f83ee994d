"""Rates and degrees as the published code has them."""

import math

import pytest

from headbench.harness.blocks.schedules import due, log_linear, sh_degree
from headbench.harness.types import Clock


@pytest.mark.parametrize(("step", "rate"), [(0, 0.005), (300_000, 0.0005), (600_000, 0.00005), (900_000, 0.00005)])
def test_position_rate_falls_in_equal_ratios(step: int, rate: float) -> None:
    assert log_linear(step, 0.005, 0.00005, 600_000) == pytest.approx(rate, rel=1e-12)


def test_a_rate_that_ends_at_zero_is_zero() -> None:
    assert log_linear(5, 0.0, 0.0, 10) == 0.0
    assert log_linear(5, 1.0, 0.0, 10) == 0.0


def test_log_linear_is_the_exponential_of_the_interpolated_logarithm() -> None:
    for step in range(0, 101, 7):
        expected = math.exp(math.log(0.3) + step / 100 * (math.log(0.002) - math.log(0.3)))
        assert log_linear(step, 0.3, 0.002, 100) == pytest.approx(expected, rel=1e-12)


def test_degree_is_0_for_steps_1_to_999_and_3_from_3000() -> None:
    degrees = {step: sh_degree(step, 1000, 3) for step in (1, 999, 1000, 1999, 2000, 2999, 3000, 600_000)}
    assert degrees == {1: 0, 999: 0, 1000: 1, 1999: 1, 2000: 2, 2999: 2, 3000: 3, 600_000: 3}


def test_interval_0_is_the_full_degree_at_once_and_never_due() -> None:
    assert sh_degree(1, 0, 2) == 2
    assert not due(Clock(1, 1, 10, 10), 0)
    assert [s for s in range(1, 10) if due(Clock(s, 1, 10, 10), 3)] == [3, 6, 9]
