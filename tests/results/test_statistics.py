"""Intervals: known values, and how often they see a difference where there is none."""

from __future__ import annotations

import math
import re
from pathlib import Path

import numpy as np
import pytest
import simulation

from headbench.results.statistics import Series, difference, over_frames, over_places, over_subjects, pooled_deviation
from headbench.results.statistics.clips import clips_of
from headbench.results.statistics.frames import block_length

DOCS = Path(__file__).parents[2] / "docs" / "statistics.md"
SUBJECTS = (3, 5, 10, 20)


def scipy_stats():
    """The module, whose import takes a second that the other worker need not spend on collecting this file."""
    import scipy.stats

    return scipy.stats


def series(values: np.ndarray | list[float], ids: list[str] | None = None) -> Series:
    return Series(tuple(ids or [f"{k:05d}" for k in range(len(values))]), np.array(values, dtype=float))


def test_the_interval_over_subjects_is_students() -> None:
    values = [0.3, -0.1, 0.8, 0.4, 0.2]
    found = over_subjects(values)
    reference = scipy_stats().ttest_1samp(values, 0.0)
    low, high = reference.confidence_interval(0.95)
    assert (found.low, found.high) == (pytest.approx(low), pytest.approx(high))
    assert found.resolved == (reference.pvalue < 0.05) == False  # noqa: E712
    # Hedges' correction of Cohen's d_z by the gamma function, of which 1 - 3 / (4 df - 1) is the usual approximation.
    exact = math.gamma(2) / (math.sqrt(2) * math.gamma(1.5)) * np.mean(values) / np.std(values, ddof=1)
    assert found.effect == pytest.approx(exact, rel=0.01)
    assert found.p == pytest.approx(reference.pvalue)
    same = over_subjects([1.0, 1.0, 1.0])
    assert same.resolved and same.effect is None and same.p == 0.0 and over_subjects([1.0, 2.0]).p is None


def test_too_few_subjects_or_frames_and_infinite_values_have_no_interval_and_say_why() -> None:
    assert over_subjects([1.0, 2.0]).reason == "2 subjects are too few for an interval (3 needed)"
    assert over_frames([np.ones(23)]).reason == "23 frames are too few for an interval (24 needed)"
    assert (
        over_frames([np.full(30, math.inf)]).reason == over_subjects([math.inf, 1, 2]).reason == "a value is infinite"
    )
    assert over_subjects([1.0, 2.0, math.nan]).reason == "a value is missing"
    assert over_frames([]).half is None and not over_frames([np.ones(23)]).resolved


def test_the_variance_of_the_blocks_is_that_of_drawing_them() -> None:
    """The closed form against 20,000 resamples of the circular block bootstrap."""
    rng = np.random.default_rng(5)
    values = rng.standard_normal(240)
    length, blocks = 40, 6
    starts = rng.integers(0, 240, (20_000, blocks))
    drawn = values[(starts[:, :, None] + np.arange(length)) % 240].mean(axis=(1, 2))
    # Independent values: nothing is missed, and the few blocks make Student's quantile and the factor n / (n - 1).
    half = scipy_stats().t.ppf(0.975, blocks - 1) * drawn.std() * math.sqrt(blocks / (blocks - 1))
    found = over_frames([values])
    assert found.half is not None and found.half == pytest.approx(half, rel=0.05)
    assert (found.count, found.scope) == (240, "this sequence")


def test_moments_are_read_from_ids_and_cameras_of_one_moment_are_averaged() -> None:
    def lengths(ids: list[str]) -> list[int]:
        return [len(clip) for clip in clips_of(ids, np.zeros(len(ids)))]

    assert lengths([f"{k:05d}" for k in range(9)]) == [9]
    assert lengths([f"{video}_{k:04d}" for video in ("smile", "EXP-2") for k in range(30)]) == [30, 30]
    assert lengths([f"video{video}-{k:04d}" for video in (1, 2) for k in range(20 + video)]) == [21, 22]
    assert lengths([f"{k:05d}_03" for k in range(30)]) == [30], "one camera, named behind the moment"
    assert lengths([f"{k:05d}_left" for k in range(30)]) == [30]
    assert lengths(["anna", "ben", "carl"]) == [3]
    moments = simulation.frames(np.random.default_rng(0), 1, 60)[0]
    (alone,) = clips_of([f"{k:05d}" for k in range(60)], moments)
    for ids in (
        [f"{k:05d}_{camera:02d}" for k in range(60) for camera in range(4)],
        [f"cam_{camera}_{k:05d}" for k in range(60) for camera in range(4)],
    ):
        (seen,) = clips_of(ids, np.repeat(moments, 4))
        assert seen == pytest.approx(alone), "four cameras know no more than one"
    lacking = np.repeat(moments, 4)
    lacking[:3] = math.nan
    (seen,) = clips_of(ids, lacking)
    assert len(seen) == 60 and seen.mean() == pytest.approx(np.nanmean(lacking)), "the mean stays that of the frames"


def test_clips_shorter_than_a_block_do_not_shorten_it() -> None:
    """Before, one clip of one frame made all frames of the others count as independent."""
    moments = simulation.frames(np.random.default_rng(3), 1, 121)[0]
    whole, cut = over_frames([moments]), over_frames([moments[:120], moments[120:]])
    assert cut == whole
    assert [block_length(count) for count in (24, 40, 60, 120, 180, 350)] == [10, 14, 20, 30, 30, 58]


def test_differences_are_paired_by_frame_and_averaged_over_seeds() -> None:
    rng = np.random.default_rng(1)
    hard = 3 * simulation.frames(rng, 1, 60)[0]
    one, other = series(hard + 0.1), series(hard[::-1], [f"{k:05d}" for k in range(60)][::-1])
    found = difference([one], [other])
    assert found.interval.mean == pytest.approx(0.1) and found.interval.half == 0.0 and found.share == 1.0
    seeds = difference([series(hard), series(hard + 0.4)], [series(hard), series(hard - 0.4)])
    assert seeds.interval.mean == pytest.approx(0.4) and seeds.interval.resolved
    welch = scipy_stats().ttest_ind([0.0, 0.4], [0.0, -0.4], equal_var=False).confidence_interval()
    assert seeds.seeds is not None and seeds.seeds.low == pytest.approx(welch.low)
    assert not seeds.resolved and seeds.p > 0.05, "seeds alone move it as far"  # type: ignore[operator]
    assert (seeds.shown.low, seeds.shown.scope) == (pytest.approx(welch.low), "seeds") and found.shown is found.interval
    assert difference([series([math.inf] * 30)], [series([math.inf] * 30)]).interval.mean == 0.0, "both are perfect"


def test_seed_noise_is_pooled_over_cells() -> None:
    assert pooled_deviation([[1.0, 3.0], [10.0, 12.0, 14.0], [7.0]]) == pytest.approx(math.sqrt((2 + 8) / 3))
    assert pooled_deviation([[1.0], [2.0]]) is None


def resolved(differences: np.ndarray) -> np.ndarray:
    """Which rows of subjects' mean differences (…, subjects) Student's interval resolves, all at once; (…)."""
    count = differences.shape[-1]
    half = scipy_stats().t.ppf(0.975, count - 1) * differences.std(axis=-1, ddof=1) / math.sqrt(count)
    told: np.ndarray = np.abs(differences.mean(axis=-1)) > half
    return told


def false_marks(subjects: int, repeats: int) -> float:
    """Share of repeats in which two equal methods are told apart over subjects; some by all that tables call."""
    drawn = simulation.null(np.random.default_rng(0), subjects, repeats)
    told = resolved(drawn.mean(axis=2))
    for frames, expected in zip(drawn[:50], told, strict=False):
        places = [difference([series(one)], [series(np.zeros(len(one)))]) for one in frames]
        assert over_places(places).resolved == expected
    return float(told.mean())


def marks_of_equals(methods: int, subjects: int, repeats: int) -> tuple[float, float]:
    """How often one of several equal methods is bold, and how often at least one lacks its dagger."""
    means = np.random.default_rng(methods).standard_normal((repeats, methods, subjects))
    best = means.mean(axis=2).argmax(axis=1)
    told = resolved(means[np.arange(repeats), best][:, None] - means).sum(axis=1)
    return float((told == methods - 1).mean()), float((told > 0).mean())


def test_equal_methods_are_told_apart_in_about_one_of_twenty_cases() -> None:
    """The cheap one: with frames at 3 subjects, by the subjects' means alone at more."""
    assert 0.04 < false_marks(3, 2000) < 0.06
    for subjects in SUBJECTS[1:]:
        means = np.random.default_rng(subjects).standard_normal((20_000, subjects))
        assert 0.045 < resolved(means).mean() < 0.055
    bold, lacking = marks_of_equals(5, 5, 2000)
    assert bold < 0.01 < 0.05 < lacking, "bold asks for all of them; daggers are each a test of its own"


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
    for name, drawn_by in (
        ("heavy tails (Laplace)", lambda rng, size: rng.laplace(size=size)),
        ("skewed (exponential)", lambda rng, size: rng.exponential(size=size) - 1),
    ):
        rates = [100 * resolved(drawn_by(np.random.default_rng(n), (40_000, n))).mean() for n in SUBJECTS]
        assert documented[name] == pytest.approx(rates, abs=0.4)
    several = [marks_of_equals(methods, 5, 20_000) for methods in (2, 3, 5, 8)]
    assert documented["one of them is bold"] == pytest.approx([100 * bold for bold, _ in several], abs=0.051)
    assert documented["one or more lack their †"] == pytest.approx([100 * some for _, some in several], abs=0.51)
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
