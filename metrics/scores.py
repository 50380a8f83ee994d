"""Scores of one subject and their file: a header line, one line per frame, one line per sequence. Needs no torch."""

from __future__ import annotations

import functools
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from headbench.harness.files import atomic_path
from headbench.harness.versions import installed_version
from headbench.metrics.absent import Absent, AbsentKind
from headbench.metrics.protocol import Protocol, TrackingRule

__all__ = [
    "FORMAT",
    "LARGEST",
    "FrameScore",
    "Scores",
    "SequenceScore",
    "package_versions",
    "without_views",
    "write_scores",
]

FORMAT = 2
"""Number of the layout of score files. Files without a number have the layout before, with four fields per frame."""
LARGEST = 1e12
"""Limit of finite metric values; a value as large as this is refused."""


@dataclass(frozen=True)
class _Values:
    id: str
    values: Mapping[str, float] = field(default_factory=dict)
    """Metric key -> value; inf where a metric has no limit, as PSNR of an identical image."""
    absent: Mapping[str, Absent] = field(default_factory=dict)
    """Metric key -> why this frame or sequence has no value, where others have one."""

    def value(self, key: str) -> float | None:
        """Value of the metric `key`; None where this frame or sequence has none."""
        return self.values.get(key)


@dataclass(frozen=True)
class FrameScore(_Values):
    """Metric values of one frame.

    Example:
        >>> frame_score = FrameScore("00001", {"psnr": 31.5})
        >>> frame_score.value("psnr"), frame_score.value("ssim")
        (31.5, None)
    """


@dataclass(frozen=True)
class SequenceScore(_Values):
    """Metric values of one sequence, of those metrics that are computed from all its frames together.

    Example:
        >>> SequenceScore("cam0", {"flicker": 0.25}).value("flicker")
        0.25
    """


@dataclass(frozen=True)
class Scores:
    """Scores of one subject's frames, and what they were computed with.

    Example:
        >>> frames = [FrameScore("a", {"psnr": 30.0}), FrameScore("b", {"psnr": 32.0})]
        >>> scores = Scores.of(load_protocol("headbench@1"), frames)
        >>> scores.mean("psnr"), scores.mean("ssim")
        (31.0, None)
    """

    protocol: str
    """Label of the protocol: name@version."""
    hash: str
    """SHA-256 of the protocol; scores with different hashes do not belong in one table."""
    metrics: tuple[str, ...]
    """Keys of the protocol's metrics, in the order of tables."""
    frames: tuple[FrameScore, ...]
    sequences: tuple[SequenceScore, ...] = ()
    """Scores of sequences; empty unless a metric is computed per sequence."""
    absent: Mapping[str, Absent] = field(default_factory=dict)
    """Metric key -> why it has no values at all."""
    weights: Mapping[str, str] = field(default_factory=dict)
    """Metric key -> SHA-256 of its network's file."""
    versions: Mapping[str, str] = field(default_factory=dict)
    """Package or plugin -> version that computed the scores."""
    device: str = ""
    views: str = "test"
    """Set of views that were scored: test, the held-out frames."""
    render_key: str = ""
    """Name of the folder of the renders, such as train-white."""
    tracking: TrackingRule | None = None
    """Test-time tracking on the test images that came before scoring; None where there was none."""
    added_frames: float = 0.0
    """Number that is added to that of the frames when their mean is taken: 1e-6 as FateAvatar does, or none."""

    @classmethod
    def of(cls, protocol: Protocol, frames: Sequence[FrameScore], metrics: Sequence[str] = (), **more: Any) -> Scores:
        """Make the scores of frames under a protocol.

        Args:
            protocol: gives label, hash and keys.
            frames: scores of the frames, in order.
            metrics: keys of its metrics as their plugins spell them; empty takes the protocol's own spelling.
            more: values of other fields.
        """
        return cls(
            protocol=protocol.label,
            hash=protocol.hash,
            metrics=tuple(metrics) or tuple(asked.key for asked in protocol.asked()),
            frames=tuple(frames),
            versions=more.pop("versions", {}),
            views=protocol.views,
            render_key=protocol.render_key,
            tracking=protocol.test_time_tracking,
            added_frames=protocol.added_frames,
            **more,
        )

    def offers(self, key: str) -> bool:
        """Whether the protocol has the metric `key`, computed or not."""
        return key in self.metrics

    def is_of_sequences(self, key: str) -> bool:
        """Whether a metric has one value per sequence, and none per frame."""
        return any(key in row.values or key in row.absent for row in self.sequences)

    def values(self, key: str) -> list[float | None]:
        """Values of a metric: one per frame that can have one, or one per sequence if it is computed per sequence."""
        if key not in self._values:
            rows: Sequence[_Values] = self.sequences if self.is_of_sequences(key) else self.frames
            self._values[key] = [
                row.values.get(key) for row in rows if key not in row.absent or row.absent[key].kind.counts
            ]
        return [*self._values[key]]

    def mean(self, key: str) -> float | None:
        """Mean of a metric over frames or sequences: None if one lacks a value it could have, infinite if one is."""
        if key not in self._means:
            values = self.values(key)
            known = [value for value in values if value is not None]
            whole = bool(known) and len(known) == len(values)
            self._means[key] = math.fsum(known) / (len(known) + self.added_frames) if whole else None
        return self._means[key]

    @functools.cached_property
    def _means(self) -> dict[str, float | None]:
        """Means by metric key, as far as they were asked for: a table asks for each several times."""
        return {}

    @functools.cached_property
    def _values(self) -> dict[str, list[float | None]]:
        """Values by metric key, as `_means`."""
        return {}

    @functools.cached_property
    def _reasons(self) -> dict[str, Absent]:
        """Reasons by metric key, as `_means`."""
        return {}

    def why(self, key: str) -> Absent:
        """Reason why a metric has no value, or has none for some frames."""
        if key not in self._reasons:
            self._reasons[key] = self._why(key)
        return self._reasons[key]

    def _why(self, key: str) -> Absent:
        if key in self.absent:
            return self.absent[key]
        here = (row.absent[key] for row in (*self.frames, *self.sequences) if key in row.absent)
        reasons = sorted(here, key=lambda absent: not absent.kind.counts)
        if reasons:
            return reasons[0]
        if not self.offers(key):
            return Absent(AbsentKind.NOT_IN_PROTOCOL, f"n/a (not part of {self.protocol})")
        return Absent(AbsentKind.OTHER, "n/a")


def without_views(protocol: Protocol) -> Scores:
    """Scores of a subject that lacks the set of views that a protocol scores: no frames, and the reason per metric.

    Example:
        >>> scores = without_views(load_protocol("headbench-around@1"))
        >>> scores.mean("psnr-foreground/all"), scores.why("psnr-foreground/all").text
        (None, 'n/a (no all-around views)')
    """
    reason = Absent(AbsentKind.NO_VIEWS, f"n/a (no {protocol.views} views)")
    return Scores.of(
        protocol, (), absent={asked.key: reason for asked in protocol.asked()}, versions=package_versions()
    )


def package_versions() -> dict[str, str]:
    """Package -> installed version, of the packages that scores may depend on."""
    packages = ("headbench", "torch", "numpy", "pillow")
    return {package: installed_version(package) or "not installed" for package in packages}


def write_scores(path: Path, scores: Scores) -> None:
    """Write scores as JSON lines, complete or not at all. Infinity is the text "inf", since JSON has no such number.

    Args:
        path: the file; its folder is made.

    Example:
        >>> scores = Scores.of(load_protocol("headbench@1"), [FrameScore("a", {"psnr": 30.0})])
        >>> write_scores(folder / "scores.jsonl", scores)
        >>> read_scores(folder / "scores.jsonl") == scores
        True
    """
    name, _, number = scores.protocol.partition("@")
    header: dict[str, Any] = {
        "format": FORMAT,
        "protocol": name,
        "version": int(number),
        "hash": scores.hash,
        "views": scores.views,
        "render_key": scores.render_key,
        "metrics": list(scores.metrics),
        "weights": dict(scores.weights),
        "versions": dict(scores.versions),
        "device": scores.device,
        "absent": _absent(scores.absent),
        "frames": len(scores.frames),
        "sequences": len(scores.sequences),
    }
    if scores.tracking is not None:
        header["test_time_tracking"] = scores.tracking.model_dump(mode="json", exclude_defaults=True)
    if scores.added_frames:
        header["added_frames"] = scores.added_frames
    lines = [header]
    lines += [_row("id", row) for row in scores.frames]
    lines += [_row("sequence", row) for row in scores.sequences]
    with atomic_path(path) as part:
        part.write_text("".join(json.dumps(line, allow_nan=False) + "\n" for line in lines), encoding="utf-8")


def _row(what: str, row: _Values) -> dict[str, Any]:
    values = {key: "inf" if math.isinf(value) else value for key, value in row.values.items()}
    return {what: row.id, "scores": values} | ({"absent": _absent(row.absent)} if row.absent else {})


def _absent(reasons: Mapping[str, Absent]) -> dict[str, dict[str, str]]:
    return {key: {"kind": absent.kind.value, "text": absent.text} for key, absent in reasons.items()}
