"""Weights of frozen networks from registered files, and exact float32 for metrics."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from headbench.harness.assets import NETWORKS, asset, record
from headbench.harness.errors import BenchError, DataError, did_you_mean
from headbench.harness.files import sha256_of
from headbench.harness.tensors import read_tensors

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["exact_float32", "load_network", "network_sha256"]


def _asset_of(name: str) -> str:
    """Return the asset of a network; BenchError for an unknown network."""
    if name not in NETWORKS:
        raise BenchError(did_you_mean("network", name, NETWORKS))
    return NETWORKS[name]


def network_sha256(name: str) -> str:
    """Return the SHA-256 of a network's registered file.

    Raises:
        BenchError: no network has this name.
        MissingAsset: its file is not registered.
    """
    asset(_asset_of(name))
    found = record(_asset_of(name))
    return found.sha256 if found else ""


def load_network(name: str) -> dict[str, Tensor]:
    """Load the weights of a network on the CPU, float32.

    Names are ``features.K.weight`` and ``features.K.bias`` with torchvision's layer numbers, and for the lpips networks
    ``linI.weight`` (1, C, 1, 1).

    Args:
        name: vgg16, alexnet, lpips-vgg or lpips-alex.

    Raises:
        BenchError: no network has this name.
        MissingAsset: its file is not registered.
        DataError: its file is not the one that was registered.
    """
    path = asset(_asset_of(name))
    expected, found = network_sha256(name), sha256_of(path)
    if found != expected:
        raise DataError(
            f"{path} is damaged: expected SHA-256 {expected}, found {found}.", "bench assets fetch lpips --yes"
        )
    weights = read_tensors(path)
    if not name.startswith("lpips-"):
        weights = {key: value for key, value in weights.items() if key.startswith("features.")}
    return weights


@contextmanager
def exact_float32() -> Iterator[None]:
    """Compute CUDA convolutions and matrix products in full float32, not TF32, while the block runs, as metrics do."""
    cudnn, matmul = torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32
    torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = False
    try:
        yield
    finally:
        torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32 = cudnn, matmul
