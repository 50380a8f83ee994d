"""Check that the masks, head model and networks that a cell needs are there before anything trains."""

from __future__ import annotations

from typing import TYPE_CHECKING

from headbench.harness.assets import NETWORKS, asset
from headbench.harness.errors import MissingAsset

if TYPE_CHECKING:
    from headbench.harness.avatar import MethodConfig
    from headbench.harness.plugins import DatasetSpec, MethodSpec

__all__ = ["BUILT_IN_HEAD", "unmet"]

BUILT_IN_HEAD = "openhead"
"""Name of the one head model that needs no file of the user's."""


def unmet(method: MethodSpec, config: MethodConfig, dataset: DatasetSpec, head: str) -> str:
    """Why a cell cannot run, with the command that helps; empty if it can.

    Args:
        method: method of the cell.
        config: its resolved configuration.
        dataset: dataset of the cell.
        head: name of the subject's head model.
    """
    masks = (method.needs | config.needs()) - config.networks() - set(NETWORKS)
    reasons = []
    lacking = sorted(masks - dataset.provides)
    if lacking:
        has = ", ".join(sorted(dataset.provides)) or "none"
        reasons.append(f"{method.name} needs masks that {dataset.name} has not: {', '.join(lacking)} (it has: {has})")
    files = [] if head == BUILT_IN_HEAD else [f"{head}/model"]
    wanted = (method.needs | config.needs()) & (config.networks() | set(NETWORKS))
    files += [NETWORKS.get(network, network) for network in sorted(wanted)]
    for name in dict.fromkeys(files):
        try:
            asset(name)
        except MissingAsset as error:
            reasons.append(f"{error.args[0].rstrip('.')}: {error.help}" if error.help else str(error.args[0]))
    return "; ".join(reasons)
