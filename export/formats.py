"""Table of the formats that `bench export` writes. Needs no torch; a further format is a module and an entry here."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from headbench.harness.errors import BenchError, did_you_mean

if TYPE_CHECKING:
    from headbench.export.poses import Poses
    from headbench.export.source import Source

__all__ = ["FORMATS", "Format", "Writer", "format_of"]

_LIST = "bench list formats"


class Writer(Protocol):
    """Interface of what writes one format."""

    def __call__(self, source: Source, poses: Poses, out: Path) -> list[str]:
        """Write poses of an avatar to `out`, whole or not at all.

        Args:
            source: the avatar, and how pictures of it look.
            poses: at least one.
            out: file or folder, as the format has it.

        Returns:
            sentences on what the format cannot hold and was left out.

        Raises:
            BenchError: the avatar lacks what the format needs.
        """
        ...


@dataclass(frozen=True)
class Format:
    """Format of files that other programs open."""

    name: str
    """Name for ``bench export --format``."""
    suffixes: tuple[str, ...]
    """Endings of its files, the usual one first; empty where it is a folder of several."""
    holds: str
    """One phrase that says what a file holds."""
    target: str
    """``package.module:function`` of its `Writer`."""
    needs: str
    """Part that an avatar must have: Gaussians, a mesh, or triangles that carry its Gaussians; empty for none."""
    sequence: str
    """Form of a sequence of poses in this format: numbered files, or one file."""
    opens: str = ""
    """Programs that read it, in words."""

    pose: str = "neutral"
    """Poses that are exported where none are asked for."""

    @property
    def numbered(self) -> bool:
        """True where a sequence is written as a folder of numbered files."""
        return self.sequence == "numbered files"

    def writer(self) -> Writer:
        """The function that writes the format."""
        module, _, name = self.target.partition(":")
        found: Any = getattr(importlib.import_module(module), name)
        writer: Writer = found
        return writer


FORMATS: Mapping[str, Format] = {
    each.name: each
    for each in (
        Format(
            "ply",
            (".ply",),
            "Gaussians in the world with spherical harmonics, in the order of properties of 3D Gaussian splatting",
            "headbench.export.ply:write",
            "Gaussians",
            "numbered files",
            "SuperSplat and most viewers of Gaussians",
        ),
        Format(
            "splat",
            (".splat",),
            "Gaussians in the world, 32 bytes each, without spherical harmonics",
            "headbench.export.splat:write",
            "Gaussians",
            "numbered files",
            "viewers in browsers",
        ),
        Format(
            "glb",
            (".glb",),
            "Gaussians in the world with spherical harmonics, as glTF with KHR_gaussian_splatting",
            "headbench.export.glb:write",
            "Gaussians",
            "numbered files",
            "PlayCanvas, Cesium; others show coloured points",
        ),
        Format(
            "gaussianavatars",
            (),
            "Gaussians in the frames of triangles (point_cloud.ply) with FLAME's parameters per pose (flame_param.npz)",
            "headbench.export.triangles:write",
            "triangles that carry its Gaussians",
            "one file",
            "the viewer of GaussianAvatars; `bench import`",
        ),
        Format(
            "mesh",
            (".obj", ".ply"),
            "the posed head mesh with texture coordinates",
            "headbench.export.mesh:write",
            "a mesh",
            "numbered files",
            "Blender, MeshLab",
        ),
        Format(
            "frames",
            (".png",),
            "pictures with alpha (RGBA, straight)",
            "headbench.export.pictures:write_frames",
            "",
            "numbered files",
            "programs for pictures",
        ),
        Format(
            "video",
            (".mp4",),
            "a video (H.264) on a background",
            "headbench.export.pictures:write_film",
            "",
            "one file",
            "players of videos",
        ),
        Format(
            "html",
            (".html",),
            "an avatar that moves: one page with its own script, the poses as a recorded clip",
            "headbench.export.html.write:write",
            "Gaussians",
            "one file",
            "browsers with WebGL2",
            "test",
        ),
    )
}
"""Name -> format, in the order of `bench list formats`."""


def format_of(name: str) -> Format:
    """The format of a name.

    Raises:
        BenchError: there is none; close names are said.
    """
    if name not in FORMATS:
        raise BenchError(did_you_mean("format", name, FORMATS), help=_LIST)
    return FORMATS[name]
