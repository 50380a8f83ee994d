"""Registering and verifying of files that only the user may have, such as FLAME, and where to get them."""

from __future__ import annotations

from headbench.harness.assets.kinds import (
    BUILT,
    KINDS,
    NETWORKS,
    AssetKind,
    Built,
    Recognised,
    Refusal,
    families,
    kind,
)
from headbench.harness.assets.pickles import restricted_load, restricted_npy, torch_load
from headbench.harness.assets.store import Record, asset, files, home, record, records, register, verify

__all__ = [
    "BUILT",
    "KINDS",
    "NETWORKS",
    "AssetKind",
    "Built",
    "Recognised",
    "Record",
    "Refusal",
    "asset",
    "families",
    "files",
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
