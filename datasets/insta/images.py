"""Which files hold the pixels of a frame, and what can be told without decoding them."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from PIL import Image, UnidentifiedImageError

from headbench.datasets.insta.findings import Findings, ranges
from headbench.datasets.insta.layout import Folder
from headbench.datasets.insta.transforms import Entry, Intrinsics

__all__ = ["Source", "find_images", "images_digest", "stray_images"]

_SUFFIXES = (".png", ".jpg", ".jpeg")
_READERS = 8
_MATTE = "RobustVideoMatting's alpha/ or INSTA's matted/ beside the images gives it"


@dataclass(frozen=True)
class Source:
    """Files of one frame; their headers have been read and fit."""

    colour: Path
    alpha: Path | None
    """None: the alpha channel of `colour`."""
    digest: str
    """SHA-256 of the bytes of both files."""


@dataclass(frozen=True)
class _Header:
    digest: str = ""
    mode: str = ""
    size: tuple[int, int] = (0, 0)
    fault: str = ""


def find_images(
    folder: Folder, entries: Sequence[Entry], intrinsics: Intrinsics, findings: Findings
) -> dict[str, Source]:
    """Frame id -> files. Frames whose files are missing or do not fit are reported and left out.

    The JSON names the images. Where the folder that it names is not there at all, ``matted/`` serves, and then
    ``imgs/`` with ``alpha/``; both are noted. Images without alpha take it from ``alpha/`` or ``matted/``.
    """
    place = _replacement(folder, entries, findings)
    wanted = {entry.id: _colour(folder, entry, place) for entry in entries}
    with ThreadPoolExecutor(_READERS) as pool:
        headers = dict(zip(wanted, pool.map(_header, wanted.values()), strict=True))
        bare = {name for name, header in headers.items() if header.mode == "RGB"}
        mattes = {name: _matte(folder, name) for name in bare}
        matte_headers = dict(zip(mattes, pool.map(_header, mattes.values()), strict=True))
    sources: dict[str, Source] = {}
    taken: dict[str, list[str]] = {}
    for entry in entries:
        name, path, header = entry.id, wanted[entry.id], headers[entry.id]
        if not _usable(folder, path, name, header, ("RGBA", "RGB"), intrinsics, findings):
            continue
        if header.mode == "RGBA":
            sources[name] = Source(path, None, header.digest)
            continue
        matte, matte_header = mattes[name], matte_headers[name]
        if matte is None:
            findings.error(
                path, "expected RGBA, found RGB and neither alpha/ nor matted/ with this frame", name, _MATTE
            )
        elif _usable(folder, matte, name, matte_header, ("L", "RGB", "RGBA"), intrinsics, findings):
            sources[name] = Source(path, matte, header.digest + matte_header.digest)
            taken.setdefault(matte.parent.name, []).append(name)
    for where, names in taken.items():
        findings.note(f"alpha of {len(names)} of {len(entries)} images read from {where}/ (images are RGB)")
    return sources


def images_digest(sources: dict[str, Source]) -> str:
    """SHA-256 over the content of all image files, by frame id."""
    total = hashlib.sha256()
    for name in sorted(sources):
        total.update(f"{name} {sources[name].digest}\n".encode())
    return total.hexdigest()


def stray_images(folder: Folder, entries: Sequence[Entry], findings: Findings) -> None:
    """Warn of numbered images beside the named ones; a loader that lists the folder would train on them."""
    named = {entry.image for entry in entries}
    for place in sorted({str(PurePosixPath(image).parent) for image in named}):
        strays = sorted(
            name
            for name in folder.present(place)
            if f"{place}/{name}" not in named and Path(name).suffix.lower() in _SUFFIXES and Path(name).stem.isdigit()
        )
        if strays:
            ids = [Path(name).stem for name in strays]
            findings.warning(
                folder.path / place,
                f"expected the {len(named)} images that the JSON files name, found {len(strays)} more ({ranges(ids)}); "
                "they are not read",
                help="the tracker's camera initialisation leaves such copies; delete them",
            )


def _replacement(folder: Folder, entries: Sequence[Entry], findings: Findings) -> str:
    """The folder to take instead of the one that the JSON names, or nothing."""
    place = PurePosixPath(entries[0].image).parent
    if (folder.path / place).is_dir():
        return ""
    if (folder.path / "matted").is_dir():
        findings.note(f"no {place}/: images read from matted/ (soft alpha, clothing removed)")
        return "matted"
    if (folder.path / "imgs").is_dir() and (folder.path / "alpha").is_dir():
        findings.note(f"no {place}/: images read from imgs/ with alpha/ (clothing not removed)")
        return "imgs"
    return ""


def _colour(folder: Folder, entry: Entry, place: str) -> Path:
    if not place:
        return folder.path / entry.image
    return _any_suffix(folder.path / place, entry.id) or folder.path / place / f"{entry.id}.png"


def _any_suffix(place: Path, stem: str) -> Path | None:
    found = (place / f"{stem}{suffix}" for suffix in _SUFFIXES)
    return next((path for path in found if path.is_file()), None)


def _matte(folder: Folder, name: str) -> Path | None:
    return _any_suffix(folder.path / "alpha", name) or _any_suffix(folder.path / "matted", name)


def _header(path: Path | None) -> _Header:
    if path is None:
        return _Header(fault="missing")
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        return _Header(fault="missing")
    except OSError as error:
        return _Header(fault=f"found a file that cannot be read: {error.strerror or error}")
    try:
        with Image.open(io.BytesIO(content)) as image:
            return _Header(hashlib.sha256(content).hexdigest(), image.mode, image.size)
    except (UnidentifiedImageError, OSError, ValueError, SyntaxError, Image.DecompressionBombError):
        return _Header(fault=f"found {len(content)} bytes that are no image")


def _usable(
    folder: Folder,
    path: Path,
    name: str,
    header: _Header,
    modes: tuple[str, ...],
    intrinsics: Intrinsics,
    findings: Findings,
) -> bool:
    if header.fault == "missing":
        other = _any_suffix(path.parent, name)
        if other is not None and other.suffix != path.suffix:
            message = f"expected this {path.suffix[1:]} file, found {other.name}"
            findings.error(path, message, name, "a JPEG has no alpha: convert to RGBA PNG, or name it in the JSON")
        else:
            findings.error(path, "expected an image, found no such file", name, "the split's JSON names it")
    elif header.fault:
        findings.error(path, f"expected an image, {header.fault}", name, "write the image again")
    elif header.mode not in modes:
        findings.error(path, f"expected 8-bit {' or '.join(modes)}, found mode {header.mode}", name, _MATTE)
    elif header.size != (intrinsics.width, intrinsics.height):
        findings.error(
            path,
            f"expected {intrinsics.width} x {intrinsics.height} pixels as the JSON's w and h say, found "
            f"{header.size[0]} x {header.size[1]}",
            name,
            "resize images and intrinsics together",
        )
    else:
        return True
    return False
