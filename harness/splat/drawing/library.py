"""The kernels' library as Python calls it: a table of sizes and pointers, and four stages that work on it."""

from __future__ import annotations

import ctypes
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor

from headbench.harness.errors import BenchError
from headbench.harness.kernels import make_current

__all__ = ["BUCKET", "PIXELS", "TILE", "Library", "Work", "zeros_like"]

TILE = 16
"""Side of a tile in pixels; as in common.cuh."""
PIXELS = TILE * TILE
"""Pixels of a tile."""
BUCKET = 32
"""Gaussians of a bucket: those of which one warp computes the gradients; as in common.cuh."""

_NUMBERS = ("images", "per_image", "channels", "width", "height", "capacity", "through", "absolute")
_LIMITS = ("alpha_max", "cut", "stop")
_POINTERS = (
    *("scratch", "radii", "means", "depths", "conics", "opacities", "colours", "background", "keys", "sorted_keys"),
    *("rows", "sorted_rows", "counts", "ends", "tiles", "sorted_tiles", "ids", "sorted_ids", "ranges", "buckets"),
    *("bucket_ends", "bucket_tiles", "wanted", "image", "alpha", "remaining", "state", "last", "to_image", "to_alpha"),
    *("to_means", "to_conics", "to_opacities", "to_colours", "to_absolute"),
)

_PROJECTED_NUMBERS = (
    *("images", "per_image", "width", "height"),
    *("own_means", "own_quats", "own_scales", "own_opacities"),
)
_PROJECTED_POINTERS = (
    *("means", "quats", "scales", "opacities", "w2c", "K", "radii", "means2d", "depths", "conics"),
    *("to_means2d", "to_depths", "to_conics", "to_means", "to_quats", "to_scales", "to_cameras"),
    *("gradient_sums", "visits"),
)

_SHADED_NUMBERS = ("images", "per_image", "degree", "stored", "channels", "own_means", "own_colours")
_SHADED_POINTERS = (
    *("means", "coefficients", "w2c", "depths", "colours"),
    *("to_colours", "to_means", "to_coefficients", "to_cameras"),
)


class _Table(ctypes.Structure):
    """The struct `Work` of library.cu."""

    _fields_ = [
        *((name, ctypes.c_int) for name in _NUMBERS),
        *((name, ctypes.c_float) for name in _LIMITS),
        ("scratch_bytes", ctypes.c_size_t),
        *((name, ctypes.c_void_p) for name in _POINTERS),
    ]


class _ProjectionTable(ctypes.Structure):
    """The struct `Projection` of library.cu."""

    _fields_ = [
        *((name, ctypes.c_int) for name in _PROJECTED_NUMBERS),
        *((name, ctypes.c_float) for name in ("margin", "low_pass", "near", "cut")),
        *((name, ctypes.c_void_p) for name in _PROJECTED_POINTERS),
    ]


class _ShadingTable(ctypes.Structure):
    """The struct `Shading` of library.cu."""

    _fields_ = [
        *((name, ctypes.c_int) for name in _SHADED_NUMBERS),
        *((name, ctypes.c_void_p) for name in _SHADED_POINTERS),
    ]


_TABLES: dict[str, type[_Table | _ProjectionTable | _ShadingTable]] = {
    "drawing": _Table,
    "projection": _ProjectionTable,
    "shading": _ShadingTable,
}


class Work:
    """Sizes, limits and tensors of one call; it keeps the tensors alive.

    Args:
        kind: of the call: drawing, projection or shading.
        numbers: sizes and limits by their names in library.cu.
    """

    def __init__(self, kind: Literal["drawing", "projection", "shading"], **numbers: float) -> None:
        self.table = _TABLES[kind](**numbers)
        self.tensors: dict[str, Tensor] = {}

    def hold(self, **tensors: Tensor) -> None:
        """Give the kernels these tensors, by their names in library.cu.

        Raises:
            ValueError: one is not contiguous, so that its memory is not what the kernels expect.
        """
        for name, tensor in tensors.items():
            if not tensor.is_contiguous():
                raise ValueError(f"{name} must be contiguous")
            setattr(self.table, name, tensor.data_ptr())
        self.tensors.update(tensors)

    def release(self, *names: str) -> None:
        """Let go of tensors that no later stage reads."""
        for name in names:
            setattr(self.table, name, None)
            self.tensors.pop(name, None)


def zeros_like(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Contiguous zeros of the shapes of tensors, in one piece of memory, so that it is filled at one go.

    Args:
        tensors: at least one; of one type and device.
    """
    first = next(iter(tensors.values()))
    # Each begins where kernels may read four numbers at once.
    sizes = [-(-tensor.numel() // 4) * 4 for tensor in tensors.values()]
    parts = first.new_zeros(sum(sizes)).split(sizes)
    return {
        name: part[: tensor.numel()].view(tensor.shape)
        for part, (name, tensor) in zip(parts, tensors.items(), strict=True)
    }


class Library:
    """The compiled kernels.

    Args:
        path: the shared library that `build.compiled` or a test has made of library.cu.

    Raises:
        BenchError: it does not load.
    """

    def __init__(self, path: Path) -> None:
        try:
            self._functions = ctypes.CDLL(str(path))
        except OSError as error:
            raise BenchError(
                f"{path}: the compiled kernels do not load.", help="delete that file; it is made again"
            ) from error

    def scratch_bytes(self, work: Work) -> int:
        """Return the bytes of scratch memory that the stages need for these sizes."""
        found = ctypes.c_size_t()
        self._check("scratch", self._functions.headbench_scratch(ctypes.byref(work.table), ctypes.byref(found)))
        return found.value

    def run(self, stage: str, work: Work, device: torch.device) -> None:
        """Start a stage on the device's current stream; nothing waits for it.

        Args:
            stage: project, project_back, shade, shade_back, measure, lists, blend or gradient.
            work: what it reads and writes.
            device: where the tensors are; the CPU for the emulation.

        Raises:
            BenchError: CUDA reports an error.
        """
        stream = None
        if device.type == "cuda":
            make_current(device)
            stream = torch.cuda.current_stream(device).cuda_stream
        function = self._functions[f"headbench_{stage}"]
        self._check(stage, function(ctypes.byref(work.table), ctypes.c_void_p(stream)))

    def _check(self, stage: str, code: int) -> None:
        if code:
            raise BenchError(
                f"The CUDA kernels failed in {stage}: error {code} of CUDA.",
                help="--rasterizer gsplat draws without them",
            )
