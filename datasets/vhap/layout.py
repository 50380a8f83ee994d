"""Layout of VHAP's exports on disk: a subject's JSON files, whose images may lie in a sequence's folder beside it."""

from __future__ import annotations

import re
from pathlib import Path

from headbench.datasets.common.roots import find_subjects as find
from headbench.datasets.common.sniff import outdone, points
from headbench.harness.reading import Unreadable, read_text

__all__ = ["CANONICAL", "DATASET", "PARTS", "find_subjects"]

DATASET = "vhap"
PARTS = {name: f"transforms_{name}.json" for name in ("train", "val", "test")}
"""Part of the split -> name of its JSON file."""
CANONICAL = "canonical_flame_param.npz"
"""File by whose presence GaussianAvatars knows the layout: the parameters of the neutral head."""
_FEATURES = 2
"""Least points of `sniff.points` for a folder to be a subject's."""
_BESIDE = re.compile(r'_path"\s*:\s*"\.\.(?:/|\\\\)([^/"\\]+)')
"""Pattern of a path into a folder beside the subject's.

It is searched for in text, since a file that is damaged elsewhere names such folders as well."""


def find_subjects(root: Path) -> dict[str, Path]:
    """Find subjects of VHAP's layout: name -> folder, in the order of names.

    Sequences that a combined folder refers to are no subjects there.

    Raises:
        DataError: nothing of this layout is there.
    """
    found = find(root, DATASET, _is_subject, PARTS["train"])
    if len(found) == 1:
        return found
    parts = {name: _parts(path) for name, path in found.items()}
    used = {part for named in parts.values() for part in named}
    # Folders that name each other are both combined: neither goes.
    return {name: path for name, path in found.items() if name not in used or parts[name]}


def _is_subject(path: Path) -> bool:
    """Tell whether a folder is a VHAP subject's, even a damaged one, so that its problems are reported."""
    return points(path, DATASET) >= _FEATURES and not outdone(path, DATASET)


def _parts(path: Path) -> set[str]:
    """Names of the folders beside this one that its files refer to; none if it is not a combined one."""
    named: set[str] = set()
    for name in ("sequences_trainval.txt", "sequences_test.txt", *PARTS.values()):
        try:
            text = read_text(path / name)
        except Unreadable:  # reported when the subject is read
            continue
        named |= set(_BESIDE.findall(text) if name.endswith(".json") else text.split())
    return named - {path.resolve().name}
