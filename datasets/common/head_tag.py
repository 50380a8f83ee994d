"""Head model that a subject's coefficients drive; synthetic subjects name theirs in ``head_model.json``."""

from __future__ import annotations

from pathlib import Path

from headbench.datasets.common.documents import read_object
from headbench.datasets.common.findings import Findings
from headbench.datasets.common.roots import there
from headbench.harness.errors import did_you_mean
from headbench.harness.head import TAGS

__all__ = ["HEAD_FILE", "head_tag"]

HEAD_FILE = "head_model.json"
"""File that names the head model whose coefficients the subject holds; real data have none."""


def head_tag(folder: Path, usual: str, findings: Findings) -> str | None:
    """Read the head tag from ``head_model.json``; None where it cannot be used, which has been reported.

    Args:
        folder: the subject's.
        usual: what the layout's tracker fits, such as flame2020; taken where there is no such file.
        findings: receives what is wrong.
    """
    path = folder / HEAD_FILE
    if not there(path):
        return usual
    content = read_object(path, f'JSON such as {{"tag": "{usual}"}}', findings)
    if content is None:
        return None
    tag = content.get("tag")
    if not isinstance(tag, str):
        findings.error(path, f"expected a text `tag`, found {tag!r}", help=f"one of {', '.join(TAGS)}")
        return None
    if tag not in TAGS:
        findings.error(path, did_you_mean("head tag", tag, TAGS))
        return None
    return tag
