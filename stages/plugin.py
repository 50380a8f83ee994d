"""Plugin of the built-in stages after training, registered like a stranger's. Data only: no torch is imported here."""

from __future__ import annotations

from collections.abc import Callable

from headbench.harness.plugins.hookspecs import hookimpl
from headbench.harness.plugins.specs import StageSpec, Typical, ViewPriorSpec

__all__ = ["STAGES", "VIEW_PRIORS", "register_stages", "register_view_priors"]

_FIXED: dict[str, object] = {
    "offset_normal": "unit",
    "offset_bound": None,
    "second_tanh": False,
    "cover": "parent",
    "added_points": 0,
    "doubled": False,
    "start": "parent",
    "quaternion": "wxyz",
    "rotation_loss": "angle",
    "scale_bound": "largest",
    "gutter": True,
    "keep_look": True,
    "tracking": "refined",
    "view_expression": "canonical",
    "alone": 0.5,
    "regular_background": "run",
    "wander": "half",
    "weights": {"rotation": 0.0},
}
"""Options of ``bake`` without the quirks of FATE's released code."""
_TEXTURE: dict[str, object] = {
    **_FIXED,
    "network": "texture",
    "size": 256,
    "weights": {"vgg": 0.0, "rotation": 0.0},
    "rates": {"colour": 0.02, "opacity": 0.02, "scaling": 0.01, "rotation": 0.002, "offset": 0.01},
}

_AS_PUBLISHED: dict[str, object] = {
    "epochs": 1,
    "azimuths": (84.0, 252.0),
    "orbit": "fate",
    "expression": "frame",
    "count": "three",
    "densify": "both",
    "regular_background": "white",
    "confidence": False,
    "alone": 0.0,
    "settle": False,
    "views_settle": 0.0,
    "moments": "none",
    "shared": "both",
    "reach": "all",
    "largest": None,
    "add_points": "all",
}
"""Options of ``complete`` as FATE's released code has them."""

_LAYOUTS = ("insta", "nersemble", "imavatar", "vhap")
_CHECKED = dict.fromkeys(("FateAvatar", "GaussianAvatars", "FlashAvatar", "SplattingAvatar"), _LAYOUTS)
"""test_every_pair.py of the tests makes, renders and scores every instance on these, and says what is refused."""

_H200 = "docs/benchmarks/2026-11-h200-after-training.md"

STAGES: tuple[StageSpec, ...] = (
    StageSpec(
        "bake",
        "headbench.stages.bake:BakeStage",
        parents=("train", "complete", "import"),
        summary="Gaussians on a surface become continuous UV maps",
        needs=frozenset({"carrier", "surface"}),
        presets={
            "official": {},
            "official-decoder": {"network": "decode_only", "size": 256},
            "official-texture": {"network": "texture"},
            "fixed": _FIXED,
            "decoder": {**_FIXED, "network": "decode_only", "size": 256},
            "texture": _TEXTURE,
            "fixed-no-residual": {**_FIXED, "residual": False},
            "texture-no-residual": {**_TEXTURE, "residual": False},
        },
        default_preset="official",
        typical={"cuda": Typical(0.0, "one H200, 600 frames of 512², preset official", seconds=98.2, source=_H200)},
        portrait="headbench.stages.bake:BakedAvatar",
        checked=_CHECKED,
    ),
    StageSpec(
        "edit",
        "headbench.stages.edit:EditStage",
        parents=("bake",),
        summary="a stack of edits (stickers, washes, styles, swaps) changes a baked avatar's colours",
        needs=frozenset({"maps"}),
        labels="stack",
        kept="edits.json",
        checked=_CHECKED,
    ),
    StageSpec(
        "complete",
        "headbench.stages.complete.stage:Complete",
        parents=("train",),
        summary="trains the unseen part of the head on views that a prior makes",
        needs=frozenset({"carrier", "surface"}),
        presets={"official": _AS_PUBLISHED, "fixed": {}},
        default_preset="fixed",
        typical={"cuda": Typical(0.0, "one H200, 600 frames of 512², mirror", seconds=7.2, source=_H200)},
        checked=_CHECKED,
    ),
)

VIEW_PRIORS: tuple[ViewPriorSpec, ...] = (
    ViewPriorSpec(
        "mirror",
        "headbench.stages.complete.priors.mirror:Mirror",
        "seen surface reflected across the head's plane of symmetry, the rest filled in; needs no weights",
    ),
    ViewPriorSpec(
        "folder",
        "headbench.stages.complete.priors.folder:Folder",
        "pictures that anybody made, with cameras in a transforms.json",
        source="folder",
    ),
    ViewPriorSpec(
        "external",
        "headbench.stages.complete.priors.external:External",
        "a program in an environment of its own, such as a generator of whole heads",
        source="file",
        licence="the program's and its weights'",
    ),
)


@hookimpl
def register_stages(register: Callable[[StageSpec], None]) -> None:
    """Register all built-in stages after training."""
    for spec in STAGES:
        register(spec)


@hookimpl
def register_view_priors(register: Callable[[ViewPriorSpec], None]) -> None:
    """Register all built-in view priors."""
    for spec in VIEW_PRIORS:
        register(spec)
