"""Image files of an INSTA subject: which hold the pixels of a frame, and what their headers say."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path, PurePosixPath

from headbench.datasets.common.findings import Findings, ranges
from headbench.datasets.common.images import SUFFIXES, Expected, any_suffix, check_header, read_headers
from headbench.datasets.common.intrinsics import Intrinsics
from headbench.datasets.common.numbering import masks_renumbered
from headbench.datasets.common.paths import not_folders
from headbench.datasets.common.sources import Source
from headbench.datasets.insta.layout import Folder
from headbench.datasets.insta.transforms import Entry

__all__ = ["find_images", "stray_images"]

_MATTE = "RobustVideoMatting's alpha/ or INSTA's matted/ beside the images gives it"


def find_images(
    folder: Folder, entries: Sequence[Entry], intrinsics: Intrinsics | None, findings: Findings
) -> dict[str, Source]:
    """Find the image files of every frame; those that are missing or do not fit are reported and left out.

    The JSON names the images. Where the folder that it names is not there at all, ``matted/`` serves, and then
    ``imgs/`` with ``alpha/``; both are noted. Images without alpha take it from ``alpha/`` or ``matted/``.

    Args:
        folder: the subject's.
        entries: its frames.
        intrinsics: None where the size that images should have is not known.
        findings: receives what is wrong, and notes.

    Returns:
        Frame id -> files.
    """
    place = _replacement(folder, entries, findings)
    if place is None:
        return {}
    wanted = {entry.id: _colour(folder, entry, place) for entry in entries}
    headers = read_headers(wanted)
    bare = [name for name, header in headers.items() if header.mode == "RGB"]
    if bare and not_folders(folder.places("alpha", "matted"), findings):
        return {}
    shifted = _renumbered(folder, entries, findings) if bare else False
    mattes = {} if shifted else {name: _matte(folder, name) for name in bare}
    matte_headers = read_headers(mattes)
    size = None if intrinsics is None else (intrinsics.width, intrinsics.height)
    sources: dict[str, Source] = {}
    taken: dict[str, list[str]] = {}
    for entry in entries:
        name, path, header = entry.id, wanted[entry.id], headers[entry.id]
        if not check_header(path, name, header, Expected(("RGBA", "RGB"), size, mode_help=_MATTE), findings):
            continue
        if header.mode == "RGBA":
            sources[name] = Source(path, None, header.size, header.digest)
        elif not shifted and mattes[name] is None:
            message = "expected RGBA, found RGB and neither alpha/ nor matted/ with this frame"
            findings.error(path, message, name, _MATTE, kind="no-alpha")
        elif not shifted:
            matte, matte_header = mattes[name], matte_headers[name]
            expected = Expected(("L", "RGB", "RGBA"), size or header.size, mode_help=_MATTE)
            if matte is not None and check_header(matte, name, matte_header, expected, findings):
                sources[name] = Source(path, matte, header.size, header.digest + matte_header.digest)
                taken.setdefault(matte.parent.name, []).append(name)
    for where, names in taken.items():
        findings.note(f"alpha of {len(names)} of {len(entries)} images read from {where}/ (images are RGB)")
    return sources


def stray_images(folder: Folder, entries: Sequence[Entry], findings: Findings) -> None:
    """Warn of numbered images beside the named ones; a loader that lists the folder would train on them.

    Args:
        folder: the subject's.
        entries: frames of both splits, whose JSON files are without fault: otherwise good images would be called stray.
        findings: receives the warnings.
    """
    named = {entry.image for entry in entries}
    for place in sorted({str(PurePosixPath(image).parent) for image in named}):
        strays = sorted(
            name
            for name in folder.present(place)
            if f"{place}/{name}" not in named and Path(name).suffix.lower() in SUFFIXES and Path(name).stem.isdigit()
        )
        if strays:
            ids = [Path(name).stem for name in strays]
            findings.warning(
                folder.path / place,
                f"expected the {len(named)} images that the JSON files name, found {len(strays)} more ({ranges(ids)}); "
                "they are not read",
                help="the tracker's camera initialisation leaves such copies; nothing to do here, but a loader that "
                "lists the folder would train on them: move them away for it",
                kind="stray-images",
            )


def _renumbered(folder: Folder, entries: Sequence[Entry], findings: Findings) -> bool:
    """Tell whether the mattes that would be read were numbered on across a gap of the images, which is an error."""
    place = next((name for name in ("alpha", "matted") if folder.present(name)), "alpha")
    return masks_renumbered(folder.path / place, [[entry.id for entry in entries]], findings)


def _replacement(folder: Folder, entries: Sequence[Entry], findings: Findings) -> str | None:
    """Folder to read instead of the one that the JSON names, or nothing; None where one is a link to nowhere."""
    place = str(PurePosixPath(entries[0].image).parent)
    if (folder.path / place).is_dir():
        return ""
    if not_folders(folder.places(place, "matted"), findings):
        return None
    if (folder.path / "matted").is_dir():
        findings.note(f"no {place}/: images read from matted/ (soft alpha, clothing removed)")
        return "matted"
    if (folder.path / "imgs").is_dir() and (folder.path / "alpha").is_dir():
        findings.note(f"no {place}/: images read from imgs/ with alpha/ (clothing not removed)")
        return "imgs"
    if not_folders(folder.places("imgs", "alpha"), findings):
        return None
    return ""


def _colour(folder: Folder, entry: Entry, place: str) -> Path:
    """File of a frame's colours: the one that the JSON names, or the one in `place` where that is given."""
    if not place:
        return folder.path / entry.image
    return any_suffix(folder.path / place, entry.id) or folder.path / place / f"{entry.id}.png"


def _matte(folder: Folder, name: str) -> Path | None:
    """File of a frame's matte in ``alpha/``, else in ``matted/``; None where there is none."""
    return any_suffix(folder.path / "alpha", name) or any_suffix(folder.path / "matted", name)
