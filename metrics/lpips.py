"""LPIPS of a frame with a protocol's options, or the reason why it cannot be computed."""

from __future__ import annotations

import functools
from collections.abc import Collection
from typing import TYPE_CHECKING

from headbench.harness.errors import MissingAsset
from headbench.metrics.absent import Absent, AbsentKind
from headbench.metrics.check import check_pair, frame_by_frame
from headbench.metrics.metric import Metric
from headbench.metrics.options import LpipsOptions
from headbench.metrics.truth import Truth

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from headbench.harness.image import Lpips

__all__ = ["NETS", "WEIGHTS_MISSING", "LearnedDistance", "default_nets"]

NETS = ("alex", "vgg")
WEIGHTS_MISSING = "n/a (weights missing: bench assets fetch lpips)"


def default_nets(device: torch.device | str) -> frozenset[str]:
    """LPIPS networks used by default: both on CUDA, AlexNet alone on a CPU, where VGG16 takes seconds per frame."""
    return frozenset(NETS) if str(device).startswith("cuda") else frozenset({"alex"})


class LearnedDistance(Metric):
    """The metric LPIPS v0.1, with the network that its variant names: alex or vgg."""

    options_type = LpipsOptions
    _network: Lpips | None = None
    _weights = ""

    @classmethod
    def left_out(cls, variant: str, device: torch.device | str, asked: Collection[str] | None) -> Absent | None:
        """Reason to skip a network: VGG16 on a CPU unless asked for, and any that an explicit request does not name."""
        if variant in (default_nets(device) if asked is None else asked):
            return None
        if asked is None:
            return Absent(AbsentKind.SLOW_ON_CPU, f"n/a (not computed on CPU; --lpips {variant})")
        return Absent(AbsentKind.NOT_ASKED, f"n/a (not asked for; --lpips {variant})")

    def missing(self) -> Absent | None:
        """Why LPIPS cannot be computed: its weights are not registered, or are not those that the protocol names."""
        from headbench.harness.image import network_sha256

        try:
            found = network_sha256(f"lpips-{self.variant}")
        except MissingAsset:
            return Absent(AbsentKind.NO_WEIGHTS, WEIGHTS_MISSING)
        wanted = self.options.weights
        if wanted and wanted != found:
            text = f"n/a (registered weights {found[:12]}… are not the protocol's {wanted[:12]}…)"
            return Absent(AbsentKind.OTHER_WEIGHTS, text)
        self._weights = found
        return None

    def prepare(self) -> None:
        """Load the network onto the metric's device.

        Raises:
            DataError: the file of its weights is damaged.
        """
        from headbench.harness.image import Lpips, load_network

        network = Lpips(self.variant, load_network(f"lpips-{self.variant}"), minimal=True)  # type: ignore[arg-type]
        self._network = network.to(self.device)

    def weights(self) -> str:
        return self._weights

    def frame(self, render: Tensor, truth: Truth) -> Tensor:
        """LPIPS of each frame, (B,); `prepare` must have been called.

        One frame at a time: VGG16's features of both images are 80 times as large as an image, and the working memory
        of its convolutions grows with the batch besides.

        Raises:
            ValueError: shapes differ or values leave [0, 1].
        """
        assert self._network is not None
        check_pair(render, truth.image, truth.bounded)
        shown, true = render, truth.image
        if truth.region is not None:
            shown, true = truth.region.darkened(shown), truth.region.darkened(true)
        return frame_by_frame(functools.partial(self._network, input_range=self.options.input_range), shown, true)
