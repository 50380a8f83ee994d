"""Weights of frozen networks, from registered assets."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from headbench.harness.assets import asset
from headbench.harness.errors import BenchError, DataError, did_you_mean

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["NETWORKS", "exact_float32", "load_network"]

NETWORKS = {
    "vgg16": "lpips/vgg16",
    "alexnet": "lpips/alexnet",
    "lpips-vgg": "lpips/vgg16",
    "lpips-alex": "lpips/alexnet",
}
"""network -> asset; the lpips networks have their linear heads besides."""


def load_network(name: str) -> dict[str, Tensor]:
    """Weights of a network on the CPU, float32: ``features.K.weight``, ``features.K.bias`` with torchvision's layer
    numbers, and for the lpips networks ``linI.weight`` (1, C, 1, 1).

    Raises:
        BenchError: no network has this name.
        MissingAsset: its file is not registered.
        DataError: its file cannot be read.
    """
    if name not in NETWORKS:
        raise BenchError(did_you_mean("network", name, NETWORKS))
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    path = asset(NETWORKS[name])
    try:
        weights = load_file(path)
    except SafetensorError as error:
        raise DataError(
            f"{path} is not a readable safetensors file: {error}", "bench assets fetch lpips --yes"
        ) from error
    if not name.startswith("lpips-"):
        weights = {key: value for key, value in weights.items() if key.startswith("features.")}
    return weights


@contextmanager
def exact_float32() -> Iterator[None]:
    """CUDA convolutions and products in full float32, not TF32; metrics are computed so on every device."""
    cudnn, matmul = torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32
    torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = False
    try:
        yield
    finally:
        torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32 = cudnn, matmul
