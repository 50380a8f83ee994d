"""The reader's options, each of which names a habit of other code."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from headbench.datasets.common.options import parse_options

__all__ = ["CHOICES", "HELP", "VhapOptions"]

CHOICES = {
    "principal_point": ("vhap", "top", "centred"),
    "evaluate": ("test", "val"),
    "baked": ("white", "black", "none"),
    "alpha": ("mask", "opaque"),
    "head": ("flame2023", "flame2020", "flame2023_open"),
}
HELP = {
    "principal_point": "vhap: cx and cy of the files, cy from the bottom edge, as VHAP's OpenGL convention has it; "
    "top: cy from the top edge, as other NeRF files have it; centred: neither, with the focal length of "
    "camera_angle_x in both directions, as GaussianAvatars reads the files.",
    "evaluate": "test: train on transforms_train, test on transforms_test (self-reenactment); val: test on "
    "transforms_val (novel view). The other one is never trained on.",
    "baked": "white, black: the background that the images were composited on, which is taken out again at soft edges; "
    "none: colours are used as stored.",
    "alpha": "mask: alpha of fg_masks/ or of RGBA images; opaque: where there is neither, take every pixel as head.",
    "head": "the FLAME version that was tracked; VHAP's default is flame2023.",
    "cameras": "camera ids to read, separated by commas; without it all of them.",
}


@dataclass(frozen=True)
class VhapOptions:
    """Checked options; the defaults read the data as VHAP exports them."""

    principal_point: str = "vhap"
    evaluate: str = "test"
    baked: str = "white"
    alpha: str = "mask"
    head: str = "flame2023"
    cameras: str = ""

    @classmethod
    def parse(cls, options: Mapping[str, object]) -> VhapOptions:
        """Options from a mapping of text, numbers or lists.

        Raises:
            DataError: an unknown option or value, with close matches.
        """
        return parse_options(cls, options, CHOICES, "vhap")

    def wanted(self, camera: str) -> bool:
        """Whether a camera is to be read."""
        return not self.cameras or camera in {name.strip() for name in self.cameras.split(",")}
