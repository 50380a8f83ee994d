"""SplattingAvatar's density control and its walk: what is cloned, split, pruned, reset and moved, and when."""

import math
from typing import Any

import numpy as np
import pytest
import torch

from headbench.harness.blocks.densify import step_generator
from headbench.harness.head import quat_to_matrix
from headbench.harness.train.optimizer import AvatarOptimizer
from headbench.harness.types import Clock, Edit, Event
from headbench.methods.splattingavatar import SplattingAvatar
from headbench.methods.splattingavatar.edits import densify_due, reset_due
from headbench.methods.splattingavatar.phong import embed, phong_point

STEP = 700


def at(step: int) -> Clock:
    return Clock(step, 1, 1000, 30_000)


def prepare(avatar: SplattingAvatar, wanted: list[int], size: float = 0.001) -> dict[str, torch.Tensor]:
    """Opaque rows of one canonical size, of which `wanted` have a steep gradient; the rows before the edit."""
    rng = torch.Generator().manual_seed(0)
    table = avatar.table
    for name in ("dc", "rotation", "opacity"):
        table[name].data.copy_(torch.randn(table[name].shape, generator=rng))
    table["opacity"].data.abs_()
    table["displacement"].data.copy_(0.01 * torch.randn(len(table), generator=rng))
    if "shift" in table.names():
        table["shift"].data.copy_(0.05 * torch.randn(len(table), 2, generator=rng))
    table["scaling"].data.fill_(math.log(size))
    avatar.growth.fill_(1.0)
    table["grad_count"].fill_(2.0)
    table["grad_sum"].fill_(2 * 1.99e-4)
    table["grad_sum"][wanted] = 2 * 2e-4
    return {n: table[n].detach().clone() for n in (*table.names(), *table.buffer_names())}


def edit_at(avatar: SplattingAvatar, step: int, rendering: Any) -> Edit | None:
    with torch.no_grad():
        return avatar.edit(Event.AFTER_BACKWARD, rendering, at(step))


@pytest.fixture
def unseen(splat_of: Any) -> Any:
    """A splat in which nothing is visible, so that prepared statistics stay."""
    return lambda avatar: splat_of(torch.zeros(1, avatar.count()))


def test_official_schedule_is_284_densifications_and_9_resets(embedded: Any) -> None:
    config = embedded().config
    densified = [s for s in range(1, 30_001) if densify_due(config, at(s))]
    assert (len(densified), densified[0], densified[-1]) == (284, 600, 28_900)
    assert [s for s in range(1, 30_001) if reset_due(config, at(s))] == list(range(3000, 27_001, 3000))


def test_the_port_densifies_from_step_100_and_resets_for_ever(embedded: Any) -> None:
    config = embedded("fateavatar").config
    assert [s for s in range(1, 1000) if densify_due(config, at(s))] == list(range(100, 1000, 100))
    assert not densify_due(config, at(29_000))
    assert [s for s in range(1, 36_000) if reset_due(config, at(s))] == list(range(3500, 36_000, 3500))


def test_ordinary_steps_ask_for_nothing_and_statistics_end_before_29000(embedded: Any, splat_of: Any) -> None:
    avatar = embedded()
    rendering = splat_of(torch.ones(1, 80), torch.full((1, 80, 2), 3.0))
    assert all(edit_at(avatar, s, rendering) is None for s in (1, 99, 100, 599, 601, 28_999))
    assert avatar.table["grad_count"].unique().tolist() == [6.0]
    torch.testing.assert_close(avatar.table["grad_sum"], torch.full((80,), 6 * 18**0.5))
    assert edit_at(avatar, 29_000, rendering) is None
    assert avatar.table["grad_count"].unique().tolist() == [6.0]


def test_small_and_steep_ones_are_cloned_exactly(embedded: Any, unseen: Any) -> None:
    for which in ("official", "fateavatar", "fixed"):
        avatar = embedded(which)
        before = prepare(avatar, [3, 17], size=0.02)
        avatar.table["scaling"].data -= 1e-5
        before["scaling"] = avatar.table["scaling"].detach().clone()
        edit = edit_at(avatar, STEP, unseen(avatar))
        assert edit is not None and edit.keep is not None and edit.append is not None
        assert edit.keep.all()
        for name, values in before.items():
            assert torch.equal(edit.append[name], values[[3, 17]]), "coincident twins"


def test_large_and_steep_ones_are_split_and_leave(embedded: Any, unseen: Any) -> None:
    for which in ("official", "fixed"):
        avatar = embedded(which)
        before = prepare(avatar, [3, 17], size=0.0201)
        avatar.growth.fill_(0.1)  # a power of 0.1 makes the posed scale large, so that official does not clone either
        edit = edit_at(avatar, STEP, unseen(avatar))
        assert edit is not None and edit.keep is not None and edit.append is not None
        assert (~edit.keep).nonzero()[:, 0].tolist() == [3, 17]
        parents = [3, 17, 3, 17]
        for name in ("dc", "rotation", "opacity"):
            assert torch.equal(edit.append[name], before[name][parents])
        torch.testing.assert_close(edit.append["scaling"], before["scaling"][parents] - math.log(1.6))
        kept = torch.equal(edit.append["displacement"], before["displacement"][parents])
        assert kept == (which == "official"), "the height that was found is used only by the repaired preset"
        if which == "fixed":
            assert edit.append["shift"].abs().max() == 0


@pytest.mark.parametrize(
    ("size", "growth", "official", "port"),
    [(0.019, 1.2, "clone", "clone"), (0.019, 0.9, "none", "clone"), (0.021, 1.2, "both", "split")],
)
def test_official_clones_by_posed_and_splits_by_canonical_size(
    embedded: Any, unseen: Any, size: float, growth: float, official: str, port: str
) -> None:
    """A shrinking face enlarges its Gaussians (power law): too large to clone, too small to split; a growing one may
    let the clone stay beside the children."""
    for which, expected in (("official", official), ("fateavatar", port), ("fixed", port)):
        avatar = embedded(which)
        prepare(avatar, [5], size)
        avatar.growth.fill_(growth)
        edit = edit_at(avatar, STEP, unseen(avatar))
        assert edit is not None and edit.keep is not None and edit.append is not None
        found = {(True, 0): "none", (True, 1): "clone", (False, 2): "split", (False, 3): "both"}[
            bool(edit.keep[5]), len(edit.append["opacity"])
        ]
        assert found == expected, which
        if found == "both":
            sizes = edit.append["scaling"].exp().amax(1)
            torch.testing.assert_close(sizes, size / torch.tensor([1.0, 1.6, 1.6]), rtol=1e-5, atol=0)


def test_children_stand_where_they_were_drawn_around_the_canonical_parent(embedded: Any, unseen: Any) -> None:
    avatar = embedded("fixed", extent=1e-6, max_size_share=1e9)
    # Small compared with the faces, so that a place on the surface exists for every draw.
    before = prepare(avatar, list(range(0, 80, 7)), size=0.004)
    edit = edit_at(avatar, STEP, unseen(avatar))
    assert edit is not None and edit.append is not None
    parents = torch.arange(0, 80, 7).repeat(2)
    surface = avatar.mesh
    shift = before["shift"][parents]
    bary = before["bary"][parents] + torch.cat([shift, -shift.sum(1, keepdim=True)], 1)
    corners = surface.canonical_corners(before["face_index"][parents])
    centre = phong_point(*corners, bary, before["displacement"][parents])
    draws = torch.randn((len(parents), 3), generator=step_generator(int(avatar.seed), STEP)) * 0.004
    target = centre + (quat_to_matrix(before["rotation"][parents]) @ draws[..., None])[..., 0]
    found = phong_point(
        *surface.canonical_corners(edit.append["face_index"]), edit.append["bary"], edit.append["displacement"]
    )
    error = (found - target).norm(dim=1)
    # A joint solver of few steps at rate 0.01 lands within a few hundredths of a face of 0.1 to 0.2 units.
    assert float(error.median()) < 0.004
    torch.testing.assert_close(edit.append["bary"].sum(1), torch.ones(len(parents)))
    assert float(edit.append["bary"].min()) >= 0


def test_the_port_draws_around_the_posed_base_point(embedded: Any, unseen: Any, tiny_params: Any) -> None:
    """With the head 2 cm off its canonical place, children are sought 2 cm off."""
    moved = {}
    for which in ("canonical", "posed_base"):
        avatar = embedded("fateavatar", split_point=which, extent=1e-6, max_size_share=1e9)
        prepare(avatar, list(range(80)), size=1e-4)
        with torch.no_grad():
            avatar.drive(tiny_params(0))
        if which == "posed_base":
            avatar.posed.copy_(avatar.mesh.vertices + torch.tensor([0.02, 0.0, 0.0]))
        edit = edit_at(avatar, STEP, unseen(avatar))
        assert edit is not None and edit.append is not None
        corners = avatar.mesh.canonical_corners(edit.append["face_index"])
        moved[which] = phong_point(*corners, edit.append["bary"], torch.zeros(160))
    shift = (moved["posed_base"] - moved["canonical"])[:, 0]
    # The dome's faces turn away at its sides, and its border stops what would leave it.
    assert 0.01 < float(shift.median()) < 0.03


def test_drive_keeps_the_posed_mesh_for_the_port_alone(embedded: Any, tiny_params: Any) -> None:
    for which, kept in (("fateavatar", True), ("official", False)):
        avatar = embedded(which)
        vertices = avatar.drive(tiny_params(3)).vertices[0] * avatar.config.units
        assert torch.allclose(avatar.posed, vertices) == kept


def test_statistics_start_afresh_and_parameters_pause_even_if_nothing_was_selected(embedded: Any, unseen: Any) -> None:
    avatar = embedded()
    prepare(avatar, [])
    optimizer = AvatarOptimizer(avatar, "SplattingAvatar")
    for name in avatar.table.names():
        avatar.table[name].grad = torch.ones_like(avatar.table[name])
    before = avatar.table["scaling"].detach().clone()
    edit = edit_at(avatar, STEP, unseen(avatar))
    assert edit is not None
    assert set(edit.zero_statistics) == {"grad_sum", "grad_count"}
    optimizer.apply(edit)
    optimizer.step(at(STEP))
    assert torch.equal(avatar.table["scaling"].detach(), before), "no update in a densification step"


def test_the_transparent_go_whatever_face_they_are_on(embedded: Any, unseen: Any) -> None:
    avatar = embedded()
    prepare(avatar, [8])
    avatar.table["opacity"].data[[5, 8]] = math.log(0.0049 / 0.9951)
    edit = edit_at(avatar, STEP, unseen(avatar))
    assert edit is not None and edit.keep is not None and edit.append is not None
    assert (~edit.keep).nonzero()[:, 0].tolist() == [5, 8]
    assert len(edit.append["opacity"]) == 0, "the clone of 8 is as transparent"


def test_large_ones_go_later_by_posed_size_and_in_the_port_by_canonical(embedded: Any, unseen: Any) -> None:
    def kept(which: str, step: int) -> int:
        avatar = embedded(which)
        prepare(avatar, [], size=0.19)
        avatar.growth.fill_(0.9)  # posed 0.19 ** 0.9 = 0.22
        avatar.table["scaling"].data[:7] = math.log(0.21)
        edit = edit_at(avatar, step, unseen(avatar))
        assert edit is not None and edit.keep is not None
        return int(edit.keep.sum())

    assert [kept("official", s) for s in (3000, 3100)] == [80, 0]
    assert [kept("fateavatar", s) for s in (3500, 3600)] == [80, 73]
    assert kept("fixed", 3100) == 80, "0.9 times 0.21 is below 0.2"


def test_at_the_limit_growth_stops_statistics_stay_and_the_screen_size_counts(embedded: Any, unseen: Any) -> None:
    avatar = embedded(max_points=80)
    prepare(avatar, [1, 2])
    avatar.table["max_radii"][:9] = 21.0
    edit = edit_at(avatar, 3100, unseen(avatar))
    assert edit is not None and edit.keep is not None and edit.append is not None
    assert (~edit.keep).nonzero()[:, 0].tolist() == list(range(9))
    assert len(edit.append["opacity"]) == 0
    assert edit.zero_statistics == ()
    early = edit_at(avatar, 2900, unseen(avatar))
    assert early is not None and early.keep is not None
    assert bool(early.keep.all()), "not before step 3000"
    free = embedded(max_points=81)
    prepare(free, [1, 2])
    free.table["max_radii"][:9] = 21.0
    edit = edit_at(free, 3100, unseen(free))
    assert edit is not None and edit.keep is not None and edit.append is not None
    assert bool(edit.keep.all()), "clone and split have just cleared the radii"
    assert len(edit.append["opacity"]) == 2, "80 are below 81, so that both are cloned: 82"
    assert "max_radii" in edit.zero_statistics
    assert "max_radii" not in embedded().table.statistic_names(), "without a limit nothing asks for them"


def test_reset_lowers_old_and_new_after_densification(embedded: Any, unseen: Any) -> None:
    avatar = embedded()
    prepare(avatar, [3])
    edit = edit_at(avatar, 3000, unseen(avatar))
    assert edit is not None and edit.append is not None
    assert edit.zero_moments == ("opacity",)
    torch.testing.assert_close(edit.replace["opacity"].sigmoid(), torch.full((80,), 0.01))
    torch.testing.assert_close(edit.append["opacity"].sigmoid(), torch.full((1,), 0.01))
    late = embedded("fateavatar")
    edit = edit_at(late, 31_500, unseen(late))
    assert edit is not None
    assert edit.keep is None and edit.append is None and edit.zero_statistics == ()


def test_a_walk_moves_what_was_learnt_and_keeps_the_height_s_moments(embedded: Any, tiny_params: Any) -> None:
    avatar = embedded("fixed")
    optimizer = AvatarOptimizer(avatar, "SplattingAvatar")
    for step in range(1, 4):
        for name in avatar.table.names():
            avatar.table[name].grad = torch.ones_like(avatar.table[name])
        optimizer.step(at(step))
    avatar.table["shift"].data.copy_(0.02 * torch.randn(80, 2, generator=torch.Generator().manual_seed(0)))
    before = avatar.drive(tiny_params(2)).gaussians.means.detach()
    start = {name: avatar.table[name].detach().clone() for name in ("face_index", "bary", "shift")}
    moments = optimizer.state()
    assert avatar.edit(Event.AFTER_STEP, None, at(99)) is None
    with torch.no_grad():
        optimizer.apply(avatar.edit(Event.AFTER_STEP, None, at(100)))
    assert avatar.table["shift"].abs().max() == 0
    goal = start["bary"][:, :2] + start["shift"]
    inside = (torch.cat([goal, 1 - goal.sum(1, keepdim=True)], 1) >= 0).all(1)
    assert 20 < int(inside.sum()) < 80
    assert torch.equal(avatar.table["face_index"][inside], start["face_index"][inside])
    assert int((avatar.table["face_index"] != start["face_index"]).sum()) > 5
    after = avatar.drive(tiny_params(2)).gaussians.means.detach()
    torch.testing.assert_close(after[:, inside], before[:, inside], atol=1e-6, rtol=0)
    kept = optimizer.state()
    assert torch.equal(kept["table.displacement/exp_avg"], moments["table.displacement/exp_avg"])
    assert kept["table.shift/exp_avg"].abs().max() == kept["table.shift/exp_avg_sq"].abs().max() == 0
    assert torch.equal(kept["table.shift/step"], moments["table.shift/step"])


@pytest.mark.parametrize(("which", "last"), [("official", 10), ("fateavatar", 9), ("fixed", 20)])
def test_the_released_height_learns_up_to_the_first_walk(embedded: Any, splat_of: Any, which: str, last: int) -> None:
    """With walks and, in the port, densification every 10 steps; the last step that moves a height."""
    avatar = embedded(which, walk_every=10, densify_every=10, densify_from=0 if which == "fateavatar" else 60)
    optimizer = AvatarOptimizer(avatar, "SplattingAvatar")
    rendering = splat_of(torch.ones(1, 80))
    moved = []
    for step in range(1, 21):
        for name in avatar.table.names():
            avatar.table[name].grad = torch.ones_like(avatar.table[name])
        before = avatar.table["displacement"].detach().clone()
        with torch.no_grad():
            optimizer.apply(avatar.edit(Event.AFTER_BACKWARD, rendering, at(step)))
            optimizer.step(at(step))
            optimizer.apply(avatar.edit(Event.AFTER_STEP, rendering, at(step)))
        if not torch.equal(avatar.table["displacement"].detach(), before):
            moved.append(step)
    assert moved == list(range(1, last + 1))


def surface_points(avatar: SplattingAvatar, count: int, seed: int) -> tuple[torch.Tensor, ...]:
    rng = torch.Generator().manual_seed(seed)
    face = torch.randint(len(avatar.head.faces), (count,), generator=rng)
    bary = torch.rand(count, 3, generator=rng, dtype=torch.float64)
    bary = bary / bary.sum(1, keepdim=True)
    corners = avatar.mesh.canonical_corners(face)
    offset = 0.02 * torch.randn(count, 3, generator=rng, dtype=torch.float64)
    return face, bary, phong_point(*corners, bary, torch.zeros(count, dtype=torch.float64)) + offset


@pytest.mark.parametrize("start", ["above", "nearest"])
def test_places_are_sought_as_by_torch_s_adam_on_the_published_objective(embedded: Any, start: str) -> None:
    avatar = embedded(num_points=4).double()
    face, bary, points = surface_points(avatar, 30, 1)
    found = embed(avatar.mesh, points, face, bary, start)
    from headbench.harness.head.walk import walk

    for _ in range(2):
        corners, normals = avatar.mesh.canonical_corners(face)
        normal0 = torch.nn.functional.normalize((bary[:, :, None] * normals).sum(1), dim=1)
        base0 = (bary[:, :, None] * corners).sum(1)
        gap = points - base0
        height = gap.norm(dim=1) if start == "above" else (gap * normal0).sum(1)
        unknown = torch.cat([torch.zeros(30, 2, dtype=torch.float64), height[:, None]], 1).requires_grad_()
        adam = torch.optim.Adam([unknown], lr=0.01)
        for _ in range(50):
            u, v = (bary[:, :2] + unknown[:, :2]).unbind(1)
            weights = torch.stack([u, v, 1 - u - v], 1)[:, :, None]
            normal = torch.nn.functional.normalize((weights * normals).sum(1), dim=1)
            base = (weights * corners).sum(1)
            loss = torch.nn.functional.mse_loss(10 * base + unknown[:, 2:] * 10 * normal, 10 * points)
            adam.zero_grad()
            loss.backward()
            before = unknown.detach().clone()
            adam.step()
            if float((unknown.detach() - before).norm(dim=1).max()) <= 5e-4:
                break
        neighbours = avatar.mesh.neighbours
        face, bary = walk(face, bary, unknown.detach()[:, :2], neighbours)
    assert torch.equal(found[0], face)
    np.testing.assert_allclose(found[1], bary, atol=1e-6)
    np.testing.assert_allclose(found[2], unknown.detach()[:, 2], atol=1e-6)


def test_points_below_the_surface_are_found_by_the_nearest_start(embedded: Any) -> None:
    avatar = embedded("fixed", num_points=4).double()
    face = torch.arange(60)
    bary = torch.full((60, 3), 1 / 3, dtype=torch.float64)
    corners = avatar.mesh.canonical_corners(face)
    points = phong_point(*corners, bary, torch.full((60,), -0.03, dtype=torch.float64))
    for start, expected in (("nearest", 0.0), ("above", None)):
        found, _, height = embed(avatar.mesh, points, face, bary, start)
        error = float((height + 0.03).abs().max())
        if expected is not None:
            assert torch.equal(found, face)
            assert error < 1e-3
        else:
            assert error > 1e-3, "0.06 to go at a rate of 0.01 per step, past the surface"
