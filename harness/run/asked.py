"""Lists of names as people write them: commas between, subjects in brackets, a backslash before what is meant as it is.

In ``insta[bala,o*]`` a comma parts two subjects and ``*`` and ``?`` stand for letters; in ``insta[a\\,b]`` the comma is
a part of the subject's name. Brackets inside the brackets are part of a name where they come in pairs.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

__all__ = ["NONE", "asked_subjects", "escaped", "matches", "split_datasets", "split_names"]

NONE = "none"
"""The protocol that renders and scores nothing."""
_SPECIAL = ",[]*?\\"
"""What a backslash before it makes a part of the name."""


def split_names(value: Any) -> Any:
    """``a,b`` as ["a", "b"], ``a\\,b`` as ["a,b"]; lists stay, their members are split too. No name is empty."""
    return _each(value, lambda text: [part.replace("\0", ",") for part in text.replace("\\,", "\0").split(",")])


def split_datasets(value: Any) -> Any:
    """``a,b[c,d]`` as ["a", "b[c,d]"]; lists stay, their members are split too. Backslashes stay for `matches`.

    Raises:
        ValueError: brackets do not come in pairs.
    """
    return _each(value, _split)


def _each(value: Any, split: Callable[[str], list[str]]) -> Any:
    if isinstance(value, str):
        return [part.strip() for part in split(value) if part.strip()]
    if isinstance(value, list | tuple):
        return [name for part in value for name in (_each(part, split) if isinstance(part, str) else [part])]
    return [value]


def asked_subjects(text: str) -> tuple[str, list[str]]:
    """``insta[bala,o*]`` as ("insta", ["bala", "o*"]); no subjects where there are no brackets.

    Raises:
        ValueError: it has another form, or brackets with nothing between them.
    """
    name, bracket, rest = text.partition("[")
    if not bracket:
        return text.strip(), []
    if not rest or _letters(rest)[-1] != ("]", False):
        raise ValueError(f"{text!r}: expected NAME[SUBJECT,SUBJECT], found more after the brackets")
    subjects = [part.strip() for part in _split(rest[:-1]) if part.strip()]
    if not subjects:
        raise ValueError(f"{text!r}: there is no subject between the brackets")
    return name.strip(), subjects


def matches(pattern: str, name: str) -> bool:
    """Whether `pattern` means the subject `name`: ``*`` and ``?`` stand for letters, all else for itself."""
    expression = ""
    for letter, plain in _letters(pattern):
        wild = {"*": ".*", "?": "."}.get(letter) if not plain else None
        expression += wild or re.escape(letter)
    return re.fullmatch(expression, name, re.DOTALL) is not None


def escaped(name: str) -> str:
    """A subject's name as it is asked for: with backslashes where they are needed."""
    return "".join(f"\\{letter}" if letter in _SPECIAL else letter for letter in name)


def _letters(text: str) -> list[tuple[str, bool]]:
    """Every letter, and whether a backslash made it plain; a backslash before any other letter is a letter itself."""
    found, position = [], 0
    while position < len(text):
        plain = text[position] == "\\" and text[position + 1 : position + 2] in tuple(_SPECIAL)
        position += plain
        found.append((text[position], plain))
        position += 1
    return found


def _split(text: str) -> list[str]:
    """The parts between commas outside brackets, backslashes kept."""
    parts, depth = [""], 0
    for letter, plain in _letters(text):
        if not plain:
            depth += {"[": 1, "]": -1}.get(letter, 0)
        if depth < 0:
            raise ValueError(f"{text!r}: a bracket is closed that was not opened; \\] is part of a name")
        if letter == "," and depth == 0 and not plain:
            parts.append("")
        else:
            parts[-1] += f"\\{letter}" if plain else letter
    if depth:
        raise ValueError(f"{text!r}: a bracket is not closed; \\[ is part of a name")
    return parts
