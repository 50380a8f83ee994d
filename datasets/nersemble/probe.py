"""Facts about a video file that need no decoding: its digest, size and number of packets."""

from __future__ import annotations

from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from headbench.harness.files import sha256_of
from headbench.harness.reading import Unreadable
from headbench.harness.videos import open_video

__all__ = ["Probe", "probe_all"]

_READERS = 8


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
    """Probe many video files in several threads."""
    wanted = list(dict.fromkeys(paths))
    with ThreadPoolExecutor(_READERS) as pool:
        return dict(zip(wanted, pool.map(_probe, wanted), strict=True))


def _probe(path: Path) -> Probe:
    try:
        with open_video(path) as video:
            size, packets = video.size, video.packets()
        return Probe(sha256_of(path), size, packets)
    except Unreadable as error:
        return Probe(fault="missing" if error.missing else error.found.removeprefix("found "), help=error.help)
