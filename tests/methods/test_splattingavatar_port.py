"""What SplattingAvatar's port, the released code and the repaired one do otherwise, where numbers follow from it."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from headbench.harness.blocks.densify import step_generator
from headbench.harness.errors import MissingAsset
from headbench.harness.head import HeadModel, load_head, quat_to_matrix
from headbench.harness.train.optimizer import AvatarOptimizer
from headbench.harness.types import Clock, Event, HeadParams, Identity, TrainView
from headbench.methods.splattingavatar import SplattingAvatar
from headbench.methods.splattingavatar.phong import _descend, embed

CLOCK = Clock(700, 1, 1000, 30_000)


def grown(avatar: SplattingAvatar, splat_of: Any, steep: torch.Tensor) -> dict[str, torch.Tensor]:
    """The rows that density control appends where the gradient is `steep` (N,) bool."""
    table = avatar.table
    table["grad_count"].fill_(2.0)
    table["grad_sum"].copy_(2 * 3e-4 * steep)
    with torch.no_grad():
        edit = avatar.edit(Event.AFTER_BACKWARD, splat_of(torch.zeros(1, len(table))), CLOCK)
    assert edit is not None and edit.append is not None
    return dict(edit.append)


@pytest.mark.parametrize("where", ["canonical", "posed_base"])
def test_a_split_draws_around_the_canonical_gaussian_or_the_posed_base_with_the_canonical_normal(
    embedded: Any, splat_of: Any, tiny_params: Callable[[int], HeadParams], where: str
) -> None:
    avatar = embedded("fateavatar", split_point=where, extent=1e-6, max_size_share=1e9, densify_from=0).double()
    assert avatar.config.split_point == where and embedded("fateavatar").config.split_point == "posed_base"
    rng = torch.Generator().manual_seed(0)
    table = avatar.table
    table["displacement"].data.normal_(0, 0.02, generator=rng)
    table["rotation"].data.normal_(generator=rng)
    table["scaling"].data.copy_(-6 + 0.3 * torch.randn(80, 3, generator=rng))
    params = tiny_params(4)
    fields = ("expression", "root", "neck", "jaw", "eye_left", "eye_right", "translation")
    with torch.no_grad():
        posed = avatar.drive(replace(params, **{n: getattr(params, n).double() for n in fields})).vertices[0].numpy()
    found = grown(avatar, splat_of, torch.arange(80) % 3 == 0)
    old = {n: table[n].detach().numpy() for n in ("face_index", "bary", "displacement", "rotation", "scaling")}
    rows = np.arange(0, 80, 3)
    corners = avatar.mesh.faces.numpy()[old["face_index"][rows]]
    meshes = {"canonical": avatar.mesh.vertices.numpy(), "posed_base": posed}
    assert np.abs(meshes["canonical"] - meshes["posed_base"]).max() > 0.01
    weights = old["bary"][rows][:, :, None]
    normal = (weights * avatar.mesh.normals.numpy()[corners]).sum(1)
    normal /= np.linalg.norm(normal, axis=1, keepdims=True)
    centre = (weights * meshes[where][corners]).sum(1) + old["displacement"][rows][:, None] * normal
    draws = torch.randn((2 * len(rows), 3), generator=step_generator(int(avatar.seed), 700), dtype=torch.float64)
    axes = quat_to_matrix(torch.tensor(old["rotation"][rows])).numpy()
    spread = np.exp(old["scaling"][rows])
    target = [centre + (axes @ (part * spread)[:, :, None])[:, :, 0] for part in draws.numpy().reshape(2, -1, 3)]
    start = torch.tensor(np.concatenate([rows, rows]))
    face, bary, _ = embed(
        avatar.mesh, torch.tensor(np.concatenate(target)), table["face_index"][start], table["bary"][start]
    )
    assert torch.equal(found["face_index"], face)
    torch.testing.assert_close(found["bary"], bary, rtol=0, atol=1e-9)
    torch.testing.assert_close(found["displacement"], table["displacement"].detach()[start], rtol=0, atol=0)
    assert int((face != table["face_index"][start]).sum()) > 0


def test_the_solver_travels_half_a_triangle_s_side_a_round_at_most(embedded: Any) -> None:
    """About 50 steps of at most about 0.01; from far away they are all of this length."""
    avatar = embedded("fateavatar", num_points=4).double()
    face = torch.arange(60)
    middle = torch.full((60, 3), 1 / 3, dtype=torch.float64)
    corners, normals = avatar.mesh.canonical_corners(face)
    # Far along the edge from corner 2 to corner 0, in the plane of the face.
    far = corners.mean(1) + 20 * (corners[:, 0] - corners[:, 2])
    height = torch.zeros(60, dtype=torch.float64)
    found = _descend(far, corners, normals, middle, height)
    assert float(found[:, :2].abs().max()) == pytest.approx(0.5, abs=0.1)


def test_thresholds_that_stay_in_metres_make_splits_rare(
    tiny_identity: Identity, tiny_train: TrainView, preset: Any
) -> None:
    head = load_head("openhead", "open")
    shapes, expressions = head.sizes
    rest = replace(tiny_identity.first, expression=torch.zeros(1, expressions))
    identity = replace(
        tiny_identity, shape=torch.zeros(1, shapes), mean_expression=torch.zeros(1, expressions), first=rest
    )
    share = {}
    for which in ("official", "fateavatar"):
        config = preset("SplattingAvatar", which, num_points=10_000, weights={"lpips": 0.0})
        avatar = SplattingAvatar.create(head, identity, tiny_train, config)
        limit = config.dense_share * config.extent
        share[which] = float((avatar.table["scaling"].detach().exp().amax(1) > limit).float().mean())
    assert share["official"] == pytest.approx(0.1, abs=0.02), "of FLAME's it is 12 %"
    assert share["fateavatar"] == 0


def test_those_never_seen_have_no_gradient_and_stay_as_they_are(embedded: Any, splat_of: Any) -> None:
    avatar = embedded()
    steep = torch.arange(80) < 4
    avatar.table["scaling"].data.fill_(-7.0)
    avatar.table["opacity"].data.fill_(1.0)
    assert len(grown(avatar, splat_of, steep)["opacity"]) == 4
    avatar.table["grad_sum"].zero_()
    avatar.table["grad_count"].zero_()
    with torch.no_grad():
        edit = avatar.edit(Event.AFTER_BACKWARD, splat_of(torch.zeros(1, 80)), CLOCK)
    assert edit is not None and edit.append is not None and edit.keep is not None
    assert len(edit.append["opacity"]) == 0 and bool(edit.keep.all())


@pytest.mark.parametrize(("which", "net"), [("official", "alex"), ("fixed", "alex"), ("fateavatar", "vgg")])
def test_the_preset_s_own_network_is_asked_for(
    tiny_head: HeadModel,
    tiny_identity: Identity,
    tiny_train: TrainView,
    preset: Any,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    which: str,
    net: str,
) -> None:
    monkeypatch.setenv("HEADBENCH_HOME", str(tmp_path))
    with pytest.raises(MissingAsset, match=f"lpips[-_/]{net}"):
        SplattingAvatar.create(tiny_head, tiny_identity, tiny_train, preset("SplattingAvatar", which))


@pytest.mark.parametrize(
    ("which", "arrives"),
    [("fixed", True), ("official", False), pytest.param("fateavatar", False, marks=pytest.mark.slow)],
)
def test_a_gaussian_learns_its_way_over_faces_where_its_place_has_a_gradient(
    embedded: Any, tiny_params: Callable[[int], HeadParams], which: str, arrives: bool
) -> None:
    """Drawn to a place two faces away, on a mesh that is not the canonical one."""
    rates = {"position": 0.03, "position_final": 0.03}
    avatar = embedded(which, num_points=4, walk_every=5, rates=rates)
    optimizer = AvatarOptimizer(avatar, "SplattingAvatar")
    params = tiny_params(4)
    start, goal = torch.tensor([14, 27, 32, 45]), torch.tensor([17, 24, 35, 42])
    avatar.table["face_index"].copy_(start)
    avatar.table["bary"].fill_(1 / 3)
    with torch.no_grad():
        there = avatar.drive(params).vertices[0][avatar.mesh.faces[goal]].mean(1)
    for step in range(1, 121):
        optimizer.zero_grad()
        (avatar.drive(params).gaussians.means[0] - there).square().sum().backward()
        optimizer.step(Clock(step, 1, 1000, 30_000))
        with torch.no_grad():
            optimizer.apply(avatar.edit(Event.AFTER_STEP, None, Clock(step, 1, 1000, 30_000)))
    left = (avatar.drive(params).gaussians.means[0] - there).norm(dim=1).detach()
    assert torch.equal(avatar.table["face_index"], goal if arrives else start)
    assert bool((left < 0.004).all()) == arrives
