"""GaussianAvatars' density control: what is cloned, split, pruned and reset, and when."""

import math
from dataclasses import replace
from typing import Any

import pytest
import torch

from headbench.harness.blocks.densify import step_generator
from headbench.harness.head import HeadModel, quat_to_matrix
from headbench.harness.train.optimizer import AvatarOptimizer
from headbench.harness.types import Clock, Edit, Event, Identity, TrainView
from headbench.methods.gaussianavatars import GaussianAvatars
from headbench.methods.gaussianavatars.edits import densify_due, reset_due, sizes

STEP = 12_000
"""The official preset's first densification."""


def at(step: int, total: int = 600_000) -> Clock:
    return Clock(step, 1, 1000, total)


def prepare(avatar: GaussianAvatars, wanted: list[int], seed: int = 0) -> dict[str, torch.Tensor]:
    """Random rows, opaque enough to stay, of which `wanted` have a steep gradient; the rows before the edit."""
    rng = torch.Generator().manual_seed(seed)
    table = avatar.table
    for name in table.names():
        table[name].data.copy_(torch.randn(table[name].shape, generator=rng))
    table["opacity"].data.abs_()
    avatar.face_size.copy_(0.004 + 0.01 * torch.rand(len(avatar.face_size), generator=rng))
    table["grad_count"].fill_(2.0)
    table["grad_sum"].fill_(2 * 0.99e-4)
    table["grad_sum"][wanted] = 2 * 2e-4
    return {n: table[n].detach().clone() for n in (*table.names(), *table.buffer_names())}


def edit_at(avatar: GaussianAvatars, step: int, rendering: Any, total: int = 600_000) -> Edit | None:
    with torch.no_grad():
        return avatar.edit(Event.AFTER_BACKWARD, rendering, at(step, total))


@pytest.fixture
def unseen(splat_of: Any) -> Any:
    """A splat in which nothing is visible, so that prepared statistics stay."""
    return lambda avatar: splat_of(torch.zeros(1, avatar.count()))


def test_official_schedule_has_294_densifications_and_resets_at_10k_and_every_60k(rigged: Any) -> None:
    config = rigged().config
    steps = range(1000, 600_001, 1000)
    densified = [s for s in steps if densify_due(config, at(s))]
    assert len(densified) == 294
    assert (densified[0], densified[-1]) == (12_000, 598_000)
    assert [s for s in steps if reset_due(config, at(s))] == [10_000, *range(60_000, 600_000, 60_000)]


def test_the_port_starts_at_2000_and_resets_at_60k_only(rigged: Any) -> None:
    config = rigged("fateavatar").config
    steps = range(1000, 100_001, 1000)
    assert [s for s in steps if densify_due(config, at(s))][:2] == [2000, 4000]
    assert [s for s in steps if reset_due(config, at(s))] == [60_000]


def test_without_a_white_background_there_is_no_reset_at_the_start_of_densification(rigged: Any) -> None:
    config = rigged(train={"steps": 600_000, "background": "black"}).config
    assert not reset_due(config, at(10_000))


def test_ordinary_steps_ask_for_nothing(rigged: Any, splat_of: Any) -> None:
    avatar = rigged()
    rendering = splat_of(torch.ones(1, 60), torch.ones(1, 60, 2))
    assert all(edit_at(avatar, s, rendering) is None for s in (1, 999, 11_999, 12_001, 2000))
    assert avatar.table["grad_count"].unique().tolist() == [5.0]
    assert edit_at(avatar, 600_000, rendering) is None, "the last step neither counts nor densifies"
    assert avatar.table["grad_count"].unique().tolist() == [5.0]


def test_small_ones_are_cloned_exactly(rigged: Any, unseen: Any) -> None:
    avatar = rigged(extent=1e6)
    before = prepare(avatar, [3, 17])
    edit = edit_at(avatar, STEP, unseen(avatar))
    assert edit is not None and edit.keep is not None and edit.append is not None
    assert edit.keep.all()
    for name, values in before.items():
        assert torch.equal(edit.append[name], values[[3, 17]])


def test_large_ones_are_split_and_leave(rigged: Any, unseen: Any) -> None:
    avatar = rigged(extent=1e-6)
    before = prepare(avatar, [3, 17])
    edit = edit_at(avatar, STEP, unseen(avatar))
    assert edit is not None and edit.keep is not None and edit.append is not None
    assert (~edit.keep).nonzero()[:, 0].tolist() == [3, 17]
    parents = [3, 17, 3, 17]
    for name in ("dc", "rest", "rotation", "opacity", "face_index"):
        assert torch.equal(edit.append[name], before[name][parents])
    expected = before["scaling"][parents] - math.log(1.6)
    torch.testing.assert_close(edit.append["scaling"], expected)


@pytest.mark.parametrize(("which", "in_metres"), [("official", True), ("fateavatar", False), ("fixed", False)])
def test_a_child_stands_at_a_draw_from_its_parent_in_the_unit_that_the_preset_names(
    rigged: Any, unseen: Any, which: str, in_metres: bool
) -> None:
    avatar = rigged(which, extent=1e-6, densify_from=0)
    before = prepare(avatar, [3, 17])
    edit = edit_at(avatar, STEP, unseen(avatar))
    assert edit is not None and edit.append is not None
    parents = torch.tensor([3, 17, 3, 17])
    deviations = before["scaling"][parents].exp()
    if in_metres:
        deviations = deviations * avatar.face_size[parents][:, None]
    draws = torch.randn((4, 3), generator=step_generator(int(avatar.seed), STEP)) * deviations
    offsets = (quat_to_matrix(before["rotation"][parents]) @ draws[..., None])[..., 0]
    torch.testing.assert_close(edit.append["position"], before["position"][parents] + offsets)
    spread = (edit.append["position"] - before["position"][parents]).norm(dim=1).mean()
    assert (spread < 0.1) == in_metres, "metres on triangle units leave children nearly where the parent was"


def test_size_is_compared_in_the_pose_just_rendered_or_in_the_port_locally(rigged: Any, unseen: Any) -> None:
    official, port = rigged(extent=1.0), rigged("fateavatar")
    for avatar in (official, port):
        prepare(avatar, list(range(60)))
        avatar.table["scaling"].data.fill_(math.log(1.0))
        avatar.face_size.fill_(0.005)
        avatar.face_size[:10] = 0.02
    edit = edit_at(official, STEP, unseen(official))
    assert edit is not None and edit.keep is not None
    assert (~edit.keep).nonzero()[:, 0].tolist() == list(range(10)), "2 cm is split, 5 mm is cloned at 1 % of 1 m"
    edit = edit_at(port, STEP, unseen(port))
    assert edit is not None and edit.keep is not None
    assert not edit.keep.any(), "a local scale of 1 is beyond 0.02: practically always split"


def test_thresholds_are_2e_4_and_in_the_port_1e_4(rigged: Any, unseen: Any) -> None:
    for which, expected in (("official", [0]), ("fateavatar", [0, 1])):
        avatar = rigged(which, extent=1e6)
        prepare(avatar, [])
        avatar.table["grad_sum"][:3] = 2 * torch.tensor([2.01e-4, 1.5e-4, 0.9e-4])
        edit = edit_at(avatar, STEP, unseen(avatar))
        assert edit is not None and edit.append is not None
        assert edit.append["face_index"].tolist() == expected


def test_a_clone_is_not_split_in_the_same_event(rigged: Any, unseen: Any) -> None:
    avatar = rigged(extent=1.0)
    prepare(avatar, list(range(60)))
    size = sizes(avatar.table, avatar.face_size, "world")
    large = int((size > 0.01).sum())
    assert 0 < large < 60
    edit = edit_at(avatar, STEP, unseen(avatar))
    assert edit is not None and edit.append is not None and edit.keep is not None
    assert int(edit.keep.sum()) + len(edit.append["opacity"]) == 60 + (60 - large) + large


@pytest.mark.parametrize("which", ["official", "fateavatar"])
def test_statistics_start_afresh_and_parameters_pause_even_if_nothing_was_selected(
    rigged: Any, unseen: Any, which: str
) -> None:
    avatar = rigged(which, extent=1.0)
    prepare(avatar, [])
    optimizer = AvatarOptimizer(avatar, "GaussianAvatars")
    for name in avatar.table.names():
        avatar.table[name].grad = torch.ones_like(avatar.table[name])
    before = avatar.table["position"].detach().clone()
    edit = edit_at(avatar, STEP, unseen(avatar))
    assert edit is not None
    assert set(edit.zero_statistics) == {"grad_sum", "grad_count"}
    optimizer.apply(edit)
    optimizer.step(at(STEP))
    assert torch.equal(avatar.table["position"].detach(), before), "no update in a densification step"
    assert avatar.table["grad_sum"].abs().max() == 0


def test_the_transparent_go_but_never_the_last_of_a_face(rigged: Any, unseen: Any) -> None:
    avatar = rigged(extent=1e6)
    prepare(avatar, [8])  # cloned, so face 8 has two
    avatar.table["opacity"].data[[5, 8]] = -8.0
    avatar.table["face_index"][20] = 21  # face 20 is empty, face 21 has two
    avatar.table["opacity"].data[21] = -8.0
    edit = edit_at(avatar, STEP, unseen(avatar))
    assert edit is not None and edit.keep is not None and edit.append is not None
    assert (~edit.keep).nonzero()[:, 0].tolist() == [21], "5 is alone; 8 and its clone are all of face 8"
    assert len(edit.append["opacity"]) == 1
    kept = rigged("fixed", extent=1e6)
    prepare(kept, [8])
    kept.table["opacity"].data[[5, 8]] = -8.0
    edit = edit_at(kept, STEP, unseen(kept))
    assert edit is not None and edit.keep is not None and edit.append is not None
    assert edit.keep.all()
    assert len(edit.append["opacity"]) == 0, "of face 8 the first stays and its clone goes"


def test_large_ones_are_pruned_after_60k_only(rigged: Any, unseen: Any) -> None:
    def kept(step: int) -> int:
        avatar = rigged(extent=1.0)
        prepare(avatar, [])
        avatar.table["face_index"].fill_(0)
        avatar.face_size.fill_(0.01)
        avatar.table["scaling"].data.fill_(0.0)
        avatar.table["scaling"].data[:7, 1] = math.log(10.1)  # 10.1 cm
        edit = edit_at(avatar, step, unseen(avatar))
        assert edit is not None and edit.keep is not None
        return int(edit.keep.sum())

    assert kept(60_000) == 60
    assert kept(62_000) == 53


def test_the_port_prunes_by_local_size_which_is_nearly_everything_after_60k(rigged: Any, unseen: Any) -> None:
    def kept(step: int) -> int:
        avatar = rigged("fateavatar")
        prepare(avatar, [])
        avatar.table["face_index"].fill_(0)
        avatar.face_size.fill_(0.001)  # 1 mm: nothing is large in metres
        avatar.table["scaling"].data.fill_(math.log(0.19))
        avatar.table["scaling"].data[:50, 2] = math.log(0.21)
        edit = edit_at(avatar, step, unseen(avatar))
        assert edit is not None and edit.keep is not None
        return int(edit.keep.sum())

    assert kept(60_000) == 60
    assert kept(62_000) == 10, "a tenth of the extent 2 is compared with triangle units, of which every start has 1"


def test_under_one_still_camera_fixed_goes_on_cloning_splitting_and_pruning(
    rigged: Any, unseen: Any, tiny_train: TrainView, tiny_head: HeadModel, tiny_identity: Identity
) -> None:
    camera = tiny_train.frames[0].camera
    still = replace(tiny_train, frames=tuple(replace(f, camera=camera) for f in tiny_train.frames))
    found = {}
    for which in ("official", "fixed"):
        avatar = GaussianAvatars.create(tiny_head, tiny_identity, still, rigged(which).config)
        prepare(avatar, [0, 1, 2, 3])
        avatar.table["scaling"].data.fill_(0.0)
        avatar.face_size.fill_(0.005)
        avatar.face_size[:2] = 0.02
        avatar.table["face_index"][30] = 31
        avatar.table["opacity"].data[30] = -9.0
        edit = edit_at(avatar, 62_000, unseen(avatar))
        assert edit is not None and edit.keep is not None and edit.append is not None
        found[which] = (~edit.keep).nonzero()[:, 0].tolist(), len(edit.append["opacity"])
    assert found["official"] == ([0, 1, 2, 3], 8), "with no extent all are split and nothing transparent goes"
    assert found["fixed"] == ([0, 1, 30], 6), "two split, two cloned, the transparent one gone"


def test_with_no_extent_everything_splits_and_nothing_is_ever_pruned(rigged: Any, unseen: Any) -> None:
    avatar = rigged(extent=0.0)
    prepare(avatar, [1, 2])
    avatar.table["opacity"].data.fill_(-9.0)
    edit = edit_at(avatar, 62_000, unseen(avatar))
    assert edit is not None and edit.keep is not None and edit.append is not None
    assert (~edit.keep).nonzero()[:, 0].tolist() == [1, 2]
    assert len(edit.append["opacity"]) == 4, "all are too large, so the guard cancels all pruning"


def test_screen_size_prunes_only_if_radii_outlive_the_split(rigged: Any, unseen: Any) -> None:
    def kept(**changes: Any) -> int:
        avatar = rigged(extent=1e6, **changes)
        prepare(avatar, [])
        avatar.table["face_index"].fill_(0)
        if "max_radii" in avatar.table.statistic_names():  # where nothing asks for radii, none are kept
            avatar.table["max_radii"][:9] = 21.0
        edit = edit_at(avatar, 62_000, unseen(avatar))
        assert edit is not None and edit.keep is not None
        return int(edit.keep.sum())

    assert kept() == 60, "the released code clears the radii before it prunes"
    assert kept(radii_cleared="after_prune") == 51
    assert kept(radii_cleared="after_prune", max_radius=0) == 60


def test_reset_lowers_old_and_new_after_densification(rigged: Any, unseen: Any) -> None:
    avatar = rigged(extent=1e6)
    prepare(avatar, [3])
    edit = edit_at(avatar, 60_000, unseen(avatar))
    assert edit is not None and edit.append is not None and edit.keep is not None
    assert edit.zero_moments == ("opacity",)
    torch.testing.assert_close(edit.replace["opacity"].sigmoid(), torch.full((60,), 0.01))
    torch.testing.assert_close(edit.append["opacity"].sigmoid(), torch.full((1,), 0.01))
    edit = edit_at(rigged(), 10_000, unseen(rigged()))
    assert edit is not None
    assert edit.keep is None and edit.append is None
    assert edit.zero_statistics == ()


def test_a_limit_takes_the_steepest(rigged: Any, unseen: Any) -> None:
    avatar = rigged(extent=1e6, max_points=62)
    prepare(avatar, [1, 2, 3, 4])
    avatar.table["grad_sum"][[2, 4]] *= 3
    edit = edit_at(avatar, STEP, unseen(avatar))
    assert edit is not None and edit.append is not None
    assert edit.append["face_index"].tolist() == [2, 4]


@pytest.mark.parametrize("which", ["official", "fateavatar", "fixed"])
def test_no_face_is_ever_emptied_and_columns_stay_together(rigged: Any, splat_of: Any, which: str) -> None:
    avatar = rigged(which, extent=1.0, densify_from=0)
    optimizer = AvatarOptimizer(avatar, "GaussianAvatars")
    rng = torch.Generator().manual_seed(2)
    for round_ in range(1, 5):
        n = avatar.count()
        avatar.table["scaling"].data.copy_(torch.randn(n, 3, generator=rng) * 2)
        avatar.table["opacity"].data.copy_(torch.randn(n, generator=rng) * 4 - 3)
        avatar.face_size.copy_(0.005 + 0.01 * torch.rand(60, generator=rng))
        rendering = splat_of(torch.ones(1, n), torch.rand(1, n, 2, generator=rng) * 3e-4)
        with torch.no_grad():
            optimizer.apply(edit_at(avatar, 60_000 + 2000 * round_, rendering))
        counts = torch.bincount(avatar.table["face_index"], minlength=60)
        assert counts.min() >= 1
        assert int(counts.sum()) == avatar.count() == len(avatar.table["rest"]) == len(avatar.table["grad_sum"])


def published(avatar: GaussianAvatars, before: dict[str, torch.Tensor], step: int) -> list[tuple[float, ...]]:
    """What stands after clone, split and prune, one Gaussian at a time: (scale, opacity, face, times it was made)."""
    config, extent, k = avatar.config, float(avatar.extent), avatar.face_size.tolist()
    gradient = (avatar.table["grad_sum"] / avatar.table["grad_count"]).tolist()
    radii = avatar.table["max_radii"].tolist() if "max_radii" in avatar.table.statistic_names() else [0.0] * 60
    opacity = before["opacity"].sigmoid().tolist()
    rows = list(zip(before["scaling"].exp().amax(1).tolist(), opacity, before["face_index"].tolist(), strict=True))

    def size(scale: float, face: int) -> float:
        return scale * k[face] if config.size_space == "world" else scale

    old, clones, children = [], [], []
    for i, (scale, alpha, face) in enumerate(rows):
        large = size(scale, face) > config.dense_share * extent
        if gradient[i] >= config.gradient_threshold and large:
            children.append((scale / 1.6, alpha, face, 2, 0.0))
        else:
            old.append((scale, alpha, face, 0, radii[i]))
            if gradient[i] >= config.gradient_threshold:
                clones.append((scale, alpha, face, 1, 0.0))
    standing = [*old, *clones, *children, *children]

    def unwanted(scale: float, alpha: float, face: int, radius: float) -> bool:
        late = step > config.size_prune_from
        wide = radius > config.max_radius > 0 and config.radii_cleared == "after_prune"
        return alpha < config.min_opacity or (late and (wide or size(scale, face) > config.max_size_share * extent))

    result = []
    for row in standing:
        scale, alpha, face, made, radius = row
        others = [r for r in standing if r[2] == face]
        if unwanted(scale, alpha, face, radius):
            emptied = all(unwanted(*r[:3], r[4]) for r in others)
            if not emptied:
                continue
            best = max(r[1] for r in others)
            if config.guard == "keep_one" and row is not next(r for r in others if r[1] == best):
                continue
        result.append((scale, alpha, face, made))
    return result


@pytest.mark.parametrize("step", [12_000, 62_000])
@pytest.mark.parametrize("which", ["official", "fateavatar", "fixed", "radii"])
def test_density_control_is_the_published_one_gaussian_by_gaussian(
    rigged: Any, unseen: Any, which: str, step: int
) -> None:
    changes = {"radii_cleared": "after_prune"} if which == "radii" else {}
    avatar = rigged("official" if which == "radii" else which, **{"extent": 0.78125, **changes})
    before = prepare(avatar, list(range(0, 60, 2)), seed=4)
    rng = torch.Generator().manual_seed(6)
    table = avatar.table
    table["face_index"].copy_(torch.randint(20, (60,), generator=rng))
    table["opacity"].data.sub_(6.0 * (torch.rand(60, generator=rng) < 0.4))
    if "max_radii" in table.statistic_names():
        table["max_radii"].copy_(40 * torch.rand(60, generator=rng))
    table["grad_sum"][::2] *= 1.5
    # One that is exactly as large as the limit between clone and split.
    table["scaling"].data[0] = 0.0
    avatar.face_size[int(table["face_index"][0])] = 2**-7
    # One whose children are small enough to stay after step 60,000 where it would not be.
    table["scaling"].data[2] = math.log(
        0.1 if which == "fateavatar" else 0.1 / avatar.face_size[table["face_index"][2]]
    )
    before = {name: table[name].detach().clone() for name in before}
    expected = published(avatar, before, step)
    edit = edit_at(avatar, step, unseen(avatar))
    assert edit is not None
    assert {made for *_, made in expected} == ({0, 2} if which == "fateavatar" else {0, 1, 2})
    table.apply_edit(edit)
    found = (table["scaling"].detach().exp().amax(1), table["opacity"].detach().sigmoid(), table["face_index"])
    assert len(expected) == avatar.count() != 60
    for column, values in enumerate(found):
        assert values.tolist() == pytest.approx([row[column] for row in expected], rel=1e-5)
