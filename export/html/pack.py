"""Arrays of a page: quantised, their bytes in planes, deflated, as base64. `page/unpack.js` reads them."""

from __future__ import annotations

import base64
import math
import zlib
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from headbench.harness.errors import BenchError

__all__ = ["Packed", "Packer"]


class Packed:
    """Result of a `Packer`.

    Args:
        directory: name -> what it is and where it stands.
        text: all arrays, deflated, as base64.
    """

    def __init__(self, directory: Mapping[str, Any], text: str) -> None:
        self.directory = directory
        self.text = text


class Packer:
    """Collects arrays and packs them into one text."""

    def __init__(self) -> None:
        self._directory: dict[str, Any] = {}
        self._parts: list[bytes] = []
        self._size = 0

    def floats(self, name: str, values: NDArray[Any]) -> None:
        """Add an array as float32, as it is."""
        self._put(name, values.astype("<f4").tobytes(), {"kind": "float", "shape": list(values.shape)})

    def indices(self, name: str, values: NDArray[Any]) -> None:
        """Add whole numbers that are not negative, in 2 bytes each where they fit, otherwise in 4."""
        width = 2 if values.size == 0 or int(values.max()) < 1 << 16 else 4
        self._put(name, _planes(values, width), {"kind": "index", "bytes": width, "shape": list(values.shape)})

    def rows(
        self, name: str, values: NDArray[Any], bits: int = 16, exact_zero: bool = False, finest: float = math.inf
    ) -> NDArray[np.float32]:
        """Add an array in whole numbers, each row on a scale of its own; return what a reader gets.

        Args:
            name: of the array.
            values: (rows, n), or (frames, rows, n), of which later frames are stored as changes.
            bits: 8 or 16 for each number.
            exact_zero: whether zeros stay zeros, for arrays that hold many.
            finest: coarsest step that will do; where one would be coarser, (rows, n) stay float32.

        Raises:
            BenchError: values are not finite.
        """
        values = np.atleast_3d(values) if values.ndim == 3 else values[None]
        if not np.isfinite(values).all():
            raise BenchError(f"the avatar's {name.split('/')[-1]} have values that are not finite (NaN or infinite).")
        top = (1 << bits) - 1
        flat = values.astype(np.float64)
        low, high = flat.min(axis=(0, 2)), flat.max(axis=(0, 2))
        if exact_zero:
            step = np.maximum(np.abs(low), np.abs(high)) / (top // 2)
            low = -step * (top // 2 + 1)
        else:
            step = (high - low) / top
        step[step == 0] = 1.0
        if step.max() > finest and len(values) == 1:
            self.floats(name, values[0])
            return values.astype(np.float32)
        whole = np.clip(np.rint((flat - low[:, None]) / step[:, None]), 0, top).astype(np.int64)
        stored = np.concatenate([whole[:1], np.diff(whole, axis=0) & top])
        entry = {"kind": "rows", "bytes": bits // 8, "shape": list(values.shape)}
        self._put(name, _planes(stored, bits // 8), {**entry, "low": low.tolist(), "step": step.tolist()})
        read: NDArray[np.float32] = (low[:, None] + step[:, None] * whole).astype(np.float32)
        return read

    def packed(self) -> Packed:
        """All arrays that were added."""
        return Packed(self._directory, base64.b64encode(zlib.compress(b"".join(self._parts), 9)).decode("ascii"))

    def _put(self, name: str, content: bytes, entry: Mapping[str, Any]) -> None:
        self._directory[name] = {**entry, "offset": self._size}
        self._parts.append(content)
        self._size += len(content)


def _planes(values: NDArray[Any], width: int) -> bytes:
    """Whole numbers as `width` planes: the lowest bytes of all, then the next ones."""
    parts = values.astype("<u4").reshape(-1, 1).view(np.uint8)[:, :width]
    return np.ascontiguousarray(parts.T).tobytes()
