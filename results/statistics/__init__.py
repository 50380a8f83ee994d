"""Intervals of differences, over subjects or over the frames of one sequence; formulae are in docs/statistics.md."""

from headbench.results.statistics.differences import Difference, difference, over_places
from headbench.results.statistics.frames import MIN_FRAMES, over_frames
from headbench.results.statistics.interval import LEVEL, Interval
from headbench.results.statistics.noise import pooled_deviation
from headbench.results.statistics.series import Series, series_of
from headbench.results.statistics.subjects import MIN_SUBJECTS, over_subjects

__all__ = [
    "LEVEL",
    "MIN_FRAMES",
    "MIN_SUBJECTS",
    "Difference",
    "Interval",
    "Series",
    "difference",
    "over_frames",
    "over_places",
    "over_subjects",
    "pooled_deviation",
    "series_of",
]
