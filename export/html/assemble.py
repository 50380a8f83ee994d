"""The page as text: template, style and scripts put together, texts of files escaped, and all requests forbidden."""

from __future__ import annotations

import base64
import hashlib
import html
import json
from collections.abc import Mapping, Sequence
from functools import cache
from importlib.resources import files
from string import Template
from typing import Any

from headbench.export.html.pack import Packed
from headbench.harness.names import printable

__all__ = ["Words", "assembled"]

_SCRIPTS = ("unpack", "head", "faces", "carry", "recorded", "fitted", "clip", "draw", "orbit", "page")


class Words:
    """Texts of a page that people read; they may come from files.

    Args:
        title: of the page.
        summary: one sentence below it.
        facts: (name, text) of the section About.
    """

    def __init__(self, title: str, summary: str, facts: Sequence[tuple[str, str]]) -> None:
        self.title = title
        self.summary = summary
        self.facts = facts


def assembled(words: Words, about: Mapping[str, Any], arrays: Packed) -> str:
    """The whole page.

    Args:
        words: for people.
        about: for the script.
        arrays: of the avatar.
    """
    script = "(() => {\n'use strict';\n" + "\n".join(_read(f"{name}.js") for name in _SCRIPTS) + "})();\n"
    style = _read("page.css")
    facts = "".join(f"<dt>{_escaped(name)}</dt><dd>{_escaped(text)}</dd>" for name, text in words.facts)
    policy = (
        f"default-src 'none'; script-src '{_hash(script)}'; style-src '{_hash(style)}'; "
        "base-uri 'none'; form-action 'none'"
    )
    data = json.dumps({**about, "arrays": arrays.directory}, separators=(",", ":"), ensure_ascii=True)
    return Template(_read("page.html")).substitute(
        policy=policy,
        title=_escaped(words.title),
        summary=_escaped(words.summary),
        picture=_escaped(f"Head avatar: {words.title}"),
        about=f"<dl>{facts}</dl>",
        style=style,
        # No text of a file can end the element: what could is written as an escape of JSON.
        data=data.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026"),
        arrays=arrays.text,
        script=script,
    )


def _escaped(text: str) -> str:
    """A text of a stranger as text of a page."""
    return html.escape(printable(text), quote=True)


def _hash(text: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode("ascii")


@cache
def _read(name: str) -> str:
    return files(__package__).joinpath("page", name).read_text(encoding="utf-8")
