"""Check of a method whose Gaussians sit on a mesh: the mesh it gives, and its Gaussians as attributes of places."""

from __future__ import annotations

from dataclasses import fields

import torch
from torch import Tensor

from headbench.harness.avatar import Avatar
from headbench.harness.blocks.surface import canonical_size, pose
from headbench.harness.head import SubjectHead
from headbench.harness.surface import OnSurface, Surface
from headbench.harness.types import HeadParams
from headbench.testing.case import Case
from headbench.testing.failure import require
from headbench.testing.scene import posed

__all__ = ["check_surface"]

_ASIDE = torch.tensor([[0.1, 0.0, 0.0]])
"""Translation of a head, in metres, that the carrier must follow."""
_NEAR = 2e-3
"""Largest median distance in metres between Gaussians and what is posed from their surface, in a random pose."""


def check_surface(case: Case) -> str:
    """Check that the carrier is the mesh of drive, and that Gaussians posed from their surface are where they were."""
    avatar, _ = case.portrait()
    if not isinstance(avatar, OnSurface):
        return "no carrier"
    head = getattr(avatar, "head", None)
    require(isinstance(avatar, Avatar), "what is on a surface to be an Avatar", "a Portrait")
    require(isinstance(head, SubjectHead), "avatar.head to be the head model of the subject", type(head).__name__)
    assert isinstance(avatar, Avatar) and isinstance(head, SubjectHead)
    params = HeadParams.join([posed(case.head, 1, shift=_ASIDE), posed(case.head, 2, shift=_ASIDE)])
    before = {name: value.clone() for name, value in avatar.state_dict().items()}
    surface = avatar.surface()
    same = all(torch.equal(value, before[name]) for name, value in avatar.state_dict().items())
    require(same, "surface() to change nothing", "other values in the state_dict")
    _attributes(surface, head, avatar.count())
    with torch.no_grad():
        carrier, driven = avatar.carrier(params), avatar.drive(params)
        shape = tuple(driven.vertices.shape)
        require(tuple(carrier.shape) == shape, f"carrier() of shape {shape}", f"{tuple(carrier.shape)}")
        off = float((carrier - driven.vertices).abs().max())
        require(off < 1e-5, "carrier() to be the vertices of drive()", f"some {off:.2g} m beside them")
        residual = None
        if surface.residual is not None:
            residual = surface.residual(params, surface.face_index, surface.bary)
        again = pose(surface, carrier, head.faces, canonical_size(surface, head.faces), residual)
        off = float((again.means - driven.gaussians.means).norm(dim=-1).median())
    require(
        off < _NEAR, f"Gaussians of the surface to be within {_NEAR} m of those of drive()", f"a median of {off:.2g} m"
    )
    return "with a residual" if residual is not None else ""


def _attributes(surface: Surface, head: SubjectHead, count: int) -> None:
    """Check shapes and ranges of a surface of `count` Gaussians, and that no gradients hang on it."""
    tails: dict[str, tuple[int, ...]] = {"bary": (3,), "uv": (2,), "log_scales": (3,), "quats": (4,), "dc": (3,)}
    for field in fields(surface):
        value = getattr(surface, field.name)
        if not isinstance(value, Tensor):
            continue
        mesh = field.name == "canonical"
        shape = (len(head.base), 3) if mesh else (count, *tails.get(field.name, ()))
        require(tuple(value.shape) == shape, f"{field.name} of shape {shape}", f"{tuple(value.shape)}")
        require(not value.requires_grad, f"{field.name} without gradients", "one that requires them")
        require(bool(torch.isfinite(value).all()), f"finite values in {field.name}", "NaN or infinity")
    faces = len(head.faces)
    inside = bool(((surface.face_index >= 0) & (surface.face_index < faces)).all())
    require(inside, f"face_index from 0 to {faces - 1}", "others")
    whole = bool((surface.bary >= 0).all()) and bool(((surface.bary.sum(1) - 1).abs() < 1e-4).all())
    require(whole, "barycentrics of at least 0 with the sum 1", "others")
    require(bool(((surface.uv >= 0) & (surface.uv <= 1)).all()), "uv in [0, 1]", "others")
    unit = bool(((surface.quats.norm(dim=1) - 1).abs() < 1e-4).all())
    require(unit, "unit quaternions in quats", "others")
