"""Reading of PLY files that strangers may have made: the properties of their vertices, of bounded size. NumPy only."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from headbench.harness.names import quoted
from headbench.harness.reading import Unreadable, read_bytes

__all__ = ["read_ply_vertices"]

FILE_BYTES = 2**31
"""Limit of a file's size in bytes: eight million Gaussians with spherical harmonics of degree 3."""
HEADER_BYTES = 2**16
"""Limit of the size of a header in bytes; one of a Gaussian point cloud has some 1,500."""
_KINDS = {
    **dict.fromkeys(("char", "int8"), "i1"),
    **dict.fromkeys(("uchar", "uint8"), "u1"),
    **dict.fromkeys(("short", "int16"), "<i2"),
    **dict.fromkeys(("ushort", "uint16"), "<u2"),
    **dict.fromkeys(("int", "int32"), "<i4"),
    **dict.fromkeys(("uint", "uint32"), "<u4"),
    **dict.fromkeys(("float", "float32"), "<f4"),
    **dict.fromkeys(("double", "float64"), "<f8"),
}
"""Type of a property -> numpy's code."""
_BINARY = "binary_little_endian"


def read_ply_vertices(path: Path) -> dict[str, NDArray[np.float64]]:
    """Read the properties (N,) of a binary PLY file's vertices by name, in the file's order.

    Raises:
        Unreadable: the file cannot be opened, is no binary little-endian PLY, or is cut or damaged.
    """
    content = read_bytes(path, FILE_BYTES)
    if not content.startswith((b"ply\n", b"ply\r\n")):
        raise Unreadable(path, "found no PLY file")
    end = content.find(b"end_header", 0, HEADER_BYTES)
    start = content.find(b"\n", end) + 1 if end >= 0 else 0
    if start == 0:
        raise Unreadable(path, "found a PLY file whose header does not end")
    lines = [line.split() for line in content[:end].decode("latin-1").splitlines()[1:]]
    count, dtype = _vertices(path, [words for words in lines if words and words[0] not in ("comment", "obj_info")])
    needed = count * dtype.itemsize
    if needed > len(content) - start:
        raise Unreadable(
            path,
            f"found a PLY file that promises {needed:,} bytes of vertices and has {len(content) - start:,}",
            "copy or write it again",
        )
    table = np.frombuffer(content, dtype, count, start)
    return {name: table[name].astype(np.float64) for name in dtype.names or ()}


def _vertices(path: Path, lines: list[list[str]]) -> tuple[int, np.dtype[np.void]]:
    """Number of vertices and the type of one, from a header's lines as words."""
    if not lines or lines[0][:1] != ["format"] or len(lines[0]) != 3:
        raise Unreadable(path, "found a PLY file without a line that names its format")
    if lines[0][1] != _BINARY:
        raise Unreadable(path, f"found a PLY file of format {quoted(lines[0][1])}, expected {_BINARY}")
    if len(lines) < 2 or lines[1][:2] != ["element", "vertex"] or len(lines[1]) != 3 or not lines[1][2].isdecimal():
        raise Unreadable(path, "found a PLY file that does not begin with vertices")
    digits, fields = lines[1][2], []
    for words in lines[2:]:
        if words[0] != "property":
            break
        if len(words) != 3 or words[1] not in _KINDS:
            raise Unreadable(path, f"found a PLY file whose vertices have {quoted(' '.join(words))}, which is not read")
        fields.append((words[2], _KINDS[words[1]]))
    names = [name for name, _ in fields]
    if not fields or len(set(names)) != len(names) or len(digits) > 12:
        raise Unreadable(path, "found a PLY file with a damaged header")
    return int(digits), np.dtype(fields)
