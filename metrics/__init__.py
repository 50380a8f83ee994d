"""Metrics, scoring protocols and scores; what computes metrics is imported on use, so that tables need no torch."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from headbench.metrics.absent import Absent, AbsentKind
from headbench.metrics.columns import COLUMNS, Column, column_of
from headbench.metrics.metric import Metric
from headbench.metrics.options import MetricOptions
from headbench.metrics.protocol import Protocol, load_protocol, protocol_names
from headbench.metrics.scores import FrameScore, Scores, SequenceScore, without_views, write_scores
from headbench.metrics.stored import read_scores
from headbench.metrics.truth import GroundTruth, Projection, Truth

if TYPE_CHECKING:
    from headbench.metrics.score import score_frames

__all__ = [
    "COLUMNS",
    "Absent",
    "AbsentKind",
    "Column",
    "FrameScore",
    "GroundTruth",
    "Metric",
    "MetricOptions",
    "Projection",
    "Protocol",
    "Scores",
    "SequenceScore",
    "Truth",
    "column_of",
    "load_protocol",
    "protocol_names",
    "read_scores",
    "score_frames",
    "without_views",
    "write_scores",
]


def __getattr__(name: str) -> Any:
    if name == "score_frames":
        return importlib.import_module("headbench.metrics.score").score_frames
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
