"""Scores of one subject, and how they are written: a header line, then one line a frame. Needs no torch."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from headbench.harness.files import atomic_path
from headbench.metrics.columns import COLUMNS
from headbench.metrics.protocol import Protocol, TrackingRule

__all__ = ["FrameScore", "Scores", "write_scores"]


@dataclass(frozen=True)
class FrameScore:
    """The metrics of one frame; None where one was not computed, with the reason."""

    id: str
    psnr: float | None
    """Decibels; inf for an identical image."""
    ssim: float | None
    lpips_alex: float | None = None
    lpips_vgg: float | None = None
    reasons: Mapping[str, str] = field(default_factory=dict)
    """column -> what a table shows in place of a number."""

    def value(self, column: str) -> float | None:
        """The metric called `column` (a key of COLUMNS)."""
        found: float | None = getattr(self, COLUMNS[column].key)
        return found


@dataclass(frozen=True)
class Scores:
    """One subject's frames and what they were scored with."""

    protocol: str
    """name@version"""
    hash: str
    """Of the protocol; scores with different hashes do not belong in one table."""
    frames: tuple[FrameScore, ...]
    weights: Mapping[str, str] = field(default_factory=dict)
    """column -> SHA-256 of its network."""
    versions: Mapping[str, str] = field(default_factory=dict)
    """package -> version that computed the scores."""
    device: str = ""
    reasons: Mapping[str, str] = field(default_factory=dict)
    """column -> why it has no values."""
    render_key: str = ""
    """The folder of the renders."""
    tracking: TrackingRule | None = None
    """What the protocol had optimised on the test images before scoring."""

    def mean(self, column: str) -> float | None:
        """Mean over frames, None if the column was not computed. An identical frame makes the mean PSNR inf."""
        values = [frame.value(column) for frame in self.frames]
        known = [v for v in values if v is not None]
        return math.fsum(known) / len(known) if known and len(known) == len(values) else None


def _versions() -> dict[str, str]:
    found = {}
    for package in ("headbench", "torch", "numpy", "pillow"):
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = "not installed"
    return found


def write_scores(
    path: Path,
    frames: Sequence[FrameScore],
    protocol: Protocol,
    weights: Mapping[str, str] | None = None,
    device: str = "",
) -> None:
    """Write scores as JSON lines, complete or not at all. Infinity is the text "inf", since JSON has no such number.

    Args:
        path: the file; its folder is made.
        frames: in the order to keep.
        protocol: what they were scored with.
        weights: column -> SHA-256 of its network (`weights_used`).
        device: where they were computed.
    """
    reasons = {key: text for frame in frames[:1] for key, text in frame.reasons.items()}
    header: dict[str, Any] = {
        "protocol": protocol.name,
        "version": protocol.version,
        "hash": protocol.hash,
        "render_key": protocol.render_key,
        "weights": dict(weights or {}),
        "versions": _versions(),
        "device": device,
        "reasons": reasons,
        "frames": len(frames),
    }
    if protocol.test_time_tracking is not None:
        header["test_time_tracking"] = protocol.test_time_tracking.model_dump(mode="json")
    lines = [header]
    for frame in frames:
        lines.append({"id": frame.id} | {key: _number(frame.value(key)) for key in COLUMNS})
    with atomic_path(path) as part:
        part.write_text("".join(json.dumps(line, allow_nan=False) + "\n" for line in lines), encoding="utf-8")


def _number(value: float | None) -> float | str | None:
    return "inf" if value is not None and math.isinf(value) else value
