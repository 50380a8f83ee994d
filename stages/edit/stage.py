"""Stage ``edit``: a baked avatar with a stack of edits applied to its colours."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from headbench.harness.avatar import Portrait, Section
from headbench.harness.head import face_frames
from headbench.harness.stage import Stage, StageWork, input_file
from headbench.harness.types import HeadParams
from headbench.stages.bake import BakedAvatar
from headbench.stages.edit.canvas import Canvas
from headbench.stages.edit.paint import apply
from headbench.stages.edit.stack import read_stack
from headbench.stages.edit.texels import Texels

__all__ = ["EditConfig", "EditStage", "canvas_of"]


class EditConfig(Section):
    """Options of the stage."""

    stack: Path | None = input_file(description="edits.json, with the files that it names beside it")
    """Stack of edits; the SHA-256 of its files are their names in it, so it stands for them, too."""


class EditStage(Stage):
    """Applies a stack of edits to the maps of a baked avatar, without training."""

    config_type = EditConfig

    @classmethod
    def networks(cls, config: EditConfig) -> frozenset[str]:
        """VGG16, where an edit takes the style of a picture.

        Raises:
            BenchError: the stack cannot be read.
        """
        entries = read_stack(config.stack).entries if config.stack is not None else ()
        return frozenset({"vgg16"} if any(entry.kind == "style" for entry in entries) else ())

    def run(self, work: StageWork) -> Portrait:
        """Apply the stack, and keep a copy of it with its files in the instance's folder.

        Raises:
            BenchError: the stack cannot be read, or an edit does not fit this head.
        """
        assert work.parent is not None
        avatar: Any = work.parent.portrait
        stack = read_stack(work.inputs["stack"])

        def report(what: str, step: int, steps: int) -> None:
            work.progress({"step": step, "total": steps, "doing": what})

        maps = apply(stack, avatar.maps, canvas_of(avatar), report)
        if maps is not avatar.maps:
            avatar.replace_maps(maps)
        stack.write(work.folder)
        # What people paint on next is what they see.
        avatar.maps.write(work.folder / "maps", avatar.config.rows, avatar.config.bits, avatar.atlas)
        portrait: Portrait = avatar
        return portrait


def canvas_of(avatar: BakedAvatar) -> Canvas:
    """What edits of a baked avatar are painted on."""

    def lift(params: HeadParams, vertices: Tensor, texels: Texels, rows: Tensor) -> Tensor:
        config, face_index = avatar.config, texels.face_index[rows]
        found = torch.zeros(len(face_index), 3, device=vertices.device)
        if config.offset_normal == "unit":  # along a raw one they are micrometres
            share = avatar.maps.offset.flatten()[rows]
            normals = face_frames(vertices[None], avatar.head.faces).R[0, face_index, :, 1]
            found = normals * (avatar.bound * (share.tanh() if config.second_tanh else share))[:, None]
        residual = avatar.surface().residual
        return found if residual is None else found + residual(params, face_index, texels.bary[rows]).offset[0]

    return Canvas(avatar.head, avatar.maps.size, avatar.carrier, avatar.config.rows == "v_up", lift)
