"""Image files of frames, and whether their pixels are what they are taken for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from headbench.datasets.common.findings import Findings
from headbench.datasets.common.mattes import Fringe, MatteFault, is_premultiplied, level_fault, matte_fault
from headbench.datasets.common.pixels import read_planes
from headbench.datasets.common.threads import FEW_FILES, FEW_PIXELS, spread
from headbench.harness.errors import DataError
from headbench.harness.reading import Unreadable

__all__ = ["Source", "check_decoded", "check_masks", "check_sample"]

_SAMPLE = 9
"""Frames whose pixels are checked before a run; `bench data check` checks all, and training each that it decodes."""
_UNREADABLE = MatteFault("expected an image, found one that cannot be decoded", "write it again", "image-damaged")
_DIVIDE = "divide colours by alpha, or write what the matting gave before it was composited"
_PREMULTIPLIED = (
    "expected colours that do not depend on alpha, found none brighter than its alpha and all fading with it: "
    "multiplied by alpha, or composited on black?"
)


@dataclass(frozen=True)
class Source:
    """Image files of one frame, whose headers have been read and fit."""

    colour: Path
    alpha: Path | None
    """File of the matte; None: the alpha channel of `colour`, or no alpha at all."""
    size: tuple[int, int]
    """Width, height; pixels."""
    digest: str
    """SHA-256 of the bytes of the files."""
    has_alpha: bool = True
    """Presence of an alpha channel or a matte in the files of the frame."""


@dataclass(frozen=True)
class _Look:
    """Faults and statistics of one decoded frame."""

    faults: tuple[tuple[Path, MatteFault], ...] = ()
    level: int | None = None
    """Level of an alpha that is the same everywhere; None of any other."""
    fringe: Fringe | None = None
    """Statistics of half-transparent pixels; None where a fault, a flat or a missing alpha leaves none to measure."""


def check_sample(sources: Mapping[str, Source], findings: Findings, premultiplied: str = _DIVIDE) -> None:
    """Run `check_decoded` on a few frames spread over all: what a run can afford before it trains.

    Args:
        sources: frame id -> its files, of all frames.
        findings: receives the problems and notes.
        premultiplied: help against colours multiplied by alpha; empty: that is no fault.
    """
    check_decoded({name: sources[name] for name in _sample(list(sources))}, findings, premultiplied)


def check_decoded(sources: Mapping[str, Source], findings: Findings, premultiplied: str = _DIVIDE) -> None:
    """Decode images and check their pixels, which no reading of headers replaces.

    An error where that fails, or where a matte cannot be one: levels of 0 and 1, numbers of classes, inverted, nothing
    in any. A warning where an alpha is the same everywhere, and where colours were multiplied by alpha; both are noted.

    Args:
        sources: frame id -> its files.
        findings: receives the problems and notes.
        premultiplied: help against colours multiplied by alpha; empty where the reader takes black out of them itself.
    """
    pixels = sum(width * height for width, height in (source.size for source in sources.values()))
    looks = dict(zip(sources, spread(_look, sources, sources.values(), few=pixels <= FEW_PIXELS), strict=True))
    for name, look in looks.items():
        for path, fault in look.faults:
            findings.error(path, fault.message, name, fault.help, fault.kind)
        if look.level is not None:
            path = sources[name].alpha or sources[name].colour
            message = f"expected an alpha that sets head and background apart, found {look.level} everywhere"
            findings.warning(path, message, name, "run the matting again", "matte-flat")
    if any(look.faults for look in looks.values()):
        return
    first = next(iter(sources), "")
    if first and all(looks[name].level == 0 for name in _sample(list(sources))):
        path = sources[first].alpha or sources[first].colour
        message = "expected an opaque head, found 0 everywhere in the alpha of the frames that stand for all"
        findings.error(path.parent, message, help="run the matting again", kind="matte-empty")
        return
    flat = sum(look.level is not None for look in looks.values())
    if flat:
        findings.note(f"alpha is the same everywhere in {flat} of {len(looks)} images that were looked at")
    fringes = [look.fringe for look in looks.values() if look.fringe is not None]
    if premultiplied and is_premultiplied(fringes):
        findings.warning(sources[first].colour.parent, _PREMULTIPLIED, help=premultiplied, kind="premultiplied")
        findings.note("colours look multiplied by alpha: renders get dark rims")


def check_masks(paths: Mapping[str, Path], findings: Findings) -> None:
    """Decode masks; one that cannot be decoded, or that holds 0 and 1 instead of 0 and 255, is an error.

    Args:
        paths: frame id -> file.
        findings: receives the errors.
    """
    faults = spread(_mask_fault, paths.values(), paths, few=len(paths) <= FEW_FILES)
    for (name, path), found in zip(paths.items(), faults, strict=True):
        if found is not None:
            findings.error(path, found.message, name, found.help, found.kind)


def _sample(names: list[str]) -> list[str]:
    """Names of up to `_SAMPLE` frames, spread evenly from the first to the last."""
    count = min(_SAMPLE, len(names))
    return [names[row] for row in sorted({round(k * (len(names) - 1) / max(1, count - 1)) for k in range(count)})]


def _look(name: str, source: Source) -> _Look:
    """Decode one frame and check its alpha; faults are returned, never raised."""
    faults: list[tuple[Path, MatteFault]] = []
    planes = []
    for path in (source.colour, source.alpha):
        if path is None:
            continue
        try:
            planes.append(read_planes(path, name).numpy())
        except DataError as error:
            faults.append((path, _unreadable(error)))
    if faults or not source.has_alpha:
        return _Look(tuple(faults))
    matte = planes[-1]
    alpha = matte[3] if len(matte) == 4 else matte[0]
    fault = matte_fault(alpha)
    if fault is not None:
        return _Look(((source.alpha or source.colour, fault),))
    low, high = int(alpha.min()), int(alpha.max())
    if low == high:
        return _Look(level=high)
    colour = planes[0][:3]
    return _Look(fringe=Fringe.of(colour, alpha) if colour.shape[1:] == alpha.shape else None)


def _unreadable(error: DataError) -> MatteFault:
    """Fault that says what is there instead of an image that can be decoded."""
    cause = error.__cause__
    if not isinstance(cause, Unreadable):
        return _UNREADABLE
    return MatteFault(f"expected an image, {cause.found}", cause.help or _UNREADABLE.help, _UNREADABLE.kind)


def _mask_fault(path: Path, name: str) -> MatteFault | None:
    """Fault of a mask that cannot be decoded or has wrong levels; None where it is one."""
    try:
        planes = read_planes(path, name).numpy()
    except DataError as error:
        return _unreadable(error)
    return level_fault(planes[3] if len(planes) == 4 else planes[0])
