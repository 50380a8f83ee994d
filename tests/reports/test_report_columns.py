"""How a column shows a number."""

from __future__ import annotations

import math

import pytest

from headbench.reports.columns import COST_COLUMNS, metric_column


@pytest.mark.parametrize(("seconds", "text"), [(12.4, "12 s"), (185.0, "3 min 5 s"), (7384.0, "2 h 3 min")])
def test_training_time_reads_like_a_time(seconds: float, text: str) -> None:
    (training,) = (column for column in COST_COLUMNS if column.key == "train_seconds")
    assert training.format(seconds) == text


def test_digits_follow_the_metric() -> None:
    assert metric_column("psnr").format(27.456, 0.123) == "27.46 ± 0.12"
    assert metric_column("lpips_vgg").format(0.12345) == "0.1235"
    assert metric_column("psnr").format(math.inf) == "∞"


def test_an_unknown_metric_is_shown_but_not_ranked() -> None:
    column = metric_column("flicker")
    assert (column.label, column.better, column.format(1.0)) == ("flicker", "", "1.0000")


def test_counts_have_thousands() -> None:
    (gaussians,) = (column for column in COST_COLUMNS if column.key == "gaussians")
    assert gaussians.format(65536.0) == "65,536"
    assert gaussians.format(65536.0, 0.0) == "65,536"
    assert gaussians.format(65536.0, 10.4) == "65,536 ± 10"


def test_high_rates_lose_their_digits() -> None:
    (fps,) = (column for column in COST_COLUMNS if column.key == "fps")
    assert fps.format(19.84, 0.31) == "19.8 ± 0.3"
    assert fps.format(32820.6, 1250.2) == "32,821 ± 1,250"
