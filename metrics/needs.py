"""What metrics need and whether it is there: registered files, masks of the data, the tracked head. Needs no torch."""

from __future__ import annotations

from collections.abc import Collection, Iterable

from headbench.harness.assets import KINDS, NETWORKS, kind, record
from headbench.harness.plugins.specs import MetricSpec
from headbench.metrics.absent import Absent, AbsentKind

__all__ = [
    "ALPHA",
    "PROJECTION",
    "REGION",
    "SEEN",
    "assets_of",
    "masks_of",
    "missing_asset",
    "missing_mask",
    "needs_of",
    "states",
]

PROJECTION = "projection"
"""Need of metrics that use the tracked head mesh projected into the image."""
ALPHA = "alpha"
"""Need of metrics that look at the person alone; datasets have it, folders of pictures may lack it."""
SEEN = "seen"
"""Computed mask of pixels that show surface which training frames show."""
REGION = "region-"
"""Beginning of the names of computed masks of regions of the person, such as region-mouth."""
_NAMES = {each.name for each in KINDS}


def needs_of(spec: MetricSpec, variant: str = "") -> frozenset[str]:
    """Names of all that a metric, or one variant of it, needs: networks, assets, masks, the head's projection."""
    known = spec.variants.get(variant)
    return spec.needs | (known.needs if known else frozenset())


def assets_of(needs: Iterable[str]) -> dict[str, str]:
    """Need -> name of the asset, of those needs that are assets; networks have a short name of their own."""
    return {need: NETWORKS.get(need, need) for need in sorted(needs) if NETWORKS.get(need, need) in _NAMES}


def masks_of(needs: Iterable[str]) -> list[str]:
    """Those needs that are masks of the dataset, sorted."""
    needs = set(needs)
    return sorted(needs - set(assets_of(needs)) - {PROJECTION, ALPHA})


def missing_asset(needs: Iterable[str]) -> Absent | None:
    """Reason that names the first needed asset that is not registered; None where all are."""
    for need, name in assets_of(needs).items():
        if record(name) is None:
            return Absent(AbsentKind.NO_WEIGHTS, f"n/a (needs {need}, which is not registered: {kind(name).command})")
    return None


def missing_mask(needs: Iterable[str], there: Collection[str]) -> Absent | None:
    """Reason that names the needed masks that are not among those of the data, `there`; None where all are."""
    lacking = [name for name in masks_of(needs) if name not in there]
    if not lacking:
        return None
    found = ", ".join(sorted(there)) or "none"
    return Absent(AbsentKind.NOT_AVAILABLE, f"n/a (needs masks of {', '.join(lacking)}; the data have {found})")


def states(needs: Iterable[str]) -> list[str]:
    """One text per need that says whether it is met, as far as that is known without a dataset; sorted."""
    needs = set(needs)
    assets = assets_of(needs)
    found = []
    for need in sorted(needs):
        if need == PROJECTION:
            found.append("the tracked head: of the data")
        elif need == ALPHA:
            found.append("alpha: of the data")
        elif need not in assets:
            computed = need == SEEN or need.startswith(REGION)
            found.append(f"mask {need}: {'computed from the tracked head' if computed else 'of the data'}")
        else:
            there = record(assets[need]) is not None
            found.append(f"{need}: {'registered' if there else f'missing, {kind(assets[need]).command}'}")
    return found
