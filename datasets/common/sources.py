"""The image files of a frame, and whether all of them can be decoded."""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from headbench.datasets.common.findings import Findings
from headbench.datasets.common.pixels import read_planes
from headbench.harness.errors import DataError

__all__ = ["Source", "check_decoded"]

_DECODERS = 8


@dataclass(frozen=True)
class Source:
    """Files of one frame; their headers have been read and fit."""

    colour: Path
    alpha: Path | None
    """None: the alpha channel of `colour`, or no alpha at all."""
    size: tuple[int, int]
    """Width, height."""
    digest: str
    """SHA-256 of the bytes of the files."""
    has_alpha: bool = True


def check_decoded(sources: Mapping[str, Source], findings: Findings) -> None:
    """Decode every image, which no reading of headers replaces: an error where that fails; a warning where an alpha is
    the same everywhere, so that the matting did not work.

    Args:
        sources: frame id -> its files.
    """
    with ThreadPoolExecutor(_DECODERS) as pool:
        for name, faults in zip(sources, pool.map(_faults, sources, sources.values()), strict=True):
            for path, level in faults:
                if level is None:
                    message = "expected an image, found one that cannot be decoded"
                    findings.error(path, message, name, "write it again")
                else:
                    message = f"expected an alpha that sets head and background apart, found {level} everywhere"
                    findings.warning(path, message, name, "run the matting again")


def _faults(name: str, source: Source) -> list[tuple[Path, int | None]]:
    """A file and its only level of alpha, None where it cannot be decoded."""
    found: list[tuple[Path, int | None]] = []
    for path in (source.colour, source.alpha):
        if path is None:
            continue
        try:
            planes = read_planes(path, name)
        except DataError:
            found.append((path, None))
            continue
        if source.has_alpha and path == (source.alpha or source.colour):
            alpha = planes[3] if len(planes) == 4 else planes[0]
            low, high = int(alpha.min()), int(alpha.max())
            found += [(path, high)] if low == high else []
    return found
