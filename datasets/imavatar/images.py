"""Image files of a video: `matted/`, `image/` with `mask/`, or RGBA in `image/`; and a face parser's mouth masks."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath

from headbench.datasets.common.findings import Findings, by_number, ranges
from headbench.datasets.common.images import Expected, any_suffix, check_header, read_header, read_headers
from headbench.datasets.common.masks import all_parsed
from headbench.datasets.common.numbering import masks_renumbered
from headbench.datasets.common.paths import not_folders
from headbench.datasets.common.roots import names_in
from headbench.datasets.common.sources import Source
from headbench.datasets.imavatar.layout import Video
from headbench.datasets.imavatar.tracking import Entry
from headbench.harness.types import Pixels

__all__ = [
    "HardMatte",
    "classes_file",
    "find_images",
    "image_folder",
    "parsed_frames",
    "parsed_mouth",
    "source_of",
    "stray_images",
    "with_classes",
]

_RECIPE = "matted/ holds RGBA with background and clothing removed; or --set DATASET.matte=mask"
_PARSER = "FateAvatar's preparation makes parsing/N_mouth.png with a face parser"
_OWN_ALPHA = "without mask/ the images' own alpha is read, as of SplattingAvatar's data: make mask/, or all RGBA"


@dataclass(frozen=True)
class HardMatte:
    """Reads one frame with an alpha that is all or nothing."""

    reader: Callable[[], Pixels]

    def __call__(self) -> Pixels:
        """Decode the frame, and make its alpha 255 above one half and 0 elsewhere.

        Raises:
            DataError: the wrapped reader cannot read the frame.
        """
        pixels = self.reader()
        return replace(pixels, alpha=(pixels.alpha > 127).to(pixels.alpha.dtype) * 255)


def source_of(video: Video, entries: Sequence[Entry], matte: str) -> str:
    """Choose where the alpha of a video comes from: matted, mask or image.

    Args:
        video: the video's folder.
        entries: its frames; the first image that is there tells whether images have an alpha of their own.
        matte: the option; auto takes what is there.
    """
    if matte != "auto":
        return matte
    for place in ("matted", "mask"):
        if (video.path / place).is_dir():
            return place
    images = (_stored(video.path / image_folder(video), entry) for entry in entries)
    first = next((path for path in images if path.is_file()), None)
    return "image" if first is not None and read_header(first).mode == "RGBA" else "mask"


def image_folder(video: Video) -> str:
    """Name of a video's folder of images: ``image``, or ``images`` where only that is there."""
    return "images" if not (video.path / "image").is_dir() and (video.path / "images").is_dir() else "image"


def find_images(video: Video, entries: Sequence[Entry], matte: str, findings: Findings) -> dict[str, Source]:
    """Find the image files of every frame of a video; those that are missing or do not fit are reported and left out.

    Args:
        video: the video's folder.
        entries: its frames.
        matte: matted, mask or image, from `source_of`.
        findings: receives what is wrong, and notes.

    Returns:
        Frame id -> files.
    """
    colour = "matted" if matte == "matted" else image_folder(video)
    if colour == "images":
        findings.note("images read from images/ instead of image/")
    recipe = _RECIPE if matte == "matted" else _OWN_ALPHA
    places = (colour, "mask") if matte == "mask" else (colour,)
    # Those that would have been taken first.
    before = () if matte == "matted" else ("matted", "image", "mask")
    if not_folders([video.path / place for place in (*before, *places)], findings):
        return {}
    if matte == "mask":
        there = [Path(name).stem for name in names_in(video.path / colour)]
        if masks_renumbered(video.path / "mask", [there, [str(entry.image) for entry in entries]], findings):
            return {}
    wanted = {(entry.id, place): _stored(video.path / place, entry) for entry in entries for place in places}
    headers = read_headers(wanted)
    sizes = Counter(header.size for header in headers.values() if not header.fault)
    size = sizes.most_common(1)[0][0] if sizes else None
    expected = _expected(places, size, f"{video.tracking.name} names it", recipe)
    found: dict[str, Source] = {}
    for entry in entries:
        paths = [wanted[entry.id, place] for place in places]
        row = [headers[entry.id, place] for place in places]
        parts = zip(paths, row, expected, strict=True)
        fits = [check_header(path, entry.id, header, wants, findings) for path, header, wants in parts]
        if all(fits):
            alpha = paths[1] if len(paths) > 1 else None
            digest = "".join(header.digest for header in row)
            found[entry.id] = Source(paths[0], alpha, row[0].size, digest)
    return found


def _expected(places: Sequence[str], size: tuple[int, int] | None, named: str, recipe: str) -> list[Expected]:
    """Describe what a frame's files should be, one per folder: colours and a mask, or both in one.

    Args:
        places: names of the folders that are read.
        size: width, height in pixels; None takes any.
        named: who says that the files are there, for the help.
        recipe: help where a single file has to be RGBA.
    """
    sized = "as most images of the video have"
    if len(places) == 1:
        return [Expected(("RGBA",), size, f"{named}; {recipe}", sized, recipe)]
    return [Expected(modes, size, named, sized) for modes in (("RGB", "RGBA"), ("L", "RGB", "RGBA"))]


def _stored(place: Path, entry: Entry) -> Path:
    """File of a frame in a folder, whether its suffix is in small letters or not."""
    named = place / f"{entry.image}.png"
    return any_suffix(named.parent, named.stem, (".png",)) or named


def with_classes(images: Mapping[str, Source], classes: Mapping[str, Path], findings: Findings) -> dict[str, Source]:
    """Image files of frames whose alpha also depends on a face parser's class numbers, so that their digests do too.

    Args:
        images: frame id -> its files.
        classes: frame id -> file of its class numbers.
        findings: receives what is wrong with those.
    """
    headers = read_headers({name: classes[name] for name in images})
    found = {}
    for name, source in images.items():
        expected = Expected(("L", "RGB"), source.size, "clothing is to be removed", "as the image has")
        if check_header(classes[name], name, headers[name], expected, findings):
            found[name] = replace(source, digest=source.digest + headers[name].digest)
    return found


def parsed_frames(video: Video, entries: Sequence[Entry], findings: Findings) -> bool:
    """Tell whether every frame has a face parser's mouth mask; if not, that is a warning.

    Args:
        video: the video's folder.
        entries: its frames.
        findings: receives the warning.
    """
    masks = {entry.id: parsed_mouth(video, entry) for entry in entries}
    return all_parsed(video.path / "parsing", masks, findings, _PARSER)


def classes_file(video: Video, entry: Entry) -> Path:
    """File of a frame's class numbers from the face parser BiSeNet."""
    return video.path / "semantic" / f"{entry.image}.png"


def parsed_mouth(video: Video, entry: Entry) -> Path:
    """File of a frame's mouth mask from a face parser."""
    return video.path / "parsing" / f"{entry.image}_mouth.png"


def stray_images(video: Video, listed: Iterable[PurePosixPath], findings: Findings) -> None:
    """Warn of images that were not tracked, and of folders of images and masks that hold different numbers of files.

    Args:
        video: the video's folder.
        listed: images of all frames of the tracking, whether they can be used or not.
        findings: receives the warnings.
    """
    counts: dict[str, set[str]] = {}
    for place in ("image", "images", "mask", "matted"):
        names = {Path(name).stem for name in names_in(video.path / place) if name.lower().endswith(".png")}
        if names:
            counts[place] = {name for name in names if name.isascii() and name.isdecimal()}
    tracked = {str(image) for image in listed}
    for place in ("image", "images", "matted"):
        left = sorted(counts.get(place, set()) - tracked, key=by_number)
        if left:
            findings.warning(
                video.path / place,
                f"expected the {len(tracked)} images that {video.tracking.name} names, found {len(left)} more "
                f"({ranges(left)}): no face was found in them, or the tracking is of another video",
            )
            break
    images = counts.get("image") or counts.get("images")
    if images and "mask" in counts and len(images) != len(counts["mask"]):
        findings.warning(
            video.path / "mask",
            f"expected as many masks as images, {len(images)}, found {len(counts['mask'])}: the masks' video lost or "
            "gained frames, so that they may be off by some",
            help="make the masks again from the images",
        )
