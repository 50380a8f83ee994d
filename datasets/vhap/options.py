"""Options of the VHAP reader, each of which names a habit of other code."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from headbench.datasets.common.options import Listed, ReaderOptions

__all__ = ["VhapOptions"]


class VhapOptions(ReaderOptions):
    """Checked options of the VHAP reader; the defaults read the data as VHAP exports them."""

    principal_point: Literal["vhap", "top", "centred"] = Field(
        "vhap",
        description=(
            "vhap: cx and cy of the files, cy from the bottom edge, as VHAP's OpenGL convention has it; top: cy "
            "from the top edge, as other NeRF files have it; centred: neither, with the focal length of "
            "camera_angle_x in both directions, as GaussianAvatars reads the files."
        ),
    )
    evaluate: Literal["test", "val"] = Field(
        "test",
        description=(
            "test: train on transforms_train, test on transforms_test (self-reenactment); val: test on "
            "transforms_val (novel view). The other one is never trained on."
        ),
    )
    baked: Literal["white", "black", "none"] = Field(
        "white",
        description=(
            "white, black: the background that the images were composited on, which is taken out again at soft "
            "edges; none: colours are used as stored."
        ),
    )
    alpha: Literal["mask", "opaque"] = Field(
        "mask",
        description=(
            "mask: alpha of fg_masks/ or of RGBA images; opaque: where there is neither, take every pixel as head."
        ),
    )
    head: Literal["flame2023", "flame2020", "flame2023_open"] = Field(
        "flame2023",
        description="the FLAME version that was tracked; VHAP's default is flame2023.",
    )
    cameras: Listed = Field(
        "",
        description="camera ids to read, separated by commas; without it all of them.",
    )

    def wanted(self, camera: str) -> bool:
        """Tell whether the option `cameras` selects a camera."""
        return not self.cameras or camera in {name.strip() for name in self.cameras.split(",")}
