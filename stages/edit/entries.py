"""Entries of a stack of edits: what each does, with every value that decides its result."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from headbench.harness.avatar import Section

__all__ = [
    "ColourMap",
    "Entry",
    "Frame",
    "Network",
    "Placement",
    "Rectangle",
    "Region",
    "Sticker",
    "Style",
    "Swap",
    "Wash",
    "files_of",
]

_Share = Annotated[float, Field(ge=0, le=1)]
_Finite = Annotated[float, Field(allow_inf_nan=False)]
_Three = tuple[_Finite, _Finite, _Finite]
_File = Annotated[str, Field(pattern=r"^[0-9a-f]{64}\.(png|jpg|safetensors|onnx|t7)$")]
"""Name of a file beside the stack: the SHA-256 of its bytes, and a suffix."""
_Feather = Annotated[float, Field(ge=0, le=0.2)]
"""Width of a soft edge along the surface, in metres, half of it inside."""
_Name = Annotated[str, Field(max_length=255)]


class Rectangle(Section):
    """Place of a picture in a rectangle of the atlas."""

    on: Literal["uv"] = "uv"
    box: tuple[_Finite, _Finite, _Finite, _Finite] = (0.0, 0.0, 1.0, 1.0)
    """u and v of the lower left, u and v of the upper right corner; v up."""
    rows: Literal["v_down", "v_up"] = "v_down"
    """Edge at which the picture's first row lies. v_down: at the upper edge, so that the picture is upright in the
    atlas; v_up: at the lower one, upside down, as FATE's released editor draws its stickers."""

    @model_validator(mode="after")
    def _has_area(self) -> Rectangle:
        if not (self.box[0] < self.box[2] and self.box[1] < self.box[3]):
            raise ValueError("box: expected u0,v0,u1,v1 with u0 < u1 and v0 < v1")
        return self


class Region(Section):
    """Place of a picture on a named region of the head at rest."""

    on: Literal["region"] = "region"
    region: _Name
    fill: Annotated[float, Field(gt=0, le=4)] = 0.8
    """Share of the region's extents that the picture fills."""
    angle: _Finite = 0.0
    """Degrees by which the picture is turned counter-clockwise."""
    feather: _Feather = 0.004


class Frame(Section):
    """Place of a picture in a view: pose and camera are kept, so the data is not needed again."""

    on: Literal["frame"] = "frame"
    frame: _Name
    """Id of the frame, for people."""
    at: tuple[_Finite, _Finite]
    """x and y of the picture's centre, in pixels of the view."""
    size: Annotated[float, Field(gt=0, le=1e5)]
    """Width of the picture in pixels of the view."""
    angle: _Finite = 0.0
    """Degrees by which the picture is turned counter-clockwise."""
    params: dict[str, Any]
    """Head parameters of the view by field; `head` is the tag."""
    camera: dict[str, Any]
    """Camera of the view by field."""


Placement = Annotated[Rectangle | Region | Frame, Field(discriminator="on")]


class _Entry(Section):
    """What all entries have."""

    opacity: _Share = 1.0
    """How much of the edit shows."""


class Sticker(_Entry):
    """A picture with alpha, laid on the head."""

    kind: Literal["sticker"] = "sticker"
    picture: _File
    name: _Name = ""
    """Name of the file that the user gave, for lists."""
    place: Placement
    blend: Literal["normal", "multiply", "screen"] = "normal"
    """normal lays the picture over the colours; multiply darkens, as ink on skin; screen brightens, as light does."""


class Wash(_Entry):
    """One colour over a region; light and dark stay."""

    kind: Literal["wash"] = "wash"
    colour: tuple[_Share, _Share, _Share]
    """RGB."""
    region: _Name
    feather: _Feather = 0.01


class Style(_Entry):
    """A picture's style, by Gram matrices of VGG16's features (Gatys et al., 2016)."""

    kind: Literal["style"] = "style"
    picture: _File
    name: _Name = ""
    region: _Name = "all"
    feather: _Feather = 0.01
    keep_luminance: bool = False
    """Whether the luma of the colours stays, and only their hue and saturation change."""
    steps: Annotated[int, Field(ge=1, le=5000)] = 200
    rate: Annotated[float, Field(gt=0, le=1)] = 0.05
    """Adam's learning rate, in colour."""
    content: Annotated[float, Field(ge=0, le=1e6)] = 0.2
    """Weight of the map's own features (relu3_3) against those of the style."""
    noise: _Share = 0.02
    """Standard deviation of the noise that is added at the start, in colour."""
    seed: Annotated[int, Field(ge=0, lt=2**31)] = 0
    """Seed of that noise."""


class Network(_Entry):
    """A feed-forward network of the user's, over the whole atlas."""

    kind: Literal["network"] = "network"
    file: _File
    name: _Name = ""
    region: _Name = "all"
    feather: _Feather = 0.01
    keep_luminance: bool = False
    order: Literal["rgb", "bgr"] = "bgr"
    """Order of the channels that the network gets and gives."""
    means: _Three = (103.939, 116.779, 123.68)
    """Means that are taken from the channels, in that order, and added again afterwards."""
    rounding: Literal["nearest", "truncate", "none"] = "none"
    """How colours become whole numbers from 0 to 255 before and after the network; none keeps fractions."""


class Swap(_Entry):
    """Colours of another baked avatar of the same topology."""

    kind: Literal["swap"] = "swap"
    file: _File
    """Tensor `colour` (3, S, S) of the other avatar, row 0 at v = 0."""
    name: _Name = ""
    layout: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
    """SHA-256 of the other head's faces and texture coordinates."""
    region: _Name = "all"
    feather: _Feather = 0.01


class ColourMap(_Entry):
    """A colour map that a person changed; texels that are as they were written out keep all their digits."""

    kind: Literal["colour_map"] = "colour_map"
    picture: _File
    name: _Name = ""


Entry = Annotated[Sticker | Wash | Style | Network | Swap | ColourMap, Field(discriminator="kind")]


def files_of(entry: Any) -> list[str]:
    """Names of the files beside the stack that an entry reads."""
    return [getattr(entry, key) for key in ("picture", "file") if hasattr(entry, key)]
