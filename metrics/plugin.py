"""The built-in metrics, registered by the same hook as those of plugins. Data only: no torch is imported here."""

from __future__ import annotations

from collections.abc import Callable

from headbench.harness.plugins.hookspecs import hookimpl
from headbench.harness.plugins.specs import MetricSpec, Variant

__all__ = ["METRICS", "register_metrics"]

PSNR = MetricSpec(
    name="psnr",
    target="headbench.metrics.psnr:Psnr",
    unit="dB",
    digits=2,
    better="higher",
    label="PSNR",
    latex=r"PSNR$\uparrow$",
    meaning="peak signal-to-noise ratio, mean over frames",
    summary="peak signal-to-noise ratio of a frame, over all pixels and channels or as the mean of three channels",
    unlimited=True,
)

_SEEN = frozenset({"seen", "projection"})

FOREGROUND = MetricSpec(
    name="psnr-foreground",
    target="headbench.metrics.foreground:ForegroundPsnr",
    unit="dB",
    digits=2,
    better="higher",
    label="PSNR",
    summary="peak signal-to-noise ratio of a frame over foreground pixels alone, by what training frames show",
    needs=frozenset({"alpha"}),
    variants={
        "visible": Variant("PSNR visible", "", "PSNR over surface that a training frame shows", _SEEN),
        "hidden": Variant("PSNR hidden", "", "PSNR over surface that no training frame shows", _SEEN),
        "all": Variant("PSNR all", "", "PSNR over all foreground pixels"),
    },
    unlimited=True,
)

SSIM = MetricSpec(
    name="ssim",
    target="headbench.metrics.ssim:Ssim",
    digits=4,
    better="higher",
    label="SSIM",
    latex=r"SSIM$\uparrow$",
    meaning="structural similarity, 1 for equal images",
    summary="structural similarity under a Gaussian window, mean over windows and channels",
)

LPIPS = MetricSpec(
    name="lpips",
    target="headbench.metrics.lpips:LearnedDistance",
    digits=4,
    better="lower",
    label="LPIPS",
    summary="learned perceptual distance, version 0.1",
    variants={
        "alex": Variant(
            "LPIPS-alex", r"LPIPS\textsubscript{A}$\downarrow$", "LPIPS v0.1, AlexNet", frozenset({"lpips-alex"})
        ),
        "vgg": Variant(
            "LPIPS-vgg", r"LPIPS\textsubscript{V}$\downarrow$", "LPIPS v0.1, VGG16", frozenset({"lpips-vgg"})
        ),
    },
)

METRICS = (PSNR, FOREGROUND, SSIM, LPIPS)
"""Built-in metrics, in the order of tables."""


@hookimpl
def register_metrics(register: Callable[[MetricSpec], None]) -> None:
    """Register the built-in metrics, in the order of tables."""
    for spec in METRICS:
        register(spec)
