"""Maps: attributes of Gaussians as continuous textures, and their look-up at texture coordinates."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional

from headbench.harness.errors import BenchError

from .pictures import read_colour_png, read_maps, write_maps

__all__ = ["CHANNELS", "DC", "Attributes", "Look", "Maps", "Rows", "read_colour_png"]

Rows = Literal["v_up", "v_down"]
"""Order of a map's rows. v_up: row 0 is v = 0; v_down: row 0 is v = 1, as in a picture."""

DC = 0.28209479177387814
"""Value of the spherical harmonic of degree 0: RGB is DC dc + 0.5."""

CHANNELS: Mapping[str, int] = {"colour": 3, "opacity": 1, "scaling": 3, "rotation": 4, "offset": 1}
"""Channels of each map, in the order in which they are packed."""


@dataclass(frozen=True)
class Attributes:
    """What the maps say at N places, before the carrier is posed."""

    dc: Tensor
    """(N, 3) coefficients of spherical harmonics of degree 0."""
    opacity: Tensor
    """(N,) logits."""
    scaling: Tensor
    """(N, 3) natural logarithms of metres on the canonical mesh."""
    rotation: Tensor
    """(N, 4) quaternions (w, x, y, z) in the frame of the face, not normalised."""
    offset: Tensor
    """(N,) share of the largest offset, in [-1, 1], before a second tanh."""

    def for_density(self, ratio: Tensor) -> Attributes:
        """Attributes that look the same where Gaussians stand closer or farther apart.

        Where they stand farther apart they grow, to cover the same surface. Where they stand closer, each takes away
        less light, so that as many as there are now take away what fewer did; their size stays, since colours were
        trained for it.

        Args:
            ratio: (N,) logarithm of the density that the attributes are for, divided by the density that there is.
        """
        optical = functional.softplus(self.opacity) * ratio.clamp(max=0).exp()
        closer = optical + torch.log(-torch.expm1(-optical))
        return replace(
            self,
            opacity=torch.where(ratio < 0, closer, self.opacity),
            scaling=self.scaling + 0.5 * ratio.clamp(min=0)[:, None],
        )


@dataclass(frozen=True)
class Maps:
    """Square textures of one size S with what a look-up interpolates, float32.

    Example:
        >>> maps = Maps.uniform(16)
        >>> maps.size, maps.colour.shape
        (16, torch.Size([3, 16, 16]))
        >>> float(maps.look_up(Look.at(torch.tensor([[0.5, 0.5]]), 16)).opacity)
        0.0
    """

    colour: Tensor
    """(3, S, S) RGB, in [0, 1] as rendered."""
    opacity: Tensor
    """(1, S, S) logits."""
    scaling: Tensor
    """(3, S, S) natural logarithms of metres."""
    rotation: Tensor
    """(4, S, S) quaternions (w, x, y, z)."""
    offset: Tensor
    """(1, S, S) share of the largest offset, in [-1, 1]."""

    def __post_init__(self) -> None:
        size = self.colour.shape[-1]
        for name, channels in CHANNELS.items():
            found = tuple(getattr(self, name).shape)
            if found != (channels, size, size):
                raise BenchError(
                    f"map {name}: expected {channels} x {size} x {size} values, found {' x '.join(map(str, found))}.",
                    help="give all maps of one avatar, of one square size",
                )

    @classmethod
    def uniform(cls, size: int, device: torch.device | str = "cpu") -> Maps:
        """Make grey, half opaque maps of `size` texels a side: unrotated, of one millimetre, without offset."""
        packed = torch.zeros((sum(CHANNELS.values()), size, size), device=device)
        packed[0:3] = 0.5
        packed[4:7] = -6.907755
        packed[7] = 1.0
        return cls.unpack(packed)

    @property
    def size(self) -> int:
        """Number of texels S along a side."""
        return self.colour.shape[-1]

    def tensors(self) -> dict[str, Tensor]:
        """Return the maps by name."""
        return {field.name: getattr(self, field.name) for field in fields(self)}

    def pack(self) -> Tensor:
        """Return all maps as one tensor (12, S, S), in the order of `CHANNELS`."""
        return torch.cat(list(self.tensors().values()))

    @classmethod
    def unpack(cls, packed: Tensor) -> Maps:
        """Split what `pack` returned."""
        return cls(*packed.split(list(CHANNELS.values())))

    def to(self, device: torch.device | str) -> Maps:
        """Return the same maps on `device`."""
        return Maps.unpack(self.pack().to(device))

    def write(self, folder: Path, rows: Rows, bits: Literal[8, 16], head: str) -> None:
        """Write files for people, see `write_maps`.

        Args:
            folder: is made where it is missing.
            rows: order of the maps' rows.
            bits: per channel of the PNGs.
            head: tag and topology of the head model, as `BakedAvatar.atlas` has them.
        """
        write_maps(self.tensors(), folder, rows, bits, head)

    @classmethod
    def read(cls, path: Path, size: int, rows: Rows, head: str) -> Maps:
        """Read ``maps.safetensors``.

        Args:
            path: the file.
            size: texels along a side that the maps must have.
            rows: order of rows that is wanted.
            head: tag and topology of the head model that the maps must be of.

        Raises:
            Unreadable: it has no such maps.
        """
        return cls(**read_maps(path, CHANNELS, size, rows, head))

    def look_up(self, look: Look) -> Attributes:
        """Interpolate all maps bilinearly at the places of a look-up; differentiable in the maps."""
        texels = self.pack().flatten(1).T
        colour, opacity, scaling, rotation, offset = look(texels).split(list(CHANNELS.values()), dim=1)
        return Attributes((colour - 0.5) / DC, opacity[:, 0], scaling, rotation, offset[:, 0])


@dataclass(frozen=True)
class Look:
    """Four texels around each of N places, with their weights: where a map is read, made once for many maps.

    Example:
        >>> rows = torch.arange(8.0)[:, None] * 10 + torch.arange(8.0)
        >>> Look.at(torch.tensor([[0.25, 0.75], [1.2, -0.3]]), 8)(rows.reshape(-1, 1))
        tensor([[54.2500],
                [ 7.0000]])
    """

    texels: Tensor
    """(4 N,) int64, row-major texels: above left, above right, below left, below right of each place in turn."""
    weights: Tensor
    """(N, 4, 1) weights, which sum to 1."""

    @classmethod
    def at(cls, uv: Tensor, size: int, rows: Rows = "v_up") -> Look:
        """Find the texels around places; the centres of corner texels lie at 0 and 1, and places outside are clamped.

        Args:
            uv: (N, 2) texture coordinates, v up.
            size: of the map in texels, at least 2.
            rows: order of the map's rows.
        """
        along = torch.stack([uv[:, 0], uv[:, 1] if rows == "v_up" else 1 - uv[:, 1]], dim=1)
        place = (along * (size - 1)).clamp(0, size - 1)
        low = place.floor().clamp(max=size - 2)
        right, down = (place - low).unbind(1)
        column, row = low.long().unbind(1)
        corner = row * size + column
        texels = torch.stack([corner, corner + 1, corner + size, corner + size + 1], dim=1)
        weights = torch.stack([(1 - right) * (1 - down), right * (1 - down), (1 - right) * down, right * down], dim=1)
        return cls(texels.reshape(-1), weights[..., None])

    def __call__(self, texels: Tensor) -> Tensor:
        """Interpolate (S S, C) texels -> (N, C)."""
        return (texels.index_select(0, self.texels).view(*self.weights.shape[:2], -1) * self.weights).sum(1)
