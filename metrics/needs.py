"""What metrics need, and whether it is there: registered files, masks of the data, the tracked head. No torch."""

from __future__ import annotations

from collections.abc import Collection, Iterable

from headbench.harness.assets import KINDS, NETWORKS, kind, record
from headbench.harness.plugins.specs import MetricSpec
from headbench.metrics.absent import Absent, AbsentKind

__all__ = ["PROJECTION", "assets_of", "masks_of", "missing_asset", "missing_mask", "needs_of", "states"]

PROJECTION = "projection"
"""What a metric needs that looks where the tracked head's mesh falls."""
_NAMES = {each.name for each in KINDS}


def needs_of(spec: MetricSpec, variant: str = "") -> frozenset[str]:
    """All that a metric needs, or one variant of it."""
    known = spec.variants.get(variant)
    return spec.needs | (known.needs if known else frozenset())


def assets_of(needs: Iterable[str]) -> dict[str, str]:
    """Need -> the asset that it is, for those that are one: networks by their name or assets by theirs."""
    return {need: NETWORKS.get(need, need) for need in sorted(needs) if NETWORKS.get(need, need) in _NAMES}


def masks_of(needs: Iterable[str]) -> list[str]:
    """Those that are masks of the data."""
    needs = set(needs)
    return sorted(needs - set(assets_of(needs)) - {PROJECTION})


def missing_asset(needs: Iterable[str]) -> Absent | None:
    """The first file that is not registered."""
    for need, name in assets_of(needs).items():
        if record(name) is None:
            return Absent(AbsentKind.NO_WEIGHTS, f"n/a (needs {need}, which is not registered: {kind(name).command})")
    return None


def missing_mask(needs: Iterable[str], there: Collection[str]) -> Absent | None:
    """The masks that the data lack, of those that are needed."""
    lacking = [name for name in masks_of(needs) if name not in there]
    if not lacking:
        return None
    found = ", ".join(sorted(there)) or "none"
    return Absent(AbsentKind.NOT_AVAILABLE, f"n/a (needs masks of {', '.join(lacking)}; the data have {found})")


def states(needs: Iterable[str]) -> list[str]:
    """Each need with whether it is there, as far as that can be known without data; sorted."""
    needs = set(needs)
    assets = assets_of(needs)
    found = []
    for need in sorted(needs):
        if need == PROJECTION:
            found.append("the tracked head: of the data")
        elif need not in assets:
            found.append(f"mask {need}: of the data")
        else:
            there = record(assets[need]) is not None
            found.append(f"{need}: {'registered' if there else f'missing, {kind(assets[need]).command}'}")
    return found
