"""Baked avatar: maps on the mesh that a method's learned corrections and networks pose."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping
from dataclasses import replace
from typing import Any, Literal, Self

import torch
from torch import Tensor

from headbench.harness.avatar import Avatar
from headbench.harness.blocks.surface import canonical_size, pose
from headbench.harness.errors import BenchError
from headbench.harness.head import HeadModel, face_frames
from headbench.harness.rigged import Rig, Rigged
from headbench.harness.surface import OnSurface, Residual, Surface
from headbench.harness.types import (
    Batch,
    Clock,
    Edit,
    Gaussians,
    HeadParams,
    Identity,
    ParamGroup,
    PosedAvatar,
    Rendering,
    TrainView,
)

from .config import BakedConfig
from .maps import CHANNELS, Attributes, Look, Maps
from .places import Places, density, density_ratio, spread, uv_of

__all__ = ["BakedAvatar"]

Change = Callable[[HeadParams, Tensor, Tensor], Residual]
"""Residual of a surface, `Surface.residual`."""

_BODY = "body."
"""Prefix of the carrier's tensors in the state_dict."""


class BakedAvatar(Avatar, OnSurface, Rigged):
    """Avatar whose Gaussians are samples of maps, on the mesh that the parent's class poses.

    The README beside this file has the maps and every difference from FATE.

    Its state_dict holds the maps, the places of the Gaussians (unless `points` samples them at load), and ``body``: the
    parent's avatar with one Gaussian left, so that learned corrections and networks are there and nothing else.

    Args:
        body: avatar of the method; all its Gaussians but one are removed.
        config: options of baking, and the method.
        device: where the maps live.
    """

    config_type = BakedConfig
    canonical: Tensor
    """(V, 3) vertices of the carrier in the canonical pose, metres."""
    support: Tensor
    """(F,) bool, faces that sampled places may lie on."""
    bound: Tensor
    """() largest offset: metres, or 1/m along a raw normal."""
    trained_density: Tensor
    """(V,) places per square metre around each vertex at which the maps were trained."""
    seed: Tensor
    face_index: Tensor
    """(N,) int64, faces of the Gaussians."""
    bary: Tensor
    """(N, 3) barycentric coordinates of the Gaussians."""

    def __init__(self, body: Any, config: BakedConfig, device: torch.device) -> None:
        super().__init__()
        self.config = config
        self.body = body.requires_grad_(False)
        cut(self.body)
        self.head = body.head
        vertices, faces = len(self.head.base), self.head.faces
        for name, channels in CHANNELS.items():
            self.register_buffer(f"map_{name}", torch.zeros(channels, config.size, config.size, device=device))
        self.register_buffer("canonical", torch.zeros(vertices, 3, device=device))
        self.register_buffer("support", torch.ones(len(faces), dtype=torch.bool, device=device))
        self.register_buffer("bound", torch.zeros((), device=device))
        self.register_buffer("trained_density", torch.zeros(vertices, device=device))
        self.register_buffer("seed", torch.zeros((), dtype=torch.int64))
        kept = config.points is None
        self.register_buffer("face_index", torch.zeros(1, dtype=torch.int64, device=device), persistent=kept)
        self.register_buffer("bary", torch.full((1, 3), 1 / 3, device=device), persistent=kept)
        self._surface: Surface | None = None
        self._size: Tensor | None = None
        self._ratio: tuple[Tensor | None] | None = None
        self._change: tuple[Change | None] | None = None
        self.register_load_state_dict_post_hook(_loaded)

    @classmethod
    def create(cls, head: HeadModel, identity: Identity, train: TrainView | None, config: BakedConfig) -> Self:
        """Make an avatar with empty maps, which a checkpoint or the stage ``bake`` fills.

        Args:
            head: in the topology of the method.
            identity: of the subject.
            train: not used.
            config: options of baking, and the method.
        """
        body = config.carrier_type.create(head, identity, None, config.carrier_config)
        return cls(body, config, head.template.device)

    @property
    def maps(self) -> Maps:
        """The maps, as they are looked up."""
        return Maps(**{name: getattr(self, f"map_{name}") for name in CHANNELS})

    @property
    def atlas(self) -> str:
        """Tag and topology of the head model whose texture coordinates the maps lie on."""
        return f"{self.head.tag} {self.head.topology}"

    def replace_maps(self, maps: Maps) -> None:
        """Take other maps of the same size.

        Raises:
            BenchError: they have another size.
        """
        if maps.size != self.config.size:
            raise BenchError(
                f"expected maps of {self.config.size} x {self.config.size} texels, found {maps.size} x {maps.size}.",
                help=f"resample them to {self.config.size} x {self.config.size}",
            )
        with torch.no_grad():
            for name, tensor in maps.tensors().items():
                getattr(self, f"map_{name}").copy_(tensor)
        self._surface = None

    def places(self) -> tuple[Tensor, Tensor, Tensor]:
        """Places of the Gaussians: (face_index (N,), barycentrics (N, 3), texture coordinates (N, 2))."""
        return self.face_index, self.bary, uv_of(self.head, Places(self.face_index, self.bary))

    def put_places(self, places: Places) -> None:
        """Sample the maps at other places."""
        self.face_index, self.bary = places.face_index.to(self.canonical.device), places.bary.to(self.canonical)
        self._surface = self._ratio = None

    def resample(self, points: int, sampling: Literal["area", "uv"] | None = None) -> None:
        """Sample the maps at another number of places, spread evenly; the same for the same number on any machine.

        Args:
            points: number of Gaussians, at least 1.
            sampling: what they are spread evenly in; None: the configuration's.
        """
        how = sampling or self.config.sampling
        self.put_places(spread(self.head, self.canonical, points, how, int(self.seed), self.support))

    def carrier(self, params: HeadParams) -> Tensor:
        found: Tensor = self.body.carrier(params)
        return found

    def surface(self) -> Surface:
        """Places of the Gaussians with what the maps say there; without gradients."""
        found = self._looked_up()
        if self.config.offset_normal == "unit":
            return found
        raw = face_frames(self.canonical[None], self.head.faces).raw_normal[0]
        return replace(found, offset=found.offset * torch.linalg.vector_norm(raw, dim=-1)[self.face_index])

    @torch.no_grad()
    def rig(self) -> Rig | None:
        found = self._looked_up()
        if found.residual is not None:
            return None
        below = self.body.rig() if isinstance(self.body, Rigged) else None
        return Rig(
            formula="surface",
            face_index=found.face_index,
            place=found.bary,
            log_scales=found.log_scales,
            quats=found.quats,
            opacities=found.opacities,
            sh=found.dc[:, None],
            height=found.offset,
            canonical=found.canonical,
            corrections=None if below is None else below.corrections,
            grows="size" if found.grows else "none",
            normal=self.config.offset_normal,
        )

    def _looked_up(self) -> Surface:
        """What `at` returns for the maps as they are, kept until maps or places change."""
        if self._surface is None:
            with torch.no_grad():
                _, _, uv = self.places()
                self._surface = self.at(self.maps.look_up(Look.at(uv, self.config.size, self.config.rows)), uv)
        return self._surface

    def at(self, found: Attributes, uv: Tensor) -> Surface:
        """Surface of what the maps say at the places; its offset is along the normal that the configuration names.

        Args:
            found: attributes at the N places, differentiable.
            uv: (N, 2) texture coordinates of the places.
        """
        config = self.config
        share = found.offset.tanh() if config.second_tanh else found.offset
        (ratio,) = self._density()
        if ratio is not None:
            found = found.for_density(ratio)
        return Surface(
            face_index=self.face_index,
            bary=self.bary,
            uv=uv,
            canonical=self.canonical,
            offset=self.bound * share,
            log_scales=found.scaling,
            quats=found.rotation,
            opacities=found.opacity,
            dc=found.dc,
            residual=self._residual(),
            grows=config.resize_scale,
        )

    def posed(self, params: HeadParams, surface: Surface) -> tuple[Gaussians, Tensor]:
        """Pose what `at` returned: (Gaussians, vertices (B, V, 3) of the carrier)."""
        if self._size is None:
            self._size = canonical_size(surface, self.head.faces)
        vertices = self.carrier(params)
        residual = None
        if surface.residual is not None:
            residual = surface.residual(params, surface.face_index, surface.bary)
        normal = self.config.offset_normal
        return pose(surface, vertices, self.head.faces, self._size, residual, normal), vertices

    def drive(self, params: HeadParams) -> PosedAvatar:
        gaussians, vertices = self.posed(params, self._looked_up())
        return PosedAvatar(gaussians, vertices, vertices)

    def losses(self, posed: PosedAvatar, rendering: Rendering, batch: Batch, clock: Clock) -> dict[str, Tensor]:
        """Refuse: maps are trained by the stage ``bake``.

        Args:
            posed: not used.
            rendering: not used.
            batch: not used.
            clock: not used.

        Raises:
            BenchError: always.
        """
        raise BenchError("a baked avatar is not trained as it is.", help="make it by the stage bake")

    def param_groups(self) -> list[ParamGroup]:
        return []

    def edit(self, event: Any, rendering: Rendering | None, clock: Clock) -> Edit | None:
        return None

    def resize_for(self, shapes: Mapping[str, torch.Size]) -> None:
        inner = {name.removeprefix(_BODY): shape for name, shape in shapes.items() if name.startswith(_BODY)}
        self.body.resize_for(inner)
        if self.config.points is None and "face_index" in shapes:
            rows = shapes["face_index"][0]
            self.face_index = self.face_index.new_zeros(rows)
            self.bary = self.bary.new_zeros((rows, 3))

    def count(self) -> int:
        return len(self.face_index)

    def _density(self) -> tuple[Tensor | None]:
        """Logarithm of the density of the trained places over the present one, (N,); None where they are the same."""
        if self._ratio is None:
            places = Places(self.face_index, self.bary)
            there = density(self.head, self.canonical, places)
            same = not self.config.keep_look or torch.equal(there, self.trained_density)
            self._ratio = (None if same else density_ratio(self.head, self.trained_density, there, places),)
        return self._ratio

    def capture_key(self, clock: Clock) -> Hashable:
        return None if self.body.capture_key(clock) is None else "same"

    def _residual(self) -> Change | None:
        """What the parent's network adds in a pose, if that is kept."""
        if not self.config.residual:
            return None
        if self._change is None:
            self._change = (self.body.surface().residual,)
        return self._change[0]


def cut(body: Any) -> None:
    """Remove all Gaussians of an avatar but the first: what remains poses its mesh."""
    table = body.table
    keep = torch.zeros(len(table), dtype=torch.bool, device=table[table.names()[0]].device)
    keep[0] = True
    table.apply_edit(Edit(keep=keep))
    body.load_state_dict(body.state_dict())  # what is derived from the table follows it
    body.requires_grad_(False).eval()


def _loaded(avatar: Any, _: Any) -> None:
    """Sample the maps of a checkpoint where the configuration says how many places there are."""
    avatar._surface = avatar._size = avatar._change = avatar._ratio = None
    if avatar.config.points is not None:
        avatar.resample(avatar.config.points)
