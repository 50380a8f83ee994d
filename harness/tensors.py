"""Reading of tensors from safetensors files that strangers may have made.

The format is harmless, but its header may be large, promise what is not there, or be no header; and the library's own
messages for that help nobody. Each file is checked here first, and refused with one sentence.
"""

from __future__ import annotations

import math
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from headbench.harness.files import atomic_path
from headbench.harness.reading import Unreadable, fault_of, open_regular, parse_json

if TYPE_CHECKING:
    import torch

__all__ = ["FLOATS", "read_arrays", "read_float_picture", "read_metadata", "read_tensors", "write_float_picture"]

FLOATS = ".safetensors"
"""Suffix of files with one picture as floats, which stand beside its PNG."""
_PICTURE = "image"
"""Name of the tensor (3, H, W) in such a file."""

HEADER_BYTES = 8 * 2**20
"""Limit of the size of a safetensors header, in bytes: some 50,000 tensors."""
_BITS = {
    **dict.fromkeys(("BOOL", "U8", "I8", "F8_E5M2", "F8_E4M3"), 8),
    **dict.fromkeys(("U16", "I16", "F16", "BF16"), 16),
    **dict.fromkeys(("U32", "I32", "F32"), 32),
    **dict.fromkeys(("U64", "I64", "F64", "C64"), 64),
}
"""Data type of a tensor, as safetensors names it -> bits per value; other types are refused."""


def read_tensors(path: Path, device: torch.device | str = "cpu") -> dict[str, torch.Tensor]:
    """Read all tensors of a safetensors file by name.

    Args:
        path: the file.
        device: where the tensors go.

    Raises:
        Unreadable: it cannot be opened, is no safetensors file, or is damaged.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    _header(path)
    try:
        return load_file(path, device=str(device))
    except (SafetensorError, OSError, ValueError, KeyError, MemoryError) as error:
        raise _damaged(path) from error


def write_float_picture(path: Path, image: torch.Tensor) -> None:
    """Write a picture (3, H, W) as half floats, not clamped, atomically.

    Args:
        path: the file; its folder is made.
        image: on any device.
    """
    import torch
    from safetensors.torch import save

    with atomic_path(path) as temporary:
        temporary.write_bytes(save({_PICTURE: image.detach().to("cpu", torch.float16).contiguous()}))


def read_float_picture(path: Path) -> torch.Tensor:
    """Read a picture that is stored as half or single floats: (3, H, W) float32, not clamped.

    Raises:
        Unreadable: it cannot be opened, is damaged, or holds no such picture with finite values.
    """
    import torch

    image = read_tensors(path).get(_PICTURE)
    if image is None or image.ndim != 3 or image.shape[0] != 3 or not image.is_floating_point():
        found = "none" if image is None else f"{tuple(image.shape)} {str(image.dtype).removeprefix('torch.')}"
        raise Unreadable(path, f"expected a tensor {_PICTURE} of (3, H, W) floats, found {found}")
    if not bool(torch.isfinite(image).all()):
        raise Unreadable(path, "found values that are not finite")
    return image.to(torch.float32)


def read_arrays(path: Path) -> dict[str, NDArray[Any]]:
    """Read all tensors of a safetensors file by name as numpy arrays, without torch.

    Raises:
        Unreadable: it cannot be opened, is no safetensors file, or is damaged.
    """
    from safetensors import SafetensorError
    from safetensors.numpy import load_file

    _header(path)
    try:
        return {name: np.asarray(array) for name, array in load_file(path).items()}
    except (SafetensorError, OSError, ValueError, KeyError, TypeError, MemoryError) as error:
        raise _damaged(path) from error


def read_metadata(path: Path) -> dict[str, str]:
    """Read the metadata of a safetensors file: texts by key, from its header.

    Raises:
        Unreadable: as for `read_tensors`.
    """
    return dict(_header(path).get("__metadata__", {}))


def _header(path: Path) -> dict[str, Any]:
    """Read the header of a safetensors file and check that all bytes that it promises are in the file."""
    try:
        with open_regular(path) as handle:
            size = os.fstat(handle.fileno()).st_size
            length = int.from_bytes(handle.read(8), "little")
            if size < 8 or length > size - 8:
                raise Unreadable(path, "found no safetensors file or one that is cut")
            if length > HEADER_BYTES:
                raise Unreadable(path, f"found a safetensors file with a header of {length:,} bytes")
            text = handle.read(length)
    except (OSError, MemoryError) as error:
        raise fault_of(path, error) from error
    header = _parsed(path, text)
    needed = max((_end(path, name, entry) for name, entry in header.items() if name != "__metadata__"), default=0)
    if needed != size - 8 - length:
        raise Unreadable(
            path, f"found a safetensors file that promises {needed:,} bytes of tensors and has {size - 8 - length:,}"
        )
    return header


def _parsed(path: Path, content: bytes) -> dict[str, Any]:
    """Parse the JSON of a safetensors header; its metadata must be texts."""
    try:
        header = parse_json(content.decode("utf-8"), path)
    except (Unreadable, UnicodeDecodeError) as error:
        raise Unreadable(path, "found no safetensors file: its header is no JSON") from error
    if not isinstance(header, dict):
        raise _damaged(path)
    about = header.get("__metadata__", {})
    if not isinstance(about, dict) or not all(isinstance(text, str) for text in about.values()):
        raise _damaged(path)
    return header


def _end(path: Path, name: str, entry: Any) -> int:
    """Return where a tensor's bytes end, counted from the header's end, once shape and type are found to fit them."""
    try:
        begin, end = entry["data_offsets"]
        sides, bits = entry["shape"], _BITS[entry["dtype"]]
        whole = all(type(number) is int and 0 <= number < 2**40 for number in (*sides, begin, end))
    except (KeyError, TypeError, ValueError) as error:
        raise _damaged(path) from error
    if not whole or len(sides) > 32 or (end - begin) * 8 != math.prod(sides) * bits:
        raise Unreadable(
            path, f"found a safetensors file whose tensor {ascii(name)[:60]} does not fit the bytes that it has"
        )
    return int(end)


def _damaged(path: Path) -> Unreadable:
    """Return the error for a safetensors file that is damaged."""
    return Unreadable(path, "found a safetensors file that is damaged or of kinds that are not read")
