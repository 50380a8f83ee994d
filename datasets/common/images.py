"""Headers and digests of image files, read without decoding the pixels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from headbench.datasets.common.findings import Findings
from headbench.datasets.common.roots import there
from headbench.datasets.common.threads import FEW_FILES, spread
from headbench.harness.files import sha256_of
from headbench.harness.pictures import picture_header
from headbench.harness.reading import Unreadable

__all__ = ["SUFFIXES", "Expected", "Header", "any_suffix", "check_header", "read_header", "read_headers"]

_Key = TypeVar("_Key")
SUFFIXES = (".png", ".jpg", ".jpeg")
"""Suffixes of image files in small letters, the preferred one first."""
_WITHOUT_PALETTE = "write 8 bits per channel, no palette: magick mogrify -type TrueColor, for masks -type Grayscale"
_ODD_MODES = {
    "P": (": a palette of at most 256 colours", _WITHOUT_PALETTE),
    "PA": (": a palette of at most 256 colours", _WITHOUT_PALETTE),
    "I;16": (": 16 bits per channel", "write 8 bits per channel: magick mogrify -depth 8 *.png"),
    "I;16B": (": 16 bits per channel", "write 8 bits per channel: magick mogrify -depth 8 *.png"),
    "I": (": 16 or 32 bits per channel", "write 8 bits per channel: magick mogrify -depth 8 *.png"),
}
"""PIL mode that no layout has -> what it is, and what helps. Black and white alone (``1``) is a mask like any other."""


@dataclass(frozen=True)
class Header:
    """Header of an image file, and the digest of the whole file."""

    digest: str = ""
    """SHA-256 of the file."""
    mode: str = ""
    """PIL's name of the mode: RGBA, RGB, L ..."""
    size: tuple[int, int] = (0, 0)
    """Width, height; pixels."""
    fault: str = ""
    """Empty, ``missing``, or what was found instead of an image."""
    orientation: int = 1
    """EXIF orientation of a JPEG: 1 is upright as stored."""
    help: str = ""
    """Action that removes the fault."""


@dataclass(frozen=True)
class Expected:
    """Mode and size that an image file has to have, with the words for messages about it."""

    modes: tuple[str, ...]
    """Modes that it may have, as PIL names them."""
    size: tuple[int, int] | None
    """Width, height in pixels; None takes any."""
    named: str = "the split's JSON names it"
    """Clause in the help about a missing file, which says what names the file."""
    sized: str = "as the JSON's w and h say"
    """Clause in the message about a wrong size, which says where the expected size stands."""
    mode_help: str = "8 bits per channel, no palette"
    """Remedy for a mode of which nothing else is known."""


def read_header(path: Path | None) -> Header:
    """Read the header and the digest of an image file; a path of None counts as a missing file."""
    if path is None:
        return Header(fault="missing")
    try:
        found = picture_header(path)
        return Header(sha256_of(path), found.mode, found.size, orientation=found.orientation)
    except Unreadable as error:
        return Header(fault="missing" if error.missing else error.found, help=error.help)


def read_headers(paths: Mapping[_Key, Path | None]) -> dict[_Key, Header]:
    """Read the headers of image files, of many in several threads.

    Args:
        paths: any key -> file, or None for a missing one.
    """
    return dict(zip(paths, spread(read_header, paths.values(), few=len(paths) <= FEW_FILES), strict=True))


def any_suffix(place: Path, stem: str, suffixes: Sequence[str] = SUFFIXES) -> Path | None:
    """Image with a given stem in a folder, PNG before JPEG, small letters before capitals; None where there is none.

    Also what is there under its name and is no file, so that it is refused rather than passed over.

    Args:
        place: the folder.
        stem: name of the image without suffix.
        suffixes: some of `SUFFIXES`.
    """
    found = (place / f"{stem}{suffix}" for given in suffixes for suffix in (given, given.upper()))
    return next((path for path in found if there(path)), None)


def check_header(path: Path, frame: str, header: Header, expected: Expected, findings: Findings) -> bool:
    """Tell whether a file is an image as expected; what is wrong is reported.

    Args:
        path: the file.
        frame: id of its frame, for messages.
        header: what `read_header` gave for it.
        expected: what it should be.
        findings: receives what is wrong.
    """
    fault = _fault(path, header, expected)
    if fault is not None:
        message, help, kind = fault
        findings.error(path, message, frame, help, kind)
    return fault is None


def _fault(path: Path, header: Header, expected: Expected) -> tuple[str, str, str] | None:
    """Message, help and kind of what is wrong with an image file; None where nothing is."""
    size = expected.size
    if header.fault == "missing":
        other = any_suffix(path.parent, path.stem)
        if other is None or other.suffix == path.suffix:
            return "expected an image, found no such file", expected.named, "image-missing"
        message = f"expected this {path.suffix[1:]} file, found {other.name}"
        return message, "a JPEG has no alpha: convert to RGBA PNG, or name it in the JSON", ""
    if header.fault:
        return f"expected an image, {header.fault}", header.help, ""
    if header.mode not in expected.modes and not (header.mode == "1" and "L" in expected.modes):
        found, help = _ODD_MODES.get(header.mode, ("", ""))
        message = f"expected 8-bit {' or '.join(expected.modes)}, found mode {header.mode}{found}"
        return message, help or expected.mode_help, f"image-mode-{header.mode}"
    if header.orientation != 1:
        return (
            f"expected pixels stored upright, found an EXIF orientation of {header.orientation}: viewers turn "
            "the image, trackers did or did not",
            "turn the pixels and remove the tag: jhead -autorot, or exiftool -Orientation=1 if tracking ignored it",
            "",
        )
    if size is not None and header.size != size:
        message = f"expected {size[0]} x {size[1]} pixels {expected.sized}, found {header.size[0]} x {header.size[1]}"
        return message, "resize images and intrinsics together", "image-size"
    return None
