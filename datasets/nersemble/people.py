"""What is the same in all sequences of a person: which head, how large the images."""

from __future__ import annotations

from pathlib import Path

from headbench.datasets.common.documents import read_object
from headbench.datasets.common.findings import Findings
from headbench.datasets.common.head_tag import HEAD_FILE, head_tag
from headbench.datasets.nersemble.benchmark import SIZE

__all__ = ["HEAD", "head_and_size"]

HEAD = "flame2023"
"""What the benchmark's tracker fits, and so what a folder without a word about it holds."""


def head_and_size(folder: Path, findings: Findings) -> tuple[str | None, int]:
    """The head's tag, None where it cannot be used, and the side of the images in pixels.

    Made-up people name both in ``head_model.json``: ``{"tag": "openhead", "size": 64}``.
    """
    tag = head_tag(folder, HEAD, findings)
    path = folder / HEAD_FILE
    if tag is None or not path.is_file():
        return tag, SIZE
    content = read_object(path, "the head's name", findings) or {}
    size = content.get("size", SIZE)
    if isinstance(size, bool) or not isinstance(size, int) or not 0 < size <= 1 << 14:
        findings.error(path, f"expected a whole number `size` of pixels, found {size!r}", help="leave it out for 512")
        return tag, SIZE
    return tag, size
