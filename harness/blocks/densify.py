"""Adaptive density control: the pieces that methods share and compose into one Edit per event."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from headbench.harness.rotations import quat_to_matrix
from headbench.harness.train import GaussianTable
from headbench.harness.types import Rendering, ScreenStatistics

__all__ = [
    "CHILDREN",
    "SHRINK",
    "Growth",
    "accumulate",
    "collected_on_screen",
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
"""Number of children of a split Gaussian."""
SHRINK = 1.6
"""Divisor of the scale of a split Gaussian's `CHILDREN` children."""


def statistics(rows: int, device: torch.device | str, radii: bool = False) -> dict[str, Tensor]:
    """Zeroed statistic columns for `accumulate`: grad_sum, grad_count and, with `radii`, max_radii, each (rows,)."""
    names = ("grad_sum", "grad_count", "max_radii") if radii else ("grad_sum", "grad_count")
    return {name: torch.zeros(rows, device=device) for name in names}


@torch.no_grad()
def accumulate(table: GaussianTable, rendering: Rendering) -> None:
    """Add the screen-space gradient lengths of a step's visible Gaussians, and one visit each, to the statistics.

    A loss is a mean over the batch, so each image's gradient is multiplied by B: thresholds mean the same for any B.
    The device is not waited for. Where the backward pass has added them already, nothing happens.

    Args:
        table: has the columns of `statistics`.
        rendering: of a batch of B images, after backward.
    """
    if rendering.collected:
        return
    visible = rendering.visible
    length = torch.linalg.vector_norm(rendering.screen.plain(), dim=-1) * (visible * len(visible))
    table["grad_sum"].add_(length.sum(0))
    table["grad_count"].add_(visible.sum(0))
    if "max_radii" in table.statistic_names():
        radii = table["max_radii"]
        torch.maximum(radii, rendering.radii.amax(0).to(radii.dtype), out=radii)


def collected_on_screen(table: GaussianTable) -> ScreenStatistics | None:
    """Statistics of a table that a backward pass can add to as `accumulate` does; None where radii are needed, too."""
    if "max_radii" in table.statistic_names():
        return None
    return ScreenStatistics(table["grad_sum"], table["grad_count"])


def mean_gradient(table: GaussianTable) -> Tensor:
    """Mean screen-space gradient length per visit, (N,), from the statistics of `table`; 0 for Gaussians never seen."""
    return table["grad_sum"] / table["grad_count"].clamp(min=1)


def step_generator(seed: int, step: int) -> torch.Generator:
    """CPU generator for the random numbers of a step's edit.

    It depends on seed and step alone, so that a resumed run draws the same numbers, on any device.
    """
    return torch.Generator().manual_seed(seed * 1_000_003 + step)


def lowered_opacity(logits: Tensor, ceiling: float) -> Tensor:
    """Opacity logits after a reset: no opacity is above `ceiling`, in (0, 1)."""
    return logits.clamp(max=float(torch.logit(torch.tensor(ceiling, dtype=torch.float64))))


def opacity_reset(old: dict[str, Tensor], new: dict[str, Tensor] | None, ceiling: float) -> dict[str, Tensor]:
    """Lower all opacities to `ceiling` in an Edit that may also append rows: a reset that runs after densification.

    Args:
        old: columns of the table before the Edit.
        new: columns of the rows that the same Edit appends, changed in place; None: it appends none.
        ceiling: highest opacity afterwards, in (0, 1).

    Returns:
        `Edit.replace` for the old rows.
    """
    if new is not None:
        new["opacity"] = lowered_opacity(new["opacity"], ceiling)
    return {"opacity": lowered_opacity(old["opacity"], ceiling)}


def split_offsets(deviations: Tensor, rotation: Tensor, children: int, generator: torch.Generator) -> Tensor:
    """Offsets of the children of split Gaussians from their parents: random samples of each parent's distribution.

    Args:
        deviations: (M, 3) standard deviations along the parents' axes.
        rotation: (M, 4) quaternions of those axes, not necessarily unit.
        children: number per parent.
        generator: on the CPU.

    Returns:
        (children * M, 3), all first children, then all second ones.
    """
    spread = deviations.repeat(children, 1)
    draws = torch.randn(spread.shape, generator=generator, dtype=spread.dtype).to(spread.device) * spread
    axes = quat_to_matrix(rotation).repeat(children, 1, 1)
    return (axes @ draws[:, :, None])[:, :, 0]


def guard_faces(candidates: Tensor, face_index: Tensor, faces: int, opacity: Tensor | None = None) -> Tensor:
    """Which of the candidates for pruning may be removed without emptying a face of the mesh that had a Gaussian.

    Without `opacity` the guard is all or nothing: where every Gaussian of a face is a candidate, all of them stay.
    With `opacity` it keeps one: the most opaque of that face (the first of equals) stays, the others go.

    Args:
        candidates: (N,) bool.
        face_index: (N,) int64 face of each Gaussian.
        faces: number of faces of the mesh.
        opacity: (N,), or None.

    Returns:
        (N,) bool.
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
    """Columns of the children of split Gaussians: copies of their parents, `SHRINK` times smaller.

    Their positions are those of the parents until the method moves them.

    Args:
        parents: columns of M rows; ``scaling`` holds log standard deviations.

    Returns:
        columns of `CHILDREN` · M rows, all first children before all second ones.
    """
    children = {name: value.repeat(CHILDREN, *([1] * (value.dim() - 1))) for name, value in parents.items()}
    children["scaling"] = (children["scaling"].exp() / SHRINK).log()
    return children


@dataclass(frozen=True)
class Growth:
    """Columns of a table after cloning and splitting, before pruning: rows not split, then clones, then children."""

    rows: dict[str, Tensor]
    """Every column of the table, with M rows."""
    split: Tensor
    """(N,) bool: the old rows that were split, and are therefore not among the M."""

    @classmethod
    def of(cls, old: dict[str, Tensor], clone: Tensor, split: Tensor, children: dict[str, Tensor]) -> Growth:
        """Clone some rows of a table and replace others by their children.

        Args:
            old: columns of N rows.
            clone: (N,) bool: the rows that are doubled.
            split: (N,) bool: the rows that are replaced.
            children: columns of the split rows' children.
        """
        # Row numbers, for which the device is asked once per mask: a mask itself asks it for every column.
        rows = torch.cat([(~split).nonzero()[:, 0], clone.nonzero()[:, 0]])
        return cls({name: torch.cat([v[rows], children[name]]) for name, v in old.items()}, split)

    def without(self, leaving: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """Parts of an Edit that makes this growth and removes the rows of `leaving`, (M,) bool, at once.

        Returns:
            (`Edit.keep`: which old rows stay, (N,) bool; `Edit.append`: columns of the new rows).
        """
        standing = (~self.split).nonzero()[:, 0]
        stay = ~leaving
        keep = torch.zeros_like(self.split)
        keep[standing] = stay[: len(standing)]
        added = len(standing) + stay[len(standing) :].nonzero()[:, 0]
        return keep, {name: value[added] for name, value in self.rows.items()}
