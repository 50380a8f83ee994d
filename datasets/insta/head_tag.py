"""Which head the coefficients drive."""

from __future__ import annotations

import json

from headbench.datasets.insta.findings import Findings
from headbench.datasets.insta.layout import HEAD_FILE, Folder
from headbench.harness.errors import did_you_mean
from headbench.harness.head import TAGS

__all__ = ["REAL", "head_tag"]

REAL = "flame2020"
"""What metrical-tracker fits, and so what a folder without a word about it holds."""


def head_tag(folder: Folder, findings: Findings) -> str | None:
    """The tag in ``head_model.json``, `REAL` where there is no such file, None where it cannot be used."""
    path = folder.path / HEAD_FILE
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return REAL
    except (OSError, UnicodeDecodeError, json.JSONDecodeError) as error:
        findings.error(path, f'expected JSON such as {{"tag": "{REAL}"}}, found {error}')
        return None
    tag = content.get("tag") if isinstance(content, dict) else None
    if not isinstance(tag, str):
        findings.error(path, f"expected a text `tag`, found {tag!r}", help=f"one of {', '.join(TAGS)}")
        return None
    if tag not in TAGS:
        findings.error(path, did_you_mean("head tag", tag, TAGS))
        return None
    return tag
