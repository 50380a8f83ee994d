"""Reading files that strangers may have made: regular files only, of bounded size, in a bounded form.

Every reader of the project opens files through this module, so that a FIFO, a device, a Git LFS pointer, a bomb of YAML
aliases or a file in another encoding is refused everywhere with the same sentence.
"""

from __future__ import annotations

import functools
import json
import os
import re
import stat
from io import BufferedReader
from pathlib import Path
from typing import Any

import yaml

from headbench.harness.errors import DataError, of_system
from headbench.harness.names import quoted

__all__ = [
    "Unreadable",
    "fault_of",
    "kind_at",
    "open_regular",
    "parse_json",
    "parse_json_lines",
    "parse_yaml",
    "read_bytes",
    "read_text",
    "text_of",
]

DOCUMENT_BYTES = 256 * 2**20
"""Default limit of the size of a file that is read as a whole, in bytes."""
DEPTH = 64
"""Limit of the levels that JSON and YAML nest; files of the project and of trackers nest fewer than 10."""
YAML_NODES = 100_000
"""Limit of the nodes of a YAML document once its aliases are written out."""
YAML_CHARACTERS = 2**20
"""Limit of the characters of a YAML document; requests, presets and protocols have a few thousand."""
NUMBER_CHARACTERS = 100
"""Limit of the characters of a number or date in YAML: parsing ``1:1:1:...`` takes quadratic time."""
_TOKENS = re.compile(r'"[^"\\]*+(?:\\.[^"\\]*+)*+(?:"|\\?\Z)|[\[{\]}]', re.DOTALL)
"""Pattern of JSON's brackets and strings; one without an end matches as a whole, else the search would be quadratic."""
_NO_BRACKETS = re.compile(rf'{_TOKENS.pattern.partition("|[")[0]}|[^\[{{\]}}"]++', re.DOTALL)
"""Pattern of all else: strings, and what stands between brackets and strings."""
_POINTER = b"version https://git-lfs.github.com/spec/"
"""First bytes of the text that Git LFS leaves in place of a file that was not fetched."""
_JSON = json.JSONDecoder()
_KINDS = (
    (stat.S_ISDIR, "a folder"),
    (stat.S_ISFIFO, "a named pipe"),
    (stat.S_ISSOCK, "a socket"),
    (stat.S_ISCHR, "a device"),
    (stat.S_ISBLK, "a device"),
)


class Unreadable(DataError):
    """Error of a file that cannot be read as what it should be.

    Args:
        path: the file.
        found: what is there instead, starting with "found": ``found a named pipe``.
        help: what the user can do.
        missing: whether there is no file at all.
    """

    def __init__(self, path: Path, found: str, help: str = "", missing: bool = False) -> None:
        super().__init__(f"{path}: {found}.", help)
        self.path = path
        self.found = found
        self.missing = missing


def fault_of(path: Path, error: Exception) -> Unreadable:
    """Return an error of the operating system about a file as an `Unreadable` with a cause and a remedy."""
    if isinstance(error, Unreadable):
        return error
    if isinstance(error, FileNotFoundError):
        if path.is_symlink():
            return Unreadable(path, f"found a link to {path.readlink()}, which is not there", "mend the link")
        return Unreadable(path, "found no such file", missing=True)
    if isinstance(error, PermissionError):
        return Unreadable(path, "found a file that this user may not read", f"chmod +r {path}")
    if isinstance(error, NotADirectoryError):
        above = next(
            (parent for parent in reversed(path.parents) if kind_at(parent) not in ("", "a folder")), path.parent
        )
        return Unreadable(path, f"found {kind_at(above)} instead of the folder {above}")
    if isinstance(error, MemoryError):
        return Unreadable(path, "found a file for which memory does not suffice")
    if not isinstance(error, OSError):  # of a name with a null byte, or half of a pair
        return Unreadable(path, "found a name that no file can have", missing=True)
    said = of_system(error, "")
    reason = str(said.args[0]).rpartition(": ")[2].rstrip(".")
    return Unreadable(path, f"found a file that cannot be read: {reason}", said.help)


def kind_at(path: Path) -> str:
    """Return in words what is at a path, links followed: a file, a folder, a named pipe ...; empty where nothing is."""
    try:
        mode = path.stat().st_mode
    except (OSError, ValueError):
        return f"a link to {path.readlink()}, which is not there" if path.is_symlink() else ""
    return "a file" if stat.S_ISREG(mode) else _kind(mode)


def open_regular(path: Path) -> BufferedReader:
    """Open a regular file, or a link to one, for reading bytes.

    Anything else (a folder, a named pipe, a device, a socket) is refused before it is opened, since opening alone can
    wait for ever or do something.

    Raises:
        Unreadable: it is missing, no regular file, not permitted, or a Git LFS pointer.
    """
    handle = os.fdopen(_opened(path), "rb")
    try:
        if handle.read(len(_POINTER)) == _POINTER:
            raise _pointer(path)
        handle.seek(0)
    except BaseException:
        handle.close()
        raise
    return handle


def _opened(path: Path) -> int:
    """Open a regular file, or a link to one, for reading, and return its descriptor; else raise Unreadable."""
    try:
        _refuse_kind(path, path.stat().st_mode)
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except (OSError, ValueError) as error:
        raise fault_of(path, error) from error
    try:
        _refuse_kind(path, os.fstat(descriptor).st_mode)
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def _pointer(path: Path) -> Unreadable:
    return Unreadable(path, "found a Git LFS pointer instead of the file", f"git lfs pull in {path.parent}")


def _content(descriptor: int, limit: int) -> bytes:
    """Bytes of an open file from its beginning, `limit` at most."""
    content = os.read(descriptor, limit)
    if len(content) in (0, limit - 1):  # all of a file that keeps its size, as nearly all do
        return content
    parts, left = [content], limit - len(content)
    while left > 0 and (part := os.read(descriptor, left)):
        parts.append(part)
        left -= len(part)
    return b"".join(parts)


def read_bytes(path: Path, limit: int = DOCUMENT_BYTES) -> bytes:
    """Read all bytes of a regular file.

    Args:
        path: the file.
        limit: the most bytes that it may have.

    Raises:
        Unreadable: as for `open_regular`, or it is larger than `limit`.
    """
    try:
        descriptor = _opened(path)
        try:
            # Not just `limit`, since reading allocates memory for as many bytes as are asked for.
            content = _content(descriptor, min(os.fstat(descriptor).st_size, limit) + 1)
        finally:
            os.close(descriptor)
    except (OSError, MemoryError) as error:
        raise fault_of(path, error) from error
    if content.startswith(_POINTER):
        raise _pointer(path)
    if len(content) > limit:
        raise Unreadable(path, f"found more than {limit // 2**20} MiB, which no file of this kind has")
    return content


def read_text(path: Path, limit: int = DOCUMENT_BYTES) -> str:
    """Read a text file in UTF-8, or in UTF-16 where it begins with that byte order mark; the mark is dropped.

    Args:
        path: the file.
        limit: the most bytes that it may have.

    Raises:
        Unreadable: as for `read_bytes`, or it is in another encoding.
    """
    return text_of(read_bytes(path, limit), path)


def text_of(content: bytes, path: Path) -> str:
    """Decode a text file's bytes as `read_text` does; `path` is the file that they are from, for messages.

    Raises:
        Unreadable: they are in another encoding.
    """
    encoding = "utf-16" if content[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8"
    if content[:3] == b"\xef\xbb\xbf":
        encoding = "utf-8-sig"
    try:
        return content.decode(encoding)
    except UnicodeDecodeError as error:
        raise Unreadable(
            path, f"found bytes that are not UTF-8 text (at byte {error.start})", "save the file as UTF-8"
        ) from error


def parse_json(text: str, path: Path) -> Any:
    """Parse a JSON document; `path` is the file that it is from, for messages.

    Raises:
        Unreadable: it is no JSON, or nests deeper than `DEPTH`; the message has line and column.
    """
    # Few brackets cannot nest deep, and most files are read many times a second.
    if text.count("[") + text.count("{") > DEPTH:
        _check_depth(text, path)
    try:
        # A document that begins at once, as files of the project do; all others take the way that explains itself.
        value, end = _JSON.raw_decode(text)
        if end == len(text) or not text[end:].strip(" \t\n\r"):
            return value
    except (ValueError, RecursionError):
        pass
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        what = "an empty file" if not text.strip() else f"no JSON at line {error.lineno}, column {error.colno}"
        raise Unreadable(path, f"found {what}") from error
    except (ValueError, RecursionError) as error:
        raise Unreadable(path, "found JSON with a number of thousands of digits") from error


def _check_depth(text: str, path: Path) -> None:
    if _is_flat(text):
        return
    depth = 0
    for token in _TOKENS.finditer(text):
        depth += {"[": 1, "{": 1, "]": -1, "}": -1}.get(token.group(), 0)
        if depth > DEPTH:
            raise Unreadable(path, f"found JSON that nests more than {DEPTH} levels deep")


def _is_flat(text: str) -> bool:
    """Tell quickly if a JSON text nests at most `DEPTH` levels deep; False: it may be deeper, and is to be counted."""
    brackets = _NO_BRACKETS.sub("", text)
    for _ in range(DEPTH):
        # Takes away one level at most.
        left = brackets.replace("[]" if "[]" in brackets else "{}", "")
        if left in ("", brackets):
            return not left
        brackets = left
    return False


def parse_json_lines(text: str, path: Path) -> list[Any]:
    """Parse JSON lines, one value per line; `path` is the file that they are from, for messages.

    Raises:
        Unreadable: as for `parse_json`; the message has the line.
    """
    values = []
    for number, line in enumerate(text.removesuffix("\n").split("\n") if text else [], start=1):
        try:
            values.append(parse_json(line, path))
        except Unreadable as error:
            found = "no JSON" if line.strip() else "an empty line"
            raise Unreadable(path, f"found {found} in line {number}") from error
    return values


class _Loader(yaml.SafeLoader):
    """YAML loader that refuses more than `DEPTH` levels and numbers of more than `NUMBER_CHARACTERS` characters."""

    depth = 0

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        """Compose the next node, within the limits."""
        self.depth += 1
        if self.depth > DEPTH:
            raise yaml.YAMLError(f"it nests more than {DEPTH} levels deep")
        try:
            node = super().compose_node(parent, index)
        finally:
            self.depth -= 1
        if isinstance(node, yaml.ScalarNode) and len(node.value) > NUMBER_CHARACTERS and node.tag in _NUMBERS:
            raise yaml.YAMLError(f"a number of more than {NUMBER_CHARACTERS} characters")
        return node


_KEPT_CHARACTERS = 20_000
"""Length of the longest documents whose trees are kept."""
_NUMBERS = {f"tag:yaml.org,2002:{kind}" for kind in ("int", "float", "timestamp")}
"""YAML tags of values whose parsing may take quadratic time."""


def parse_yaml(text: str, path: Path, once: bool = False) -> Any:
    """Parse a YAML document of plain types; None for an empty one.

    Args:
        text: the document.
        path: the file that it is from, for messages.
        once: refuse a key that stands twice in one mapping; otherwise the last one counts, as elsewhere.

    Raises:
        Unreadable: it is no YAML, names types, is longer than `YAML_CHARACTERS`, nests deeper than `DEPTH`, refers to
            itself, or has more than `YAML_NODES` nodes once aliases are written out; the message has line and column.
    """
    if len(text) > YAML_CHARACTERS:
        raise Unreadable(path, f"found more than {YAML_CHARACTERS:,} characters of YAML, which no file of ours has")
    try:
        # Merging mappings changes the tree.
        keeps = len(text) <= _KEPT_CHARACTERS and "<<" not in text and "!" not in text
        node = (_tree if keeps else _tree.__wrapped__)(text)
        if node is None:
            return None
        if once:
            _refuse_twice(node, set())
        return _Loader("").construct_document(node)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        where = f" at line {mark.line + 1}, column {mark.column + 1}" if mark else ""
        raise Unreadable(path, f"found no YAML{where}: {error.problem or error.context}") from error
    except (yaml.YAMLError, ValueError, OverflowError, RecursionError) as error:
        reason = str(error)  # of `_Loader` or of this function
        if isinstance(error, yaml.reader.ReaderError):
            reason = "a character that YAML does not allow"
        elif not isinstance(error, yaml.YAMLError):
            reason = "a number or date that there is not"
        raise Unreadable(path, f"found no YAML that is read here: {reason}") from error


@functools.lru_cache(maxsize=100)
def _tree(text: str) -> yaml.Node | None:
    """Compose a YAML document, once for files that are read again and again, as protocols and presets are.

    Raises:
        yaml.YAMLError, ValueError, OverflowError, RecursionError: as `parse_yaml` tells.
    """
    # The loader itself refuses control characters.
    loader = _Loader(text)
    try:
        node: yaml.Node | None = loader.get_single_node()
    finally:
        loader.dispose()
    if node is not None and _expanded(node, {}, set()) > YAML_NODES:
        raise yaml.YAMLError(f"its aliases stand for more than {YAML_NODES:,} values")
    return node


def _expanded(node: yaml.Node, known: dict[int, int], open_: set[int]) -> int:
    """Count the nodes of a YAML tree, each alias as all that it stands for.

    Args:
        node: the root of the tree, which counts too.
        known: id of a node -> its count, as far as they were counted.
        open_: ids of the nodes around `node`; an alias to one of them would have no end.
    """
    if id(node) in open_:
        raise yaml.YAMLError("an alias stands for a value that holds it")
    if id(node) not in known:
        open_.add(id(node))
        children: list[yaml.Node] = []
        if isinstance(node, yaml.SequenceNode):
            children = list(node.value)
        elif isinstance(node, yaml.MappingNode):
            children = [part for pair in node.value for part in pair]
        known[id(node)] = 1 + sum(_expanded(child, known, open_) for child in children)
        open_.discard(id(node))
    return known[id(node)]


def _refuse_twice(node: yaml.Node, seen: set[int]) -> None:
    """Raise an error for a key that is in one mapping of a YAML tree twice; `seen` holds ids of checked nodes."""
    if id(node) in seen or not isinstance(node, yaml.CollectionNode):
        return
    seen.add(id(node))
    pairs = node.value if isinstance(node, yaml.MappingNode) else [(None, part) for part in node.value]
    keys: set[str] = set()
    for key, value in pairs:
        if isinstance(key, yaml.ScalarNode):
            if key.value in keys:
                raise yaml.MarkedYAMLError(
                    problem=f"key {quoted(key.value)} stands there twice", problem_mark=key.start_mark
                )
            keys.add(key.value)
        _refuse_twice(value, seen)


def _refuse_kind(path: Path, mode: int) -> None:
    """Raise an error where `mode` (of stat) is not that of a regular file."""
    if not stat.S_ISREG(mode):
        raise Unreadable(path, f"found {_kind(mode)} instead of a file")


def _kind(mode: int) -> str:
    """Return in words what kind of file other than a regular one has this `mode` (of stat)."""
    return next((name for is_kind, name in _KINDS if is_kind(mode)), "something that is no regular file")
