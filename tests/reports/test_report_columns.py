"""How a column shows a number."""

from __future__ import annotations

import math
from typing import Any

import pytest

from headbench.harness.plugins.metric_checks import is_taken
from headbench.metrics import COLUMNS
from headbench.reports import build_table, to_csv
from headbench.reports.columns import COST_COLUMNS, known_column, metric_column


@pytest.mark.parametrize(("seconds", "text"), [(12.4, "12 s"), (185.0, "3 min 5 s"), (7384.0, "2 h 3 min")])
def test_training_time_reads_like_a_time(seconds: float, text: str) -> None:
    (training,) = (column for column in COST_COLUMNS if column.key == "train_seconds")
    assert training.format(seconds) == text


def test_digits_follow_the_metric() -> None:
    assert metric_column("psnr").format(27.456, 0.123) == "27.46 ± 0.12"
    assert metric_column("lpips/vgg").format(0.12345) == "0.1235"
    assert metric_column("psnr").format(math.inf) == "∞"


def test_an_unknown_metric_is_shown_but_not_ranked() -> None:
    column = metric_column("flicker/mouth")
    assert (column.label, column.better, column.format(1.0)) == ("flicker/mouth", "", "1.0000")
    assert column.field == "flicker_mouth" and known_column("flicker/mouth") is None


def test_names_of_exports_are_those_that_users_know() -> None:
    keys = ("psnr", "ssim", "lpips/alex", "lpips/vgg")
    assert [metric_column(key).field for key in keys] == ["psnr", "ssim", "lpips_alex", "lpips_vgg"]


def test_no_metric_is_called_as_a_column_that_every_table_has(run: Any) -> None:
    """What is registered and what a file of scores names are held to one list, and it is complete."""
    header = to_csv(build_table(run.path)).splitlines()[0].split(",")
    metrics = {field for column in COLUMNS.values() for field in _fields(column)}
    assert [name for name in header if name not in metrics and not is_taken(name)] == []
    assert not any(is_taken(column.field) for column in COLUMNS.values())


def _fields(column: Any) -> list[str]:
    return [f"{column.field}{end}" for end in ("", "_std", "_mark", "_ci95_low", "_ci95_high")]


def test_counts_have_thousands() -> None:
    (gaussians,) = (column for column in COST_COLUMNS if column.key == "gaussians")
    assert gaussians.format(65536.0) == "65,536"
    assert gaussians.format(65536.0, 0.0) == "65,536"
    assert gaussians.format(65536.0, 10.4) == "65,536 ± 10"


def test_high_rates_lose_their_digits() -> None:
    (fps,) = (column for column in COST_COLUMNS if column.key == "fps")
    assert fps.format(19.84, 0.31) == "19.8 ± 0.3"
    assert fps.format(32820.6, 1250.2) == "32,821 ± 1,250"
