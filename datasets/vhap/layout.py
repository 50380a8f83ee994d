"""Where things lie: a subject's JSON files, and that images and parameters may be in a sequence's folder beside it."""

from __future__ import annotations

import re
from pathlib import Path

from headbench.datasets.common.roots import find_subjects as find
from headbench.datasets.common.sniff import outdone, points
from headbench.harness.reading import Unreadable, read_text

__all__ = ["CANONICAL", "DATASET", "PARTS", "find_subjects"]

DATASET = "vhap"
PARTS = {name: f"transforms_{name}.json" for name in ("train", "val", "test")}
CANONICAL = "canonical_flame_param.npz"
"""By whose presence GaussianAvatars knows the layout."""
_FEATURES = 2
_BESIDE = re.compile(r'_path"\s*:\s*"\.\.(?:/|\\\\)([^/"\\]+)')
"""A path into a folder beside the subject's; as text, since a file that is damaged elsewhere has parts as well."""


def find_subjects(root: Path) -> dict[str, Path]:
    """Subject -> folder, in the order of names. Sequences that a combined folder refers to are no subjects there.

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
    """Also a damaged one, so that its problems are told rather than the folder overlooked."""
    return points(path, DATASET) >= _FEATURES and not outdone(path, DATASET)


def _parts(path: Path) -> set[str]:
    """Folders beside this one that its JSON files and lists of sequences name; none where it is no combined one."""
    named: set[str] = set()
    for name in ("sequences_trainval.txt", "sequences_test.txt", *PARTS.values()):
        try:
            text = read_text(path / name)
        except Unreadable:  # told when the subject is read
            continue
        named |= set(_BESIDE.findall(text) if name.endswith(".json") else text.split())
    return named - {path.resolve().name}
