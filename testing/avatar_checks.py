"""Checks of a method before it is trained: how it is made, posed and rendered, and on which heads."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import get_args

import torch

from headbench.harness.avatar import Avatar, MethodConfig
from headbench.harness.head import TOPOLOGIES, HeadModel, load_head
from headbench.harness.head.load import load_arrays
from headbench.harness.splat import make_rasterizer
from headbench.harness.train import identity_of
from headbench.harness.train.optimizer import AvatarOptimizer
from headbench.harness.types import Camera, Clock, Frame, Gaussians, HeadParams
from headbench.testing.case import Case, finite, picture, shown, unequal
from headbench.testing.failure import require
from headbench.testing.scene import batch_of, posed

__all__ = ["check_create", "check_drive", "check_heads"]

_ANY = Clock(step=1, epoch=1, steps_per_epoch=3, total=12)
_ASIDE = torch.tensor([[0.1, 0.0, 0.0]])
"""Translation of a head, in metres, that Gaussians must follow."""


def check_create(case: Case) -> str:
    """Check that a portrait is made from frames, alike for one seed, and without frames where weights follow."""
    portrait, subject = case.portrait()
    require(type(portrait) is case.kind, f"create() to return a {case.kind.__name__}", type(portrait).__name__)
    finite(portrait, "at the start")
    again, _ = case.portrait()
    other = unequal(portrait.state_dict(), again.state_dict())
    require(not other, "create() to depend on the seed alone", f"other values of {', '.join(other)}")
    empty = case.kind.create(case.head, identity_of(subject), None, case.config)
    saved = portrait.state_dict()
    empty.resize_for({name: value.shape for name, value in saved.items()})
    empty.load_state_dict(saved)
    alike = torch.equal(picture(empty, subject.train[0]), picture(portrait, subject.train[0]))
    require(alike, "create() without frames to show the same once it has the saved tensors", "another picture")
    return f"{portrait.count():,} Gaussians" if case.trained else ""


def check_drive(case: Case) -> str:
    """Check the Gaussians of a pose: their shapes, that a batch equals its members, and the global similarity."""
    portrait, subject = case.portrait()
    frames = subject.train[:2]
    params, camera = HeadParams.join([f.params for f in frames]), Camera.join([f.camera for f in frames])
    both = replace(frames[0], params=params, camera=camera)
    images = picture(portrait, both)
    shown(images, both)
    alone = torch.cat([picture(portrait, frame) for frame in frames])
    off = float((images - alone).abs().max())
    require(off < 2e-3, "a batch of two poses to show what each shows alone", f"a difference of {off:.2g}")
    dark = picture(portrait, frames[0], 0.0)
    require(not torch.equal(dark, alone[:1]), "the background to be seen", "the same picture on black and on white")
    if isinstance(portrait, Avatar):
        with torch.no_grad():
            _gaussians(portrait, params, len(case.head.template))
            _follows(portrait, posed(case.head, 1), posed(case.head, 1, shift=_ASIDE))
    return ""


def _gaussians(avatar: Avatar, params: HeadParams, vertices: int) -> None:
    """Check that `drive` of two poses has the shapes of the conventions, and that `gaussians` gives the same."""
    posed, count = avatar.drive(params), avatar.count()
    found: Gaussians = posed.gaussians
    for name, tail in (("means", (3,)), ("quats", (4,)), ("scales", (3,)), ("opacities", ())):
        shape = tuple(getattr(found, name).shape)
        fine = shape in ((2, count, *tail), (count, *tail))
        require(fine, f"{name} of {count} Gaussians for 2 poses", f"shape {shape}")
    shape = tuple(posed.vertices.shape)
    require(shape == (2, vertices, 3), f"vertices (2, {vertices}, 3)", f"shape {shape}")
    alike = torch.allclose(avatar.gaussians(params).means, found.means, atol=1e-6)
    require(alike, "gaussians() to be those of drive()", "others")


def _follows(avatar: Avatar, params: HeadParams, moved: HeadParams) -> None:
    """Check that the Gaussians move with the global similarity of the parameters."""
    shift = avatar.drive(moved).gaussians.means - avatar.drive(params).gaussians.means
    off = float((shift - _ASIDE).abs().max())
    require(off < 1e-4, "Gaussians to follow the global similarity, 0.1 m along x", f"some {off:.2g} m beside it")


def check_heads(case: Case) -> str:
    """Check a step on the built-in head in each topology that the configuration can name, and on other head models."""
    tried = []
    for config, head in _heads(case):
        portrait, subject = case.portrait(head, config)
        where = f"{head.tag} ({head.topology}, {len(head.template):,} vertices)"
        frame = replace(subject.train[0], params=posed(head, 1, lids=0.5))
        if isinstance(portrait, Avatar):
            _one_step(case, portrait, frame, where)
        shown(picture(portrait, frame), frame)
        tried.append(f"{head.tag} {head.topology} {head.sizes[1]}")
    return ", ".join(dict.fromkeys(tried))


def _heads(case: Case) -> Iterator[tuple[MethodConfig, HeadModel]]:
    """Yield configurations with a head each; the built-in head comes with fewer coefficients, too."""
    base = case.config.model_dump()
    fields = [
        name
        for name, about in type(case.config).model_fields.items()
        if get_args(about.annotation) and set(get_args(about.annotation)) <= set(TOPOLOGIES)
    ]
    by_topology: dict[str, MethodConfig] = {case.config.topology(): case.config}
    for name in fields:
        for topology in get_args(type(case.config).model_fields[name].annotation):
            config = type(case.config).model_validate({**base, name: topology})
            by_topology.setdefault(config.topology(), config)
    for topology, config in by_topology.items():
        yield config, load_head("openhead", topology)
    arrays = load_arrays("openhead", case.config.topology())
    names = arrays.expression_names[:10]
    few = replace(
        arrays,
        shape_dirs=arrays.shape_dirs[..., :6],
        expression_dirs=arrays.expression_dirs[..., :10],
        expression_names=names,
    )
    yield case.config, HeadModel(few)
    for head in case.heads:
        if head.topology in by_topology:
            yield by_topology[head.topology], head


def _one_step(case: Case, avatar: Avatar, frame: Frame, where: str) -> None:
    """Check that one optimisation step works on a head model and leaves finite parameters.

    Args:
        case: gives the method's name.
        avatar: untrained, on that head model.
        frame: its pose and camera are rendered.
        where: name of the head model, for messages.
    """
    white = torch.ones(1, 3)
    optimizer = AvatarOptimizer(avatar, case.spec.name)
    posed = avatar.drive(frame.params)
    rendering = make_rasterizer("numba", "cpu")(posed.gaussians, frame.camera, white)
    require(bool(rendering.visible.any()), f"a Gaussian to be seen on {where}", "none")
    batch = batch_of(frame.params, frame.camera, white)
    torch.stack(list(avatar.losses(posed, rendering, batch, _ANY).values())).sum().backward()
    optimizer.step(_ANY)
    finite(avatar, f"after a step on {where}")
