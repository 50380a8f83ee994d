"""What happens to renders and truth before they are compared: small functions, one per habit of an evaluator."""

from __future__ import annotations

from headbench.metrics.prepare.bilinear import bilinear
from headbench.metrics.prepare.composite import resampled, true_image
from headbench.metrics.prepare.region import Region, hull_plane, missing_for_region, no_cloth_plane, region_of
from headbench.metrics.prepare.saving import saved

__all__ = [
    "Region",
    "bilinear",
    "hull_plane",
    "missing_for_region",
    "no_cloth_plane",
    "region_of",
    "resampled",
    "saved",
    "true_image",
]
