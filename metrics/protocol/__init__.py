"""Scoring protocols: how renders are scored, as data with a name, a version and a hash. Needs no torch."""

from __future__ import annotations

from headbench.metrics.options import PsnrRule, SsimRule
from headbench.metrics.protocol.fields import VIEW_SETS
from headbench.metrics.protocol.load import load_protocol, protocol_names, protocol_path, released
from headbench.metrics.protocol.model import Asked, LpipsRule, Protocol
from headbench.metrics.protocol.tracking import TrackingLoss, TrackingRule

__all__ = [
    "VIEW_SETS",
    "Asked",
    "LpipsRule",
    "Protocol",
    "PsnrRule",
    "SsimRule",
    "TrackingLoss",
    "TrackingRule",
    "load_protocol",
    "protocol_names",
    "protocol_path",
    "released",
]
