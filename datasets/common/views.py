"""Views of a head from all around, which synthetic subjects have beside their frames: read from ``truth/around``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from headbench.datasets.common.cameras import cameras, rigid_fault
from headbench.datasets.common.documents import read_object, shortened
from headbench.datasets.common.findings import Findings
from headbench.datasets.common.images import Expected, Header, check_header, read_headers
from headbench.datasets.common.params import each_row, head_params, numbers, numbers_of_all
from headbench.datasets.common.pixels import PixelReader
from headbench.harness.files import sha256_of
from headbench.harness.names import is_inside, name_fault
from headbench.harness.types import Frame, HeadParams, Similarity, ViewSet

__all__ = ["DOCUMENT", "FORMAT", "PLACE", "SET", "read_views"]

PLACE = "truth/around"
"""Folder of the views below the subject's."""
DOCUMENT = "views.json"
"""File in it that lists parameters, cameras and pictures."""
FORMAT = 1
"""Number of the document's layout."""
SET = "all-around"
"""Name of the view set."""
_HELP = f"write the subject again with `bench data synth`, or remove {PLACE}"
_JOINTS = ("jaw", "eye_left", "eye_right")

Floats = NDArray[np.float64]


def read_views(folder: Path, like: HeadParams, findings: Findings) -> dict[str, ViewSet]:
    """Read the views beside a subject: name of the set -> its frames; empty where there are none.

    Root, neck and translation of the views are zero. Pictures are hashed and not decoded.

    Args:
        folder: the subject's.
        like: parameters of one of its frames, whose number of coefficients and parts the views' get.
        findings: receives what is wrong.
    """
    path = folder / PLACE / DOCUMENT
    if not path.exists():
        return {}
    content = read_object(path, "views", findings, _HELP)
    if content is None or not _is_ours(content, like.head, path, findings):
        return {}
    size = content["width"], content["height"]
    entries = [entry for entry in content["frames"] if _is_named(entry, path, findings)]
    if len({entry["id"] for entry in entries}) < len(content["frames"]):
        if len(entries) == len(content["frames"]):
            findings.error(path, "expected each `id` once, found one twice", help=_HELP)
        return {}
    pictures = {entry["id"]: path.parent / entry["image"] for entry in entries}
    headers = read_headers(pictures)
    made: Sequence[Frame | None] = _good(entries, pictures, headers, size, like)
    if not made:  # one by one, which says what is wrong
        made = [_frame(row, entry, pictures, headers, size, like, path, findings) for row, entry in enumerate(entries)]
    frames = tuple(frame for frame in made if frame is not None)
    return {SET: ViewSet(frames, sha256_of(path))} if len(frames) == len(made) else {}


def _is_ours(content: dict[str, Any], head: str, path: Path, findings: Findings) -> bool:
    """Check that a document has the fields of this layout and is of the subject's head; report what is wrong."""
    expected = {"format": FORMAT, "views": SET, "head": head}
    for name, value in expected.items():
        if content.get(name) != value:
            found = shortened(content.get(name))
            findings.error(path, f"`{name}`: expected {value!r}, found {found}", help=_HELP)
            return False
    for name in ("width", "height"):
        value = content.get(name)
        if not isinstance(value, int) or isinstance(value, bool) or not 0 < value <= 16384:
            findings.error(path, f"`{name}`: expected pixels, found {shortened(value)}", help=_HELP)
            return False
    if not isinstance(content.get("frames"), list) or not content["frames"]:
        findings.error(path, f"`frames`: expected a list, found {shortened(content.get('frames'))}", help=_HELP)
        return False
    return True


def _is_named(entry: Any, path: Path, findings: Findings) -> bool:
    """Check that an entry has a name and a picture in this folder; report what is wrong."""
    if not isinstance(entry, dict):
        findings.error(path, f"`frames`: expected objects, found {shortened(entry)}", help=_HELP)
        return False
    fault = name_fault(entry.get("id"))
    if fault:
        findings.error(path, f"`id` {shortened(entry.get('id'))} cannot name a file: {fault}", help=_HELP)
        return False
    image = entry.get("image")
    if not isinstance(image, str) or not is_inside(image):
        findings.error(
            path, f"`image`: expected a file in this folder, found {shortened(image)}", entry["id"], help=_HELP
        )
        return False
    return True


def _good(
    entries: Sequence[dict[str, Any]],
    pictures: dict[str, Path],
    headers: dict[str, Header],
    size: tuple[int, int],
    like: HeadParams,
) -> list[Frame]:
    """Make the frames of all views at once, which takes a fifth of the time; none where anything may be wrong.

    Args:
        entries: of the document, with their names checked.
        pictures: id -> file.
        headers: id -> header and digest of the file.
        size: width and height of the pictures in pixels.
        like: parameters of a frame of the subject.
    """
    for entry in entries:
        header = headers[entry["id"]]
        upright = (header.fault, header.mode, header.size, header.orientation) == ("", "RGBA", size, 1)
        if not upright or header.digest != entry.get("sha256"):
            return []
    shapes = {"w2c": (4, 4), "K": (3, 3), "expression": (None,), **dict.fromkeys(_JOINTS, (3,))}
    found = {name: numbers_of_all([entry.get(name) for entry in entries], shape) for name, shape in shapes.items()}
    w2c, K, expression, jaw, left, right = found.values()
    if w2c is None or K is None or expression is None or jaw is None or left is None or right is None:
        return []
    count = like.expression.shape[1]
    if np.any(expression[:, count:]) or any(rigid_fault(pose) is not None for pose in w2c):
        return []
    params = _like(like, expression[:, :count], jaw, left, right)
    views = zip(entries, cameras(w2c, K, *size), each_row(params), strict=True)
    return [
        Frame(entry["id"], camera, pose, PixelReader(entry["id"], pictures[entry["id"]]), SET, -1 - row)
        for row, (entry, camera, pose) in enumerate(views)
    ]


def _frame(
    row: int,
    entry: dict[str, Any],
    pictures: dict[str, Path],
    headers: dict[str, Header],
    size: tuple[int, int],
    like: HeadParams,
    path: Path,
    findings: Findings,
) -> Frame | None:
    """Make the frame of one view; None where something is wrong, which has been reported.

    Args:
        row: number of the view.
        entry: of the document, with its name checked.
        pictures: id -> file.
        headers: id -> header and digest of the file.
        size: width and height of the pictures in pixels.
        like: parameters of a frame of the subject.
        path: the document, for messages.
        findings: receives what is wrong.
    """
    name = entry["id"]
    picture, header = pictures[name], headers[name]
    named = Expected(("RGBA",), size, f"{DOCUMENT} names it", f"as {DOCUMENT} says", _HELP)
    if not check_header(picture, name, header, named, findings):
        return None
    if header.digest != entry.get("sha256"):
        findings.error(picture, f"expected the picture that {DOCUMENT} hashed, found another", name, _HELP)
        return None
    w2c = numbers(path, "w2c", entry.get("w2c"), (4, 4), findings, name, _HELP)
    K = numbers(path, "K", entry.get("K"), (3, 3), findings, name, _HELP)
    params = _params(entry, like, path, findings)
    if w2c is None or K is None or params is None:
        return None
    fault = rigid_fault(w2c)
    if fault is not None:
        findings.error(path, f"`w2c`: {fault.message}", name, fault.help or _HELP)
        return None
    # No moment of the performance has this number.
    return Frame(name, cameras(w2c[None], K, *size)[0], params, PixelReader(name, picture), SET, -1 - row)


def _params(entry: dict[str, Any], like: HeadParams, path: Path, findings: Findings) -> HeadParams | None:
    """Make the parameters of a view, B = 1, with the parts that the subject's frames have.

    Args:
        entry: of the document.
        like: parameters of a frame of the subject.
        path: the document, for messages.
        findings: receives what is wrong.
    """
    expression = numbers(path, "expression", entry.get("expression"), (None,), findings, entry["id"], _HELP)
    jaw, left, right = (numbers(path, name, entry.get(name), (3,), findings, entry["id"], _HELP) for name in _JOINTS)
    if expression is None or jaw is None or left is None or right is None:
        return None
    count = like.expression.shape[1]
    if np.any(expression[count:]):
        message = f"`expression`: expected at most {count} coefficients, found {len(expression)}"
        findings.error(path, message, entry["id"], _HELP)
        return None
    return _like(like, expression[None, :count], jaw[None], left[None], right[None])


def _like(like: HeadParams, expression: Floats, jaw: Floats, left: Floats, right: Floats) -> HeadParams:
    """Make the parameters of views with the parts that a subject's frames have.

    Args:
        like: parameters of a frame of the subject.
        expression: (T, E) coefficients, of which there may be fewer than the subject's.
        jaw, left, right: (T, 3) axis-angle radians of jaw and eyes.
    """
    count, (rows, known) = like.expression.shape[1], expression.shape
    padded = np.zeros((rows, count))
    padded[:, :known] = expression
    params = head_params(like.head, padded, jaw=jaw, eye_left=left, eye_right=right)
    lids = None if like.eyelids is None else torch.zeros(rows, 2)
    still = Similarity(torch.ones(rows), torch.eye(3).repeat(rows, 1, 1), torch.zeros(rows, 3))
    return replace(params, eyelids=lids, similarity=None if like.similarity is None else still)
