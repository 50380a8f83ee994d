"""Checks that decode videos: all of them, and test sequences, for `bench data check`; first pictures before a run."""

from __future__ import annotations

import math
import os
from collections.abc import Callable
from dataclasses import dataclass
from difflib import get_close_matches
from urllib.parse import unquote

import numpy as np
from numpy.typing import NDArray

from headbench.datasets.common.mattes import MatteFault, matte_fault
from headbench.datasets.common.roots import names_in, there
from headbench.datasets.common.threads import FEW_PIXELS, THREADS, spread
from headbench.datasets.nersemble.benchmark import (
    PARTICIPANTS,
    SERIALS,
    TEST_SEQUENCES,
    TRAIN_SEQUENCES,
    TRAIN_SERIAL,
)
from headbench.datasets.nersemble.clips import decode
from headbench.datasets.nersemble.placement import check_before_camera
from headbench.datasets.nersemble.survey import NersembleSurvey, check_one_identity
from headbench.datasets.nersemble.tracking import read_tracking
from headbench.harness.errors import DataError
from headbench.harness.videos import to_rgb

__all__ = ["check_first_pictures", "deep_checks"]

_WHITE = 240
"""Mean grey level from which on a background counts as white."""
_COLOURED = 24
"""Mean difference of a grey video's channels that is more than the codec makes."""


def deep_checks(found: NersembleSurvey) -> None:
    """Add to a survey the problems that names and headers do not show, and decode every video."""
    folder, findings = found.folder, found.findings
    if folder.name not in PARTICIPANTS:
        known = ", ".join(PARTICIPANTS)
        findings.warning(folder.path, f"expected one of the benchmark's participants {known}, found {folder.name!r}")
    _strange_sequences(found)
    _check_tests(found)
    for name, videos in _decoded(found).items():
        _check_decoded(found, name, videos)


def check_first_pictures(found: NersembleSurvey) -> None:
    """Check matte and background in the first picture of each sequence: what a run can afford before it trains."""
    for name, videos in _decoded(found, 1).items():
        if not any(videos.faults) and all(videos.counts):
            _check_pictures(found, name, videos)


def _strange_sequences(found: NersembleSurvey) -> None:
    """Warn of folders that are no sequence of the benchmark, with the name that may be meant."""
    known = (*TRAIN_SEQUENCES, *TEST_SEQUENCES)
    for name in sorted(names_in(found.folder.sequences) - {*known}):
        path = found.folder.sequences / name
        if not path.is_dir() or name.startswith("."):
            continue
        meant = unquote(name) if unquote(name) in known else name.replace(" ", "+")
        close = [meant] if meant in known else get_close_matches(name, known, n=1, cutoff=0.8)
        hint = f"rename it to {close[0]}: names hold a plain +" if close else "its frames are not read"
        found.findings.warning(path, f"expected a sequence of the benchmark, found {name!r}", help=hint)


def _check_tests(found: NersembleSurvey) -> None:
    """Check the tracking of the test sequences, which a submission needs: that it is there and of the same person."""
    tests, findings = {}, found.findings
    for name in TEST_SEQUENCES:
        path = found.folder.tracking(name, "v2")
        if not there(path):
            old = found.folder.tracking(name, "v1").is_file()
            findings.warning(
                path,
                "expected the tracking of a test sequence, found "
                + ("the old tracking v1 alone" if old else "no such file")
                + ": no submission can be rendered",
                name,
                "download the test sequences' flame2023_tracking_v2",
            )
            continue
        tracking = read_tracking(path, name, findings)
        if tracking is None:
            continue
        tests[name] = tracking
    if found.calibration is not None:
        # What is wrong with the training camera has been reported with the training sequences.
        held_out = SERIALS if not found.sequences else [serial for serial in SERIALS if serial != TRAIN_SERIAL]
        check_before_camera(found.calibration, tests, held_out, findings)
    if found.options.tracking == "v2" and found.sequences:
        first = next(iter(found.sequences))
        check_one_identity({first: found.sequences[first], **tests}, findings)


@dataclass(frozen=True)
class _Decoded:
    """Measurements of a sequence's two videos, taken by decoding them."""

    counts: tuple[int, int]
    """Number of decoded pictures: images, mattes."""
    faults: tuple[str, str]
    """Reason why decoding ended early, for images and for mattes; empty where it did not."""
    matte: MatteFault | None
    """Fault of the mattes where every one has a fault; otherwise None."""
    low: int
    """Smallest value of the mattes."""
    high: int
    """Largest value of the mattes."""
    colour: float
    """Largest mean difference between the channels of a matte, which should be grey."""
    background: float
    """Mean grey level of the images where the matte is 0; 255 where it nowhere is."""


def _decoded(found: NersembleSurvey, most: float = math.inf) -> dict[str, _Decoded]:
    """Decode and measure the videos of each sequence, by its name.

    Args:
        found: the survey.
        most: number of pictures of each video after which to stop.
    """
    probes = [found.probes[path] for name in found.sequences for path in found.videos(name)]
    pixels = sum(probe.size[0] * probe.size[1] * min(most, probe.packets) for probe in probes)
    measured = spread(_measuring(found, most), found.sequences, few=pixels <= FEW_PIXELS)
    return dict(zip(found.sequences, measured, strict=True))


def _measuring(found: NersembleSurvey, most: float) -> Callable[[str], _Decoded]:
    """Make a function that decodes and measures the videos of a sequence; one picture of each is in memory at a time.

    Args:
        found: the survey.
        most: number of pictures of each video after which to stop.
    """
    # One picture is no work for several threads, and of many videos each decoder gets its share of the cores.
    threads = 1 if most == 1 else max(1, (os.cpu_count() or 1) // THREADS)

    def measure(name: str) -> _Decoded:
        sources = [decode(path, threads) for path in found.videos(name)]
        counts, faults, ended = [0, 0], ["", ""], [False, False]
        low, high, colour, greys = 255, 0, 0.0, []
        mattes: list[MatteFault | None] = []
        while not all(ended) and max(counts) < most:
            pair: list[NDArray[np.uint8]] = []
            for k, source in enumerate(sources):
                if ended[k]:
                    continue
                try:
                    pair.append(to_rgb(next(source)))
                    counts[k] += 1
                except StopIteration:
                    ended[k] = True
                except DataError as error:
                    ended[k], faults[k] = True, str(error.args[0])
            if len(pair) == 2:
                image, matte = pair[0], pair[1][..., 0]
                low, high = min(low, int(matte.min())), max(high, int(matte.max()))
                mattes.append(matte_fault(matte))
                colour = max(colour, float(np.ptp(pair[1].astype(np.int16), axis=2).mean()))
                if image.shape == pair[1].shape and (matte == 0).any():
                    greys.append(float(image[matte == 0].mean()))
        background = float(np.mean(greys)) if greys else 255.0
        fault = mattes[0] if mattes and None not in mattes else None
        return _Decoded((counts[0], counts[1]), (faults[0], faults[1]), fault, low, high, colour, background)

    return measure


def _check_decoded(found: NersembleSurvey, name: str, videos: _Decoded) -> None:
    """Report an error for each of a sequence's videos that cannot be decoded to its end; then check the pictures.

    Args:
        found: the survey; receives what is wrong.
        name: the sequence.
        videos: what was measured.
    """
    paths, expected, findings = found.videos(name), len(found.sequences[name]), found.findings
    if any(found.probes[path].fault for path in paths):
        return
    for path, count, fault in zip(paths, videos.counts, videos.faults, strict=True):
        if fault:
            findings.error(path, fault.removeprefix(f"{path}: "), name, "download the video again")
        elif count != expected and found.probes[path].packets == expected:
            findings.error(
                path,
                f"expected {expected} images, found {count} that can be decoded of {found.probes[path].packets}",
                name,
                "download the video again",
            )
    if not any(videos.faults) and all(videos.counts):
        _check_pictures(found, name, videos)


def _check_pictures(found: NersembleSurvey, name: str, videos: _Decoded) -> None:
    """Check matte and background of a sequence from what was measured.

    Args:
        found: the survey; receives what is wrong.
        name: the sequence.
        videos: what was measured.
    """
    paths, findings = found.videos(name), found.findings
    if videos.colour > _COLOURED:
        message = f"expected a grey matte, found colours (channels differ by {videos.colour:.0f} on average)"
        findings.error(paths[1], message, name, "images and alpha_maps swapped?")
    elif videos.low == videos.high:
        message = f"expected a matte that sets head and background apart, found {videos.low} everywhere"
        findings.warning(paths[1], message, name, kind="matte-flat")
        findings.note("alpha is the same everywhere in some sequences")
    elif videos.matte is not None:
        findings.error(paths[1], videos.matte.message, name, videos.matte.help, videos.matte.kind)
    elif videos.background < _WHITE:
        findings.warning(
            paths[0],
            f"expected a white background, found grey level {videos.background:.0f} where the matte is 0",
            name,
            "the delivered images are on white; colours at soft edges will be wrong",
        )
        findings.note("images are not on white: colours at soft edges are wrong")
