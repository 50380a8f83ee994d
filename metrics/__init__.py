"""Protocols, scores and functional metrics. What computes is loaded on use, so that tables need no torch."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from headbench.metrics.columns import COLUMNS, Column
from headbench.metrics.protocol import Protocol, load_protocol, protocol_names
from headbench.metrics.scores import FrameScore, Scores, write_scores
from headbench.metrics.stored import read_scores

if TYPE_CHECKING:
    from headbench.metrics.score import score_frames, score_pairs, weights_used

__all__ = [
    "COLUMNS",
    "Column",
    "FrameScore",
    "Protocol",
    "Scores",
    "load_protocol",
    "protocol_names",
    "read_scores",
    "score_frames",
    "score_pairs",
    "weights_used",
    "write_scores",
]

_LAZY = {"score_frames", "score_pairs", "weights_used"}


def __getattr__(name: str) -> Any:
    if name in _LAZY:
        return getattr(importlib.import_module("headbench.metrics.score"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
