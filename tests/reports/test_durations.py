"""How a column shows a number."""

from __future__ import annotations

import math

import pytest

from headbench.reports.columns import COST_COLUMNS, metric_column


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.04, "0.0 s"),
        (59.94, "59.9 s"),
        (59.99, "1 min 00 s"),
        (60.0, "1 min 00 s"),
        (3599.7, "1 h 00 min"),
        (7384, "2 h 03 min"),
    ],
)
def test_durations_read_like_times(seconds: float, text: str) -> None:
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
