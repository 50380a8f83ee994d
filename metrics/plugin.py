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

_REGIONS = {
    "face": "face, without eyes and mouth",
    "eyes": "eyes with their lids",
    "mouth": "lips and what they enclose",
    "ears": "ears",
    "hair": "hair",
    "neck": "neck and clothing",
    "bare-neck": "neck without clothing",
    "cloth": "clothing and shoulders",
}

REGION = MetricSpec(
    name="psnr-region",
    target="headbench.metrics.regions:RegionPsnr",
    unit="dB",
    digits=2,
    better="higher",
    label="PSNR",
    summary="peak signal-to-noise ratio of a frame over foreground pixels of one region of the person",
    needs=frozenset({"alpha", "projection"}),
    variants={
        name: Variant(f"PSNR {name.replace('-', ' ')}", "", f"PSNR over {what}", frozenset({f"region-{name}"}))
        for name, what in _REGIONS.items()
    },
    unlimited=True,
)

FLICKER = MetricSpec(
    name="flicker-difference",
    target="headbench.metrics.temporal:Flicker",
    unit="levels",
    digits=2,
    better="lower",
    label="Flicker",
    scope="pair",
    meaning="change from frame to frame beside the truth's, mean absolute difference in levels of 8 bit",
    summary="difference of a render's change since the frame before from the truth's, over the person",
)

SHARPNESS = MetricSpec(
    name="sharpness",
    target="headbench.metrics.sharpness:Sharpness",
    digits=3,
    label="Sharpness",
    meaning="fine detail as a share of the truth's, 1 where equal, less where blurred, more where noisy; not ranked",
    summary="ratio of the Laplacians of render and truth inside the person",
)

METRICS = (PSNR, FOREGROUND, SSIM, LPIPS, REGION, FLICKER, SHARPNESS)
"""Built-in metrics, in the order of tables."""


@hookimpl
def register_metrics(register: Callable[[MetricSpec], None]) -> None:
    """Register the built-in metrics, in the order of tables."""
    for spec in METRICS:
        register(spec)
