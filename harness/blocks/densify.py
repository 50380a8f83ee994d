"""Adaptive density control: the pieces that methods share. Methods compose them into one Edit an event."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from headbench.harness.rotations import quat_to_matrix
from headbench.harness.train import GaussianTable
from headbench.harness.types import Rendering

__all__ = [
    "CHILDREN",
    "SHRINK",
    "Growth",
    "accumulate",
    "children_of_split",
    "guard_faces",
    "lowered_opacity",
    "mean_gradient",
    "opacity_reset",
    "split_offsets",
    "statistics",
    "step_generator",
]

CHILDREN = 2
SHRINK = 1.6
"""Children of a split: their number, and by what their scale is divided."""


def statistics(rows: int, device: torch.device | str, radii: bool = False) -> dict[str, Tensor]:
    """The statistic columns that `accumulate` fills: grad_sum, grad_count and, if asked, max_radii, each (rows,)."""
    names = ("grad_sum", "grad_count", "max_radii") if radii else ("grad_sum", "grad_count")
    return {name: torch.zeros(rows, device=device) for name in names}


@torch.no_grad()
def accumulate(table: GaussianTable, rendering: Rendering) -> None:
    """Add a step's screen-space gradient lengths and visits of visible Gaussians; no wait for the device.

    A loss is a mean over the batch, so each image's gradient is multiplied by B: thresholds mean the same for any B.
    """
    visible = rendering.visible
    length = torch.linalg.vector_norm(rendering.screen.plain(), dim=-1) * (visible * len(visible))
    table["grad_sum"].add_(length.sum(0))
    table["grad_count"].add_(visible.sum(0))
    if "max_radii" in table.statistic_names():
        radii = table["max_radii"]
        torch.maximum(radii, rendering.radii.amax(0).to(radii.dtype), out=radii)


def mean_gradient(table: GaussianTable) -> Tensor:
    """(N,) mean gradient length a visit; 0 for Gaussians never seen."""
    return table["grad_sum"] / table["grad_count"].clamp(min=1)


def step_generator(seed: int, step: int) -> torch.Generator:
    """Random numbers of a step's edit, drawn on the CPU.

    A function of seed and step alone, so that a resumed run draws the same, and on any device.
    """
    return torch.Generator().manual_seed(seed * 1_000_003 + step)


def lowered_opacity(logits: Tensor, ceiling: float) -> Tensor:
    """Opacity logits after a reset: no opacity above `ceiling`."""
    return logits.clamp(max=float(torch.logit(torch.tensor(ceiling, dtype=torch.float64))))


def opacity_reset(old: dict[str, Tensor], new: dict[str, Tensor] | None, ceiling: float) -> dict[str, Tensor]:
    """`Edit.replace` of a reset that runs after densification: lowers the opacity of the `old` columns in what it
    returns, and that of the rows that the same Edit appends in `new` itself."""
    if new is not None:
        new["opacity"] = lowered_opacity(new["opacity"], ceiling)
    return {"opacity": lowered_opacity(old["opacity"], ceiling)}


def split_offsets(deviations: Tensor, rotation: Tensor, children: int, generator: torch.Generator) -> Tensor:
    """Where the children of split Gaussians stand from their parents: a draw from each parent's own distribution.

    Args:
        deviations: (M, 3) standard deviations along the parents' axes.
        rotation: (M, 4) quaternions of those axes, not necessarily unit.
        generator: on the CPU.

    Returns:
        (children * M, 3), all first children, then all second ones.
    """
    spread = deviations.repeat(children, 1)
    draws = torch.randn(spread.shape, generator=generator, dtype=spread.dtype).to(spread.device) * spread
    axes = quat_to_matrix(rotation).repeat(children, 1, 1)
    return (axes @ draws[:, :, None])[:, :, 0]


def guard_faces(candidates: Tensor, face_index: Tensor, faces: int, opacity: Tensor | None = None) -> Tensor:
    """Which of the prune `candidates` (N,) bool may go without leaving a face empty that had a Gaussian.

    Without `opacity` the guard is all or nothing: where every Gaussian of a face is a candidate, none of them goes.
    With `opacity` (N,) it keeps one: the most opaque of such a face (the first of equals) stays, the others go.
    """
    total = torch.bincount(face_index, minlength=faces)
    leaving = torch.bincount(face_index, weights=candidates.to(torch.float64), minlength=faces).to(total.dtype)
    emptied = ((leaving == total) & (total > 0))[face_index]
    if opacity is None:
        return candidates & ~emptied
    best = opacity.new_full((faces,), -torch.inf).scatter_reduce(0, face_index, opacity, "amax")
    rows = torch.arange(len(opacity), device=opacity.device)
    contender = torch.where(opacity == best[face_index], rows, len(opacity))
    keeper = rows.new_full((faces,), len(opacity)).scatter_reduce(0, face_index, contender, "amin")
    return candidates & ~(emptied & (keeper[face_index] == rows))


def children_of_split(parents: dict[str, Tensor]) -> dict[str, Tensor]:
    """Columns of the `CHILDREN` of each parent, all first children before all second ones: copies, but `SHRINK` times
    smaller in the column scaling (log). Where they stand is for the method to say."""
    children = {name: value.repeat(CHILDREN, *([1] * (value.dim() - 1))) for name, value in parents.items()}
    children["scaling"] = (children["scaling"].exp() / SHRINK).log()
    return children


@dataclass(frozen=True)
class Growth:
    """A table after clone and split and before prune: the rows that were not split, the clones, the children."""

    rows: dict[str, Tensor]
    """Every column with M rows."""
    split: Tensor
    """(N,) bool: the old rows that are not among them."""

    @classmethod
    def of(cls, old: dict[str, Tensor], clone: Tensor, split: Tensor, children: dict[str, Tensor]) -> Growth:
        """`old` columns with the rows of `clone` (N,) doubled and those of `split` (N,) replaced by `children`."""
        return cls({name: torch.cat([v[~split], v[clone], children[name]]) for name, v in old.items()}, split)

    def without(self, leaving: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """For an Edit, when the rows of `leaving` (M,) bool go: (which old rows stay (N,), columns of the new rows)."""
        standing = int((~self.split).sum())
        keep = ~self.split
        keep[~self.split] = ~leaving[:standing]
        return keep, {name: value[standing:][~leaving[standing:]] for name, value in self.rows.items()}
