"""LPIPS columns of a protocol, or the reason why one is not there."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import TYPE_CHECKING

from headbench.harness.errors import MissingAsset
from headbench.metrics.check import check_pair
from headbench.metrics.protocol import LpipsRule, Protocol

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from headbench.harness.image import Lpips

__all__ = ["WEIGHTS_MISSING", "LpipsColumn", "default_nets", "lpips_columns"]

WEIGHTS_MISSING = "n/a (weights missing: bench assets fetch lpips)"


@dataclass(frozen=True)
class LpipsColumn:
    """A network that is ready, or why it is not."""

    key: str
    """Field of a FrameScore: lpips_alex, lpips_vgg."""
    rule: LpipsRule
    network: Lpips | None
    reason: str = ""
    weights: str = ""
    """SHA-256 of the file that the network was loaded from."""

    def __call__(self, a: Tensor, b: Tensor) -> Tensor:
        """a, b (B, 3, H, W) in [0, 1] -> (B,).

        Raises:
            ValueError: shapes differ or values leave [0, 1].
            RuntimeError: there is no network; ask `network` first.
        """
        if self.network is None:
            raise RuntimeError(self.reason)
        check_pair(a, b)
        result: Tensor = self.network(a, b, input_range=self.rule.input_range)
        return result


def default_nets(device: torch.device | str) -> frozenset[str]:
    """Networks that are computed unasked: both on CUDA, AlexNet alone on a CPU, where VGG16 takes seconds a frame."""
    return frozenset({"alex", "vgg"}) if str(device).startswith("cuda") else frozenset({"alex"})


def lpips_columns(
    protocol: Protocol, device: torch.device | str, nets: Collection[str] | None = None
) -> list[LpipsColumn]:
    """The protocol's LPIPS columns on `device`, each with its network or the reason why it is not computed.

    Args:
        protocol: whose columns.
        device: where the networks run.
        nets: networks to compute (alex, vgg); None means `default_nets`.

    Raises:
        ValueError: `nets` has an unknown name.
    """
    from headbench.harness.image import Lpips, load_network, network_sha256

    unknown = set(nets or ()) - {"alex", "vgg"}
    if unknown:
        raise ValueError(f"unknown LPIPS networks {sorted(unknown)}; known are alex and vgg")
    chosen = default_nets(device) if nets is None else nets
    columns = []
    for rule in protocol.lpips:
        key = f"lpips_{rule.net}"
        if rule.net not in chosen:
            why = "not computed on CPU" if nets is None else "not asked for"
            columns.append(LpipsColumn(key, rule, None, f"n/a ({why}; --lpips {rule.net})"))
            continue
        try:
            sha256 = network_sha256(f"lpips-{rule.net}")
            if rule.weights and rule.weights != sha256:
                reason = f"n/a (registered weights {sha256[:12]}… are not the protocol's {rule.weights[:12]}…)"
                columns.append(LpipsColumn(key, rule, None, reason))
                continue
            weights = load_network(f"lpips-{rule.net}")
        except MissingAsset:
            columns.append(LpipsColumn(key, rule, None, WEIGHTS_MISSING))
            continue
        columns.append(LpipsColumn(key, rule, Lpips(rule.net, weights).to(device), weights=sha256))
    return columns
