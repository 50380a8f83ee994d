"""Facts about a video file that need no decoding: its digest, size and number of packets."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from headbench.datasets.common.threads import spread
from headbench.harness.files import sha256_of
from headbench.harness.reading import Unreadable
from headbench.harness.videos import open_video

__all__ = ["Probe", "probe_all"]

_FEW_BYTES = 2**20
"""Size of all files up to which to start threads takes longer than to read them."""


@dataclass(frozen=True)
class Probe:
    """Digest, size and number of packets of one video file, or what is wrong with it."""

    digest: str = ""
    """SHA-256 of the file."""
    size: tuple[int, int] = (0, 0)
    """Width, height; pixels."""
    packets: int = 0
    """Coded pictures that are really in the file; the header of a file that was cut may promise more."""
    fault: str = ""
    """Empty, ``missing``, or what was found instead of a video."""
    help: str = ""
    """Action that removes the fault."""


def probe_all(paths: Iterable[Path]) -> dict[Path, Probe]:
    """Probe many video files, in several threads unless they are small."""
    wanted = list(dict.fromkeys(paths))
    few = sum(map(_size, wanted)) <= _FEW_BYTES
    return dict(zip(wanted, spread(_probe, wanted, few=few), strict=True))


def _size(path: Path) -> int:
    """Size of a file in bytes; 0 where there is none, or none that may be looked at."""
    try:
        return path.stat().st_size
    except (OSError, ValueError):
        return 0


def _probe(path: Path) -> Probe:
    try:
        with open_video(path) as video:
            size, packets = video.size, video.packets()
        return Probe(sha256_of(path), size, packets)
    except Unreadable as error:
        return Probe(fault="missing" if error.missing else error.found.removeprefix("found "), help=error.help)
