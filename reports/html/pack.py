"""Puts data, scripts and styles into a page so that nothing of them can be taken for markup, and nothing else runs."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Sequence
from importlib.resources import files
from typing import Any

from markupsafe import Markup

__all__ = ["SCRIPTS", "STYLES", "as_json", "joined", "policy"]

STYLES = ("page.css", "tables.css", "viewer.css")
SCRIPTS = ("dom.js", "tables.js", "chart.js", "plots.js", "pictures.js", "stage.js", "viewer.js", "main.js")
"""Files of the page's styles and scripts, in the order in which they stand in it."""


def joined(names: Sequence[str]) -> Markup:
    """Text of files of this package, one after the other, for a style or script element."""
    package = files("headbench.reports.html")
    return Markup("\n" + "\n".join((package / name).read_text(encoding="utf-8") for name in names))


def as_json(value: Any) -> Markup:
    """JSON for a script element: nothing in it ends the element, and every character is visible ASCII."""
    text = json.dumps(value, ensure_ascii=True, allow_nan=False, separators=(",", ":"))
    return Markup(text.replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e"))


def policy(style: str, script: str) -> Markup:
    """Content security policy of a page: this style and this script, pictures inside it, and no request at all."""

    def digest(text: str) -> str:
        return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"

    rules = {
        "default-src": "'none'",
        "img-src": "data:",
        "style-src": digest(style),
        "script-src": digest(script),
        "base-uri": "'none'",
        "form-action": "'none'",
    }
    return Markup("; ".join(f"{name} {value}" for name, value in rules.items()))
