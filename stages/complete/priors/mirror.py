"""View prior `mirror`: seen surface reflected across the head's plane of symmetry, the rest filled in. No weights."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from pydantic import Field
from scipy.ndimage import distance_transform_edt
from scipy.spatial import cKDTree
from torch import Tensor
from torch.nn import functional

from headbench.harness.avatar import Section
from headbench.harness.head import load_head
from headbench.harness.types import Camera
from headbench.harness.view_prior import PseudoView, ViewPrior, ViewWork
from headbench.stages.complete.mesh import Bools, FineMesh, Floats, fill_harmonically, fine_mesh, laplacian
from headbench.stages.complete.points import alignment_of
from headbench.stages.complete.priors.appearance import Appearance, Places, gather
from headbench.stages.complete.seen import hits_of, looks, vertex_normals

__all__ = ["Mirror", "MirrorConfig"]

_SEEN = 0.2
"""Sum of weights from which the colour of a place is known."""
_PARTNER = 0.05
"""Share with which the other side of the head counts where a place itself was seen."""
_NEIGHBOURS = 64
"""Number of seen places nearest to a filled one from which its roughness is drawn."""
_BROW, _BEHIND = 0.025, 0.04
"""Metres above and behind the eyes up to which the face has no hair on it."""
_HAIRLINE, _NAPE, _EARS = 0.06, 0.06, 0.09
"""Metres above the eyes from which all is scalp, below them down to which the back of the head is, and behind them."""


class MirrorConfig(Section):
    """Options of the prior `mirror`."""

    levels: int = Field(default=1, ge=0, le=3)
    """How often each face of the mesh is divided into four for colours."""
    looks: int = Field(default=16, ge=1)
    """Number of training frames, evenly spaced, that colours are taken from."""
    roughness: float = Field(default=0.5, ge=0)
    """Strength of the roughness that filled surface takes from the seen surface nearest to it."""
    longest: float = Field(default=0.05, ge=0)
    """Metres that hair may stand off the mesh; 0 leaves the mesh bald."""
    filled: float = Field(default=1.0, ge=0, le=1)
    """Confidence of surface that neither side of the head showed."""
    band: float = Field(default=0.02, ge=0)
    """Metres beside the outline in which the background is not trusted."""
    finer: int = Field(default=2, ge=1, le=4)
    """Number of rays along each side of a pixel."""


@dataclass(frozen=True)
class _Painted:
    """Surface to render: places with a colour and a confidence each."""

    points: Tensor
    """(P, 3) metres."""
    faces: Tensor
    """(G, 3)."""
    fields: Tensor
    """(P, 4) colour and confidence."""


class Mirror(ViewPrior):
    """Renders the mesh with the colours of the training frames, mirrored and filled, and with an envelope of hair."""

    config_type = MirrorConfig

    def make(self, work: ViewWork) -> Sequence[PseudoView]:
        """Views from all cameras that are wanted."""
        painted = _paint(work)
        return [_view(name, camera, painted, work.config) for name, camera in work.cameras.items()]


def _paint(work: ViewWork) -> _Painted:
    portrait: Any = work.parent.portrait
    config: MirrorConfig = work.config
    head = portrait.head
    template = load_head(head.tag, head.topology).template.double().numpy()
    mesh = fine_mesh(template, head.faces.cpu().numpy(), config.levels)
    places = _places(mesh, work.device)
    found = gather(looks(work.parent, work.data.frames, config.looks), places, config.longest)
    points = places.pose(work.vertices)
    vertices = points.double().cpu().numpy()
    stiffness = laplacian(vertices, mesh.faces)
    colour, known = _mirrored(found, mesh.partner)
    eyes = alignment_of(head, work.vertices).E
    filled = _filled(stiffness, vertices, colour, known, _scalp(head, mesh, vertices, eyes))
    filled += config.roughness * _roughness(vertices, mesh, filled, known, work.seed)
    height = _envelope(found, mesh, vertices, stiffness, eyes)
    normals = vertex_normals(points, places.faces)
    raised = points + normals * torch.from_numpy(height)[:, None].to(points)
    trust = np.where(known, 1.0, config.filled)[:, None]
    fields = torch.from_numpy(np.concatenate([filled.clip(0, 1), trust], 1)).to(points)
    return _Painted(raised, places.faces, fields)


def _places(mesh: FineMesh, device: torch.device) -> Places:
    """Rows of the mesh's weights, padded to one number of corners each."""
    weights = mesh.weights
    counts = np.diff(weights.indptr)
    width = int(counts.max())
    corners, values = np.zeros((len(counts), width), np.int64), np.zeros((len(counts), width), np.float32)
    slot = np.arange(len(weights.indices)) - np.repeat(weights.indptr[:-1], counts)
    row = np.repeat(np.arange(len(counts)), counts)
    corners[row, slot], values[row, slot] = weights.indices, weights.data
    faces = torch.from_numpy(mesh.faces)
    return Places(torch.from_numpy(corners).to(device), torch.from_numpy(values).to(device), faces.to(device))


def _mirrored(found: Appearance, partner: np.ndarray[Any, np.dtype[np.int64]]) -> tuple[Floats, Bools]:
    """Colours (P, 3) that either side of the head showed, and where they are known."""
    colour, weight = found.colour.double().cpu().numpy(), found.weight.double().cpu().numpy()
    there = partner >= 0
    other = np.where(there, weight[partner], 0.0) * _PARTNER
    both = weight + other
    mixed = (weight[:, None] * colour + other[:, None] * colour[partner]) / np.maximum(both, 1e-9)[:, None]
    return mixed, (weight >= _SEEN) | (other >= _SEEN * _PARTNER)


def _scalp(head: Any, mesh: FineMesh, vertices: Floats, eyes: Floats) -> Bools:
    """Where hair may grow, (P,): the head's region of that name, or what is above the brows and behind the ears."""
    region = head.regions.get("scalp")
    if region is not None:
        return np.asarray(mesh.weights @ region.double().cpu().numpy() > 0.5)
    height, depth = vertices[:, 1] - eyes[1], vertices[:, 2] - eyes[2]
    return (height > _HAIRLINE) | ((height > -_NAPE) & (depth < -_EARS))


def _filled(stiffness: Any, vertices: Floats, colour: Floats, known: Bools, scalp: Bools) -> Floats:
    """Colours (P, 3) continued harmonically: on the scalp from the scalp, so that skin does not run into hair.

    Args:
        stiffness: (P, P) Laplacian of the mesh.
        vertices: (P, 3) metres.
        colour: (P, 3).
        known: (P,) where a colour is known.
        scalp: (P,) where hair may grow.
    """
    filled = fill_harmonically(stiffness, vertices, colour, known & ~scalp)
    if (known & scalp).any():
        filled[scalp] = fill_harmonically(stiffness, vertices, colour, known & scalp)[scalp]
    return filled


def _roughness(vertices: Floats, mesh: FineMesh, colour: Floats, known: Bools, seed: int) -> Floats:
    """What filled surface lacks of the unevenness of the seen surface nearest to it, (P, 3).

    Args:
        vertices: (P, 3) metres.
        mesh: the fine mesh.
        colour: (P, 3) seen and filled colours.
        known: (P,) where they were seen.
        seed: of the random choice.
    """
    rough = np.zeros_like(colour)
    if known.all() or not known.any():
        return rough
    ends = np.concatenate([mesh.faces[:, [0, 1]], mesh.faces[:, [1, 2]], mesh.faces[:, [2, 0]]])
    start, end = np.concatenate([ends, ends[:, ::-1]]).T
    degree = np.maximum(np.bincount(start, minlength=len(colour)), 1)
    mean = np.stack([np.bincount(start, colour[end, k], len(colour)) for k in range(3)], 1) / degree[:, None]
    uneven = (colour - mean)[known]
    near = min(_NEIGHBOURS, len(uneven))
    rows = cKDTree(vertices[known]).query(vertices[~known], k=near)[1].reshape(-1, near)
    drawn = np.random.default_rng(seed).integers(near, size=len(rows))
    rough[~known] = uneven[rows[np.arange(len(rows)), drawn]]
    return rough


def _envelope(found: Appearance, mesh: FineMesh, vertices: Floats, stiffness: Any, eyes: Floats) -> Floats:
    """Metres (P,) by which hair stands off the mesh: measured on outlines, mirrored, and continued.

    Args:
        found: heights where an outline was seen.
        mesh: the fine mesh.
        vertices: (P, 3) metres.
        stiffness: (P, P) Laplacian of the mesh.
        eyes: (3,) middle between the eyes.
    """
    height, known = found.height.double().cpu().numpy(), found.outlined.cpu().numpy()
    if not known.any():
        return np.zeros(len(vertices))
    partner = mesh.partner
    taken = ~known & (partner >= 0) & known[partner]
    height = np.where(taken, height[partner], height)
    known = known | taken
    face = (vertices[:, 1] < eyes[1] + _BROW) & (vertices[:, 2] > eyes[2] - _BEHIND)
    height, known = np.where(face, 0.0, height), known | face
    filled = fill_harmonically(stiffness, vertices, height[:, None], known)[:, 0]
    return np.asarray(_smoothed(filled, mesh))


def _smoothed(values: Floats, mesh: FineMesh, times: int = 10) -> Floats:
    """Values (P,) averaged with their neighbours', `times` times."""
    ends = np.concatenate([mesh.faces[:, [0, 1]], mesh.faces[:, [1, 2]], mesh.faces[:, [2, 0]]])
    start, end = np.concatenate([ends, ends[:, ::-1]]).T
    degree = np.maximum(np.bincount(start, minlength=len(values)), 1)
    for _ in range(times):
        values = 0.5 * values + 0.5 * np.bincount(start, values[end], len(values)) / degree
    return values


@torch.no_grad()
def _view(name: str, camera: Camera, painted: _Painted, config: MirrorConfig) -> PseudoView:
    """Picture of a painted surface by a camera (B = 1)."""
    hits = hits_of(painted.points, painted.faces, camera, config.finer)
    hit = (hits.face_index >= 0).float()
    corners = painted.fields[painted.faces[hits.face_index.clamp(min=0)]]
    values = (corners * hits.bary[:, :, None]).sum(1) * hit[:, None]
    rays = torch.cat([values, hit[:, None]], 1).T.reshape(1, 5, camera.height * config.finer, -1)
    pixels = functional.avg_pool2d(rays, config.finer)[0].cpu()
    matte = pixels[4:]
    colour, trust = (pixels[:4] / matte.clamp(min=1e-6)).clamp(0, 1).split([3, 1])
    away = torch.from_numpy(distance_transform_edt((matte[0] == 0).numpy())).float()[None]
    distance = float(hits.depth[hit > 0].median()) if bool(hit.any()) else 1.0
    trusted = (away * distance / float(camera.K[0, 0, 0]) >= config.band).float()
    confidence = torch.where(matte > 0, trust, trusted)
    return PseudoView(name, colour, matte.clamp(0, 1), confidence, camera.to("cpu"))
