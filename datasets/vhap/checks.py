"""Checks that only `bench data check` pays for: they decode images."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

from headbench.datasets.common.findings import Findings
from headbench.datasets.common.pixels import read_alpha, read_planes
from headbench.datasets.vhap.images import Source
from headbench.datasets.vhap.loading import Loaded
from headbench.harness.errors import DataError

__all__ = ["check_pixels"]

_DECODERS = 8


def check_pixels(loaded: Loaded, findings: Findings) -> None:
    """Decode every image; GaussianAvatars' own loader would take what is missing of a cut one as grey."""
    with ThreadPoolExecutor(_DECODERS) as pool:
        found = pool.map(lambda item: (item, _decode(*item)), loaded.images.items())
        for (name, source), fault in found:
            path = source.alpha if "mask" in fault and source.alpha is not None else source.colour
            if fault.startswith("expected an image"):
                findings.error(path, fault.removesuffix(" (mask)"), name, "write it again")
            elif fault:
                findings.warning(path, fault.removesuffix(" (mask)"), name, "run the matting again")


def _decode(name: str, source: Source) -> str:
    """What is wrong, marked where it is in the mask."""
    broken = "expected an image, found one that cannot be decoded"
    try:
        planes = read_planes(source.colour, name)
    except DataError:
        return broken
    if not source.has_alpha:
        return ""
    try:
        alpha = planes[3] if source.alpha is None else read_alpha(source.alpha, name)
    except DataError:
        return f"{broken} (mask)"
    if int(alpha.min()) == int(alpha.max()):
        return f"expected an alpha that sets head and background apart, found {int(alpha.max())} everywhere (mask)"
    return ""
