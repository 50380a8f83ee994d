"""Clips of a sequence, read from the ids of its frames: which frames follow each other, and which show one moment."""

from __future__ import annotations

import functools
import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["clips_of"]

_NUMBER = re.compile(r"(\d+)")


@dataclass(frozen=True)
class _Clip:
    """Frames of one video, or of several cameras that recorded the same moments."""

    places: NDArray[np.int64]
    """Places of its frames in the series, in the order of their moments."""
    moments: NDArray[np.int64]
    """Number of the moment that each of these frames shows, from 0 on, without gaps."""


def clips_of(ids: Sequence[str], values: NDArray[np.float64]) -> list[NDArray[np.float64]]:
    """Cut values into clips of moments that follow each other; cameras that show one moment are averaged.

    A frame's moment is the number in its id that takes the most values. Numbers behind it are cameras (00012_03 is
    moment 12 as camera 3 saw it); all before it names the video. Videos with the same numbers of moments count as
    cameras, too: where they are none, intervals are only wider.

    Args:
        ids: frame ids.
        values: (T,); frames without a value (NaN) are left out.

    Returns:
        values per clip, one per moment. Their mean over all clips is the mean of `values`.
    """
    known = ~np.isnan(values)
    mean = float(values[known].mean()) if known.any() else 0.0
    found: list[tuple[NDArray[np.float64], int]] = []
    for clip in _clips(tuple(ids)):
        kept = known[clip.places]
        own, moments = values[clip.places[kept]], clip.moments[kept]
        counts = np.bincount(moments)
        if len(own) and (counts.max() == 1 or not np.isfinite(own).all()):
            found.append((own, len(own)))
        elif len(own):
            sums = np.bincount(moments, own - mean)
            found.append((np.asarray(mean + sums[counts > 0], dtype=np.float64), len(own)))
    share = sum(len(clip) for clip, _ in found) / max(1, sum(count for _, count in found))
    # A moment weighs as much as it has frames, so that the mean stays that of the frames.
    return [mean + (clip - mean) * share if share < 1 else clip for clip, _ in found]


@functools.lru_cache(maxsize=256)
def _clips(ids: tuple[str, ...]) -> tuple[_Clip, ...]:
    """Clips of a sequence; the methods of a table share the frames of a subject."""
    kinds: dict[tuple[str, ...], list[int]] = {}
    split = [_NUMBER.split(name) for name in ids]
    for place, parts in enumerate(split):
        # Names without a number are one clip in the order in which they stand.
        kinds.setdefault(tuple(parts[::2]) if len(parts) > 1 else (), []).append(place)
    found = []
    for kind, places in kinds.items():
        numbers = np.array([[int(part) for part in split[place][1::2]] for place in places], dtype=object)
        times = numbers if kind else np.arange(len(places), dtype=object)[:, None]
        found += _of_kind(np.array(places), times)
    return tuple(found)


def _of_kind(places: NDArray[np.int64], numbers: NDArray[np.object_]) -> list[_Clip]:
    """Clips of frames whose ids differ in their numbers only.

    Args:
        places: places of the frames in the series, (F,).
        numbers: numbers in their ids, (F, at least 1).
    """
    varied = [len(set(column)) for column in numbers.T]
    time = max(range(len(varied)), key=lambda column: (varied[column], column))
    videos: dict[tuple[int, ...], list[int]] = {}
    for row, given in enumerate(numbers[:, :time].tolist()):
        videos.setdefault(tuple(given), []).append(row)
    groups: dict[frozenset[int], list[int]] = {}
    for rows in videos.values():
        groups.setdefault(frozenset(numbers[rows, time].tolist()), []).extend(rows)
    clips = []
    for rows in groups.values():
        rows.sort(key=lambda row: numbers[row, time])
        own = numbers[rows, time].tolist()
        order = {moment: number for number, moment in enumerate(dict.fromkeys(own))}
        clips.append(_Clip(places[rows], np.array([order[moment] for moment in own])))
    return clips
