"""Re-enactment: one subject's avatar, driven by the performance of another, across layouts and methods."""

from headbench.reenact.driver import SPLITS, Driver, read_driver
from headbench.reenact.enact import RECORD, Output, Pair, measure_detours, plan_pairs, write_pairs
from headbench.reenact.performance import Head, Performance, head_of, performance_of, smoothed
from headbench.reenact.source import Source, sources_of
from headbench.reenact.transfer import Options, Transferred, transfer

__all__ = [
    "RECORD",
    "SPLITS",
    "Driver",
    "Head",
    "Options",
    "Output",
    "Pair",
    "Performance",
    "Source",
    "Transferred",
    "head_of",
    "measure_detours",
    "performance_of",
    "plan_pairs",
    "read_driver",
    "smoothed",
    "sources_of",
    "transfer",
    "write_pairs",
]
