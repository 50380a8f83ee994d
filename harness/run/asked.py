"""Parse lists of methods, datasets and subjects as users write them, with commas, brackets, wildcards and backslashes.

In ``insta[bala,o*]`` a comma parts two subjects and ``*`` and ``?`` stand for letters; in ``insta[a\\,b]`` the comma is
a part of the subject's name. Brackets inside the brackets are part of a name where they come in pairs.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

__all__ = ["NONE", "asked_subjects", "escaped", "matches", "split_datasets", "split_names"]

NONE = "none"
"""Name of the protocol that renders and scores nothing."""
_SPECIAL = ",[]*?\\"
"""Characters that are part of a name only after a backslash."""


def split_names(value: Any) -> Any:
    """Split names at commas: ``a,b`` is ["a", "b"], ``a\\,b`` is ["a,b"]; members of lists are split, too."""
    return _each(value, lambda text: [part.replace("\0", ",") for part in text.replace("\\,", "\0").split(",")])


def split_datasets(value: Any) -> Any:
    """Split datasets at commas outside brackets: ``a,b[c,d]`` is ["a", "b[c,d]"]; members of lists are split, too.

    Backslashes stay for `matches`.

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
    """Split a dataset from its subjects: ``insta[bala,o*]`` is ("insta", ["bala", "o*"]); without brackets, none.

    Raises:
        ValueError: `text` has another form, or brackets with nothing between them.
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
    """Whether `pattern` means the subject `name`: ``*`` matches any text, ``?`` one letter, all else itself.

    Args:
        pattern: subject as a request names it.
        name: name of a subject.
    """
    expression = ""
    for letter, plain in _letters(pattern):
        wild = {"*": ".*", "?": "."}.get(letter) if not plain else None
        expression += wild or re.escape(letter)
    return re.fullmatch(expression, name, re.DOTALL) is not None


def escaped(name: str) -> str:
    """Name of a subject as a request writes it: with backslashes where they are needed."""
    return "".join(f"\\{letter}" if letter in _SPECIAL else letter for letter in name)


def _letters(text: str) -> list[tuple[str, bool]]:
    """Letters of `text`, each with whether a backslash made it plain; before an ordinary letter it is itself one."""
    found, position = [], 0
    while position < len(text):
        plain = text[position] == "\\" and text[position + 1 : position + 2] in tuple(_SPECIAL)
        position += plain
        found.append((text[position], plain))
        position += 1
    return found


def _split(text: str) -> list[str]:
    """Parts of `text` between commas outside brackets, backslashes kept."""
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
