"""Checks over all JSON files of a VHAP subject: moments without gaps, nothing twice, heads before their cameras."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from headbench.datasets.common.cameras import FAR, NEAR
from headbench.datasets.common.findings import Findings, ranges
from headbench.datasets.common.splits import check_disjoint, check_unique
from headbench.datasets.vhap.layout import PARTS
from headbench.datasets.vhap.transforms import Entry

__all__ = ["check_heads", "check_parts"]

Floats = NDArray[np.float64]


def check_parts(
    folder: Path, parts: Mapping[str, Sequence[Entry]], evaluate: str, whole: bool, findings: Findings
) -> None:
    """Compare the parts of the split: frames that come twice, parts without frames, moments that are missing.

    Args:
        folder: the subject's.
        parts: train, val or test -> all of its frames.
        evaluate: the part that is tested on.
        whole: whether the JSON files are without fault, so that what they do not name is not there.
        findings: receives the errors.
    """
    for part, entries in parts.items():
        check_unique(folder / PARTS[part], [entry.id for entry in entries], findings)
    ids = {part: [entry.id for entry in entries] for part, entries in parts.items()}
    for first, second in (("train", "val"), ("train", "test"), ("val", "test")):
        check_disjoint(folder / PARTS[second], ids[first], ids[second], findings)
    for part in ("train", evaluate):
        if not parts[part] and (folder / PARTS[part]).is_file() and whole:
            others = (
                ", ".join(f"{len(entries)} in {name}" for name, entries in parts.items() if entries) or "none at all"
            )
            findings.error(
                folder / PARTS[part],
                f"expected {'training' if part == 'train' else 'test'} frames, found none ({others})",
                help="a single camera has no transforms_val frames: --set vhap.evaluate=test"
                if part == "val"
                else "export or combine again, so that there are frames to train and to test on",
            )
    moments = sorted({entry.timestep for entries in parts.values() for entry in entries})
    if moments and moments != list(range(len(moments))) and whole:
        gap = next(k for k, moment in enumerate(moments) if moment != k)
        findings.error(
            folder / PARTS["train"],
            f"`timestep_index`: expected 0 to {len(moments) - 1} without gaps over all JSON files, found no {gap} "
            f"({ranges([f'{moment:05d}' for moment in moments])})",
            help="VHAP numbers the moments that it exports; GaussianAvatars uses them as places in a list",
        )


def check_heads(folder: Path, entries: Sequence[Entry], places: Mapping[int, Floats], findings: Findings) -> None:
    """Report an error where a head is behind its camera, a warning where it is too near or too far.

    Args:
        folder: the subject's, for messages.
        entries: frames to check; those without a usable pose are passed over.
        places: timestep -> translation of the head (3,) metres.
        findings: receives the problems.
    """
    odd: list[tuple[str, float]] = []
    for entry in (entry for entry in entries if entry.posed):
        place = entry.w2c[:3, :3] @ places[entry.timestep] + entry.w2c[:3, 3]
        if place[2] > 0:
            odd += [] if NEAR < place[2] < FAR else [(entry.id, float(place[2]))]
            continue
        found = f"transform_matrix: expected the head in front of the camera, found it {-place[2]:.2f} m behind"
        upside_down = entry.w2c[1, 1] > 0
        hint = ": looks like OpenCV axes (y down, z forward), this layout has OpenGL axes" if upside_down else ""
        findings.error(
            folder,
            found + hint,
            entry.id,
            "negate columns 2 and 3 of every transform_matrix" if upside_down else "is it camera to world?",
        )
    if odd:
        findings.warning(
            folder,
            f"expected the head {NEAR:g} to {FAR:g} m before the camera, found {odd[0][1]:.3g} m in {len(odd)} images "
            f"({ranges([name for name, _ in odd])}): cameras not in metres, such as COLMAP's?",
            odd[0][0],
            "scale the cameras to metres before tracking",
        )
