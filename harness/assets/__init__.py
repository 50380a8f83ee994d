"""Files that only the user may have: register, verify, and explain where to get them."""

from __future__ import annotations

from headbench.harness.assets.kinds import BUILT, KINDS, NETWORKS, AssetKind, Built, Recognised, families, kind
from headbench.harness.assets.pickles import restricted_load, restricted_npy, torch_load
from headbench.harness.assets.store import Record, asset, home, record, records, register, verify

__all__ = [
    "BUILT",
    "KINDS",
    "NETWORKS",
    "AssetKind",
    "Built",
    "Recognised",
    "Record",
    "asset",
    "families",
    "home",
    "kind",
    "record",
    "records",
    "register",
    "restricted_load",
    "restricted_npy",
    "torch_load",
    "verify",
]
