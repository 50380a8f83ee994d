"""Importer of the checkpoints of GaussianAvatars that FateAvatar's repository writes: a .pth with the model's state."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from headbench.harness.head import load_head
from headbench.harness.importing import Foreign, Imported, Importer
from headbench.harness.reading import Unreadable
from headbench.methods.common.fate_repository import (
    check_faces,
    identity_of_model,
    left_out,
    read_model,
    split_of,
)

__all__ = ["PortCheckpoint"]

_TABLE = {
    "_xyz": (3,),
    "_features_dc": (1, 3),
    "_scaling": (3,),
    "_rotation": (4,),
    "_opacity": (1,),
    "binding": (),
}
"""Tensor with a row per Gaussian -> shape of a row."""


class PortCheckpoint(Importer):
    """Reads <name>_epNNNN.pth of GaussianAvatars as FateAvatar's repository trains it, on FLAME's own faces."""

    suffixes = (".pth",)
    head = "flame2020"

    def settings(self, path: Path) -> Mapping[str, Any]:
        """Degree of the spherical harmonics: the lowest above which all coefficients are zero.

        The published code loads such a checkpoint with degree 0, whatever it was trained with.
        """
        return {"sh_degree": _degree(_rest(path, read_model(path, _TABLE)))}

    def read(self, foreign: Foreign) -> Imported:
        path, config = foreign.path, foreign.config
        model = read_model(path, _TABLE)
        head = load_head(foreign.head, config.topology())
        bare = load_head(foreign.head, "open")
        split = split_of(path, model, bare)
        check_faces(path, model["binding"], len(bare.faces))
        rest, wanted = _rest(path, model), (config.sh_degree + 1) ** 2 - 1
        notes = list(left_out(path))
        if _degree(rest) > config.sh_degree:
            notes.append(f"spherical harmonics of degree {config.sh_degree + 1} to {_degree(rest)} were left out")
        kept = torch.zeros(len(rest), wanted, 3)
        kept[:, : min(wanted, rest.shape[1])] = rest[:, :wanted]
        if not torch.equal(head.faces[: len(bare.faces)], bare.faces):
            raise Unreadable(path, f"found faces of the topology open, which {head.topology} does not begin with")
        state = {
            "table.position": model["_xyz"].float(),
            "table.dc": model["_features_dc"].float(),
            "table.rest": kept,
            "table.scaling": model["_scaling"].float(),
            "table.rotation": model["_rotation"].float(),
            "table.opacity": model["_opacity"][:, 0].float(),
            "table.face_index": model["binding"].long(),
            "degree.active": torch.tensor(config.sh_degree),
        }
        if wanted == 0:
            del state["table.rest"]
        return Imported(identity_of_model(model, bare, foreign, split), state, tuple(notes))


def _rest(path: Path, model: Mapping[str, Tensor]) -> Tensor:
    """Coefficients (N, K - 1, 3) above degree 0.

    Raises:
        Unreadable: they are of another shape.
    """
    count = len(model["_xyz"])
    rest = model.get("_features_rest", torch.zeros(count, 0, 3)).float()
    if rest.dim() != 3 or rest.shape[1] not in (0, 3, 8, 15) or (rest.numel() and rest.shape[::2] != (count, 3)):
        raise Unreadable(path, f"found _features_rest of shape {tuple(rest.shape)}, expected ({count}, 0 to 15, 3)")
    return rest if rest.numel() else torch.zeros(count, 0, 3)


def _degree(rest: Tensor) -> int:
    """Lowest degree above which all coefficients are zero."""
    used = rest.abs().amax(dim=(0, 2)).nonzero() if rest.shape[1] else torch.empty(0)
    return math.isqrt(int(used.max()) + 1) if len(used) else 0
