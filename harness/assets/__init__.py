"""Files that only the user may have: register, verify, and explain where to get them."""

from __future__ import annotations

from headbench.harness.assets.kinds import KINDS, AssetKind, Recognised, kind
from headbench.harness.assets.pickles import restricted_load, torch_load
from headbench.harness.assets.store import Record, asset, home, record, records, register, verify

__all__ = [
    "KINDS",
    "AssetKind",
    "Recognised",
    "Record",
    "asset",
    "home",
    "kind",
    "record",
    "records",
    "register",
    "restricted_load",
    "torch_load",
    "verify",
]
