"""Beginning of baking: the baked avatar with its places, and the network with what it starts from."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from headbench.harness.blocks.placement import mean_neighbour_distance
from headbench.harness.head import face_frames, load_head, points_on_faces
from headbench.harness.surface import Surface
from headbench.harness.train import LoadedPortrait

from .activation import Activation
from .avatar import BakedAvatar
from .config import BakedConfig
from .maps import Attributes
from .networks import make_network
from .places import Places, added_places, density, density_ratio, neighbourhood, spread
from .start import nearest_inside, spread_maps
from .training import BakingAvatar

__all__ = ["begin"]

_ROOM = 1.25
"""Largest offset of maps as a multiple of the parent's 99.9th percentile."""
_LEAST = 0.005
"""Smallest bound of offsets along unit normals, metres."""
_SHARE = 0.999
"""Share of the parent's Gaussians whose offsets and scales the maps must reach."""


def begin(parent: LoadedPortrait, config: BakedConfig, seed: int, device: torch.device) -> BakingAvatar:
    """Make the avatar that is trained, from the parent, whose Gaussians are removed.

    Args:
        parent: on `device`; its Gaussians sit on a surface.
        config: options of baking, and the method.
        seed: of places and noise.
        device: where everything lives.

    Raises:
        BenchError: the head model has no UV atlas.
    """
    body: Any = parent.portrait
    above: Surface = body.surface()
    if config.training == "one_stage":
        head = load_head(parent.identity.head, parent.config.topology(), device=device)
        body = type(body).create(head, parent.identity, None, parent.config)
    baked = BakedAvatar(body, config, device)
    _fill(baked, above, seed)
    places = _places(baked, above, seed)
    baked.put_places(places)
    baked.trained_density.copy_(density(baked.head, baked.canonical, places))
    baked.bound.fill_(config.offset_bound if config.offset_bound is not None else _bound(above))
    if config.training == "one_stage":
        on = points_on_faces(above.canonical[None], baked.head.faces, places.face_index, places.bary)
        spacing = torch.tensor(mean_neighbour_distance(on[0])).log()
        activation = Activation(spacing.to(device), spacing.to(device) + 1, config.quaternion)
        for group in body.param_groups():
            for parameter in group.parameters:
                parameter.requires_grad_(True)
    else:
        activation = _activation(above.log_scales, config)
    base = None
    if config.start == "parent":
        base = activation.inverse(spread_maps(_attributes(baked, above), above.uv, config.size, config.rows))
    nearest = nearest_inside(baked.head, config.size, config.rows, places) if config.gutter else None
    generator = torch.Generator().manual_seed(seed * 1_000_003 + 37)
    network = make_network(config.network, config.size, generator, silent=base is not None).to(device)
    if device.type == "cuda":
        network = network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # torch lacks it
    return BakingAvatar(baked, network, activation, config, base, nearest)


def _fill(baked: BakedAvatar, above: Surface, seed: int) -> None:
    """Tell the baked avatar of the canonical mesh, the faces that places may lie on, and the seed."""
    baked.canonical.copy_(above.canonical)
    if baked.config.cover == "parent" and baked.config.training == "two_stage":
        baked.support.copy_(neighbourhood(baked.head, above.face_index))
    baked.seed.fill_(seed)


def _places(baked: BakedAvatar, above: Surface, seed: int) -> Places:
    """Places at which the maps are trained."""
    config, device = baked.config, above.bary.device
    if config.points is not None:
        return spread(baked.head, baked.canonical, config.points, config.sampling, seed, baked.support)
    added = added_places(baked.head, config.added_points, seed).to(device)
    allowed = baked.support[added.face_index]
    added = Places(added.face_index[allowed], added.bary[allowed])
    if config.training == "one_stage":
        return added
    return Places(above.face_index, above.bary).joined(added, config.doubled)


def _bound(above: Surface) -> float:
    """Bound of offsets along unit normals, metres, from the parent's."""
    return max(_ROOM * float(_quantile(above.offset.abs())), _LEAST)


def _activation(log_scales: Tensor, config: BakedConfig) -> Activation:
    mean = log_scales.mean()
    largest = mean + log_scales.std() if config.scale_bound == "deviation" else _quantile(log_scales.flatten()) + 0.5
    return Activation(mean, largest, config.quaternion)


def _quantile(values: Tensor) -> Tensor:
    """The value below which `_SHARE` of (N,) values lie."""
    return values.sort().values[int(_SHARE * (len(values) - 1))]


def _attributes(baked: BakedAvatar, above: Surface) -> Attributes:
    """Attributes of the parent's Gaussians as maps hold them; their scales cover what more or fewer places cover."""
    config, offset = baked.config, above.offset
    if config.offset_normal == "raw":
        raw = face_frames(baked.canonical[None], baked.head.faces).raw_normal[0]
        length = torch.linalg.vector_norm(raw, dim=-1)[above.face_index]
        offset = offset / length.clamp(min=1e-12)
    share = (offset / baked.bound).clamp(-1, 1)
    if config.second_tanh:
        share = share.clamp(-0.76, 0.76).atanh()
    found = Attributes(above.dc, above.opacities, above.log_scales, above.quats, share)
    own = Places(above.face_index, above.bary)
    before = density(baked.head, baked.canonical, own)
    return found.for_density(density_ratio(baked.head, before, baked.trained_density, own))
