"""Facts that all sequences of a person share: which head model, and how large the images are."""

from __future__ import annotations

from pathlib import Path

from headbench.datasets.common.documents import read_object, shortened
from headbench.datasets.common.findings import Findings
from headbench.datasets.common.head_tag import HEAD_FILE, head_tag
from headbench.datasets.common.roots import there
from headbench.datasets.nersemble.benchmark import SIZE

__all__ = ["HEAD", "head_and_size"]

HEAD = "flame2023"
"""Head model that the benchmark's tracker fits, and so that of a folder without ``head_model.json``."""


def head_and_size(folder: Path, findings: Findings) -> tuple[str | None, int | None]:
    """Read the head's tag and the side of the images in pixels, each None where it cannot be used.

    Synthetic people name both in ``head_model.json``: ``{"tag": "openhead", "size": 64}``.
    """
    path = folder / HEAD_FILE
    tag = head_tag(folder, HEAD, findings)
    if not there(path):
        return tag, SIZE
    # A file that cannot be read has been reported.
    content = read_object(path, "the head's name", Findings())
    if content is None or (tag is None and "size" not in content):
        return None, None
    size = content.get("size", SIZE)
    if isinstance(size, bool) or not isinstance(size, int) or not 0 < size <= 1 << 14:
        findings.error(
            path, f"expected a whole number `size` of pixels, found {shortened(size)}", help="leave it out for 512"
        )
        return tag, None
    return tag, size
