"""Loading of head models by tag, from the built-in data or the user's registered files."""

from __future__ import annotations

import torch

from headbench.harness.errors import BenchError, did_you_mean
from headbench.harness.head.arrays import TOPOLOGIES, HeadArrays
from headbench.harness.head.model import HeadModel

__all__ = ["TAGS", "load_arrays", "load_head"]

TAGS = ("flame2020", "flame2023", "flame2023_open", "openhead")
"""Tags of all head models; coefficients of one tag mean nothing to another."""


def load_arrays(tag: str, topology: str = "open") -> HeadArrays:
    """Load the plain arrays of a head model.

    Args:
        tag: one of TAGS.
        topology: open, mouth_closed or teeth.

    Raises:
        BenchError: no such tag or topology.
        MissingAsset: the FLAME model of this tag is not registered.
        DataError: a registered file is not what it should be.
    """
    if tag not in TAGS:
        raise BenchError(did_you_mean("head model", tag, TAGS))
    if topology not in TOPOLOGIES:
        raise BenchError(did_you_mean("topology", topology, TOPOLOGIES))
    if tag == "openhead":
        from headbench.harness.head import openhead

        return openhead.load_arrays(topology)
    from headbench.harness.head.flame import load_arrays as load_flame

    return load_flame(tag, topology)


def load_head(tag: str, topology: str = "open", device: torch.device | str = "cpu") -> HeadModel:
    """Load a head model in float32.

    Args:
        tag: one of TAGS.
        topology: open, mouth_closed or teeth.
        device: where its tensors are put.

    Raises:
        BenchError: no such tag or topology.
        MissingAsset: the FLAME model of this tag is not registered; the message says how.
        DataError: a registered file is not what it should be.

    Example:
        >>> head = load_head("openhead", "teeth")
        >>> head.tag, head.topology, len(head.parents)
        ('openhead', 'teeth', 5)
    """
    return HeadModel(load_arrays(tag, topology)).to(device)
