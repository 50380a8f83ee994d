"""Intervals: known values, and how often they see a difference where there is none."""

from __future__ import annotations

import math
import re
from pathlib import Path

import numpy as np
import pytest
import scipy.stats
import simulation

from headbench.results.statistics import Series, difference, over_frames, over_places, over_subjects, pooled_deviation
from headbench.results.statistics.series import clips_of

DOCS = Path(__file__).parents[2] / "docs" / "statistics.md"
SUBJECTS = (3, 5, 10, 20)


def series(values: np.ndarray | list[float], ids: list[str] | None = None) -> Series:
    return Series(tuple(ids or [f"{k:05d}" for k in range(len(values))]), np.array(values, dtype=float))


def test_the_interval_over_subjects_is_students() -> None:
    values = [0.3, -0.1, 0.8, 0.4, 0.2]
    found = over_subjects(values)
    reference = scipy.stats.ttest_1samp(values, 0.0)
    low, high = reference.confidence_interval(0.95)
    assert (found.low, found.high) == (pytest.approx(low), pytest.approx(high))
    assert found.resolved == (reference.pvalue < 0.05) == False  # noqa: E712
    # Hedges' correction of Cohen's d_z by the gamma function, of which 1 - 3 / (4 df - 1) is the usual approximation.
    exact = math.gamma(2) / (math.sqrt(2) * math.gamma(1.5)) * np.mean(values) / np.std(values, ddof=1)
    assert found.effect == pytest.approx(exact, rel=0.01)
    assert over_subjects([1.0, 1.0, 1.0]).resolved and over_subjects([1.0, 1.0, 1.0]).effect is None


def test_too_few_subjects_or_frames_and_infinite_values_have_no_interval_and_say_why() -> None:
    assert over_subjects([1.0, 2.0]).reason == "2 subjects are too few for an interval (3 needed)"
    assert over_frames([np.ones(23)]).reason == "23 frames are too few for an interval (24 needed)"
    assert (
        over_frames([np.full(30, math.inf)]).reason == over_subjects([math.inf, 1, 2]).reason == "a value is infinite"
    )
    assert over_frames([]).half is None and not over_frames([np.ones(23)]).resolved


def test_the_variance_of_the_blocks_is_that_of_drawing_them() -> None:
    """The closed form against 20,000 resamples of the circular block bootstrap."""
    rng = np.random.default_rng(5)
    values = rng.standard_normal(240)
    length, blocks = 40, 6
    starts = rng.integers(0, 240, (20_000, blocks))
    drawn = values[(starts[:, :, None] + np.arange(length)) % 240].mean(axis=(1, 2))
    # Independent values: nothing is missed, and the few blocks make Student's quantile and the factor n / (n - 1).
    half = scipy.stats.t.ppf(0.975, blocks - 1) * drawn.std() * math.sqrt(blocks / (blocks - 1))
    found = over_frames([values])
    assert found.half is not None and found.half == pytest.approx(half, rel=0.05)
    assert (found.count, found.scope) == (240, "this sequence")


def test_frames_of_several_videos_make_no_block_together() -> None:
    ids = [f"cam_{camera}_{k:04d}" for camera in (1, 2) for k in range(30)]
    assert [len(clip) for clip in clips_of(ids, np.zeros(60))] == [30, 30]
    assert [len(clip) for clip in clips_of([f"{k:05d}" for k in range(9)], np.zeros(9))] == [9]


def test_differences_are_paired_by_frame_and_averaged_over_seeds() -> None:
    rng = np.random.default_rng(1)
    hard = 3 * simulation.frames(rng, 1, 60)[0]
    one, other = series(hard + 0.1), series(hard[::-1], [f"{k:05d}" for k in range(60)][::-1])
    found = difference([one], [other])
    assert found.interval.mean == pytest.approx(0.1) and found.interval.half == 0.0 and found.share == 1.0
    seeds = difference([series(hard), series(hard + 0.4)], [series(hard), series(hard - 0.4)])
    assert seeds.interval.mean == pytest.approx(0.4) and seeds.interval.resolved
    welch = scipy.stats.ttest_ind([0.0, 0.4], [0.0, -0.4], equal_var=False).confidence_interval()
    assert seeds.seeds is not None and seeds.seeds.low == pytest.approx(welch.low)
    assert not seeds.resolved, "seeds alone move it as far"
    assert difference([series([math.inf] * 30)], [series([math.inf] * 30)]).interval.mean == 0.0, "both are perfect"


def test_seed_noise_is_pooled_over_cells() -> None:
    assert pooled_deviation([[1.0, 3.0], [10.0, 12.0, 14.0], [7.0]]) == pytest.approx(math.sqrt((2 + 8) / 3))
    assert pooled_deviation([[1.0], [2.0]]) is None


def false_marks(subjects: int, repeats: int, seed: int = 0) -> float:
    """Share of repeats in which two equal methods are told apart over subjects; some by all that tables call."""
    told = []
    drawn = simulation.null(np.random.default_rng(seed), subjects, repeats)
    for number, frames in enumerate(drawn):
        told.append(over_subjects(frames.mean(axis=1)).resolved)
        if number < 50:
            places = [difference([series(one)], [series(np.zeros(len(one)))]) for one in frames]
            assert over_places(places).resolved == told[-1]
    return float(np.mean(told))


def test_equal_methods_are_told_apart_in_about_one_of_twenty_cases() -> None:
    """The cheap one: the subjects' means alone, since over subjects nothing else of their frames counts."""
    for subjects in SUBJECTS:
        means = simulation.null(np.random.default_rng(subjects), subjects, 1500).mean(axis=2)
        assert 0.035 < np.mean([over_subjects(row).resolved for row in means]) < 0.065


@pytest.mark.slow
def test_documented_rates_of_false_marks() -> None:
    """Rebuilds both tables of docs/statistics.md."""
    text = DOCS.read_text(encoding="utf-8")
    documented = {
        key: [float(n) for n in re.findall(r"[\d.]+", row)]
        for key, row in re.findall(r"^\| (.+?) \|(.*)\|$", text, re.M)
    }
    found = [100 * false_marks(subjects, 4000) for subjects in SUBJECTS]
    assert all(4 <= rate <= 6 for rate in found), found
    assert documented["Student's t over subjects (used)"] == pytest.approx(found, abs=0.051)
    rng = np.random.default_rng(2)
    for subjects, rate in zip(SUBJECTS, documented["subjects, then blocks (not used)"], strict=True):
        wrong = [simulation.nested_bootstrap(rng, one) for one in simulation.null(rng, subjects, 1000)]
        assert 100 * np.mean(wrong) == pytest.approx(rate, abs=3)
    for length in (24, 40, 60, 120, 350, 1000):
        rates = []
        for correlation in (0.0, 0.5, 0.9, 0.95):
            drawn = simulation.frames(np.random.default_rng(length), 2000, length, correlation)
            rates.append(100 * np.mean([over_frames([one]).resolved for one in drawn]))
        assert documented[f"{length} frames"] == pytest.approx(rates, abs=0.06)
