"""Trainings end alike with spare rows, which keep recordings, and with statistics that the way back collects."""

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from headbench.harness.options import Execution
from headbench.harness.plugins import registry
from headbench.harness.splat.lists import Lists
from headbench.harness.splat.numba_backend import NumbaRasterizer
from headbench.harness.train.loop import Trainer
from headbench.harness.train.optimizer import AvatarOptimizer
from headbench.harness.train.setup import frame_store, make_trainer, prepare
from headbench.harness.train.shares import SPARE_ROWS
from headbench.harness.train.state import load_state, state_of
from headbench.harness.train.table import GaussianTable
from headbench.harness.types import Clock, Edit, Event, Rendering, ScreenStatistics, Subject
from headbench.testing.small import small_config
from headbench.testing.training import PlainRecorder


def columns(rows: int, seed: int) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return {"place": torch.randn(rows, 3, generator=generator), "face": torch.randint(9, (rows,), generator=generator)}


def table(rows: int) -> GaussianTable:
    new = columns(rows, 0)
    return GaussianTable({"place": new["place"]}, {"face": new["face"]}, {"seen": torch.zeros(rows)})


EDITS = [
    Edit(append=columns(2, 1)),
    Edit(keep=torch.arange(8) % 3 > 0, append=columns(4, 2), zero_statistics=("seen",)),
    Edit(keep=torch.arange(9) < 3),
    Edit(replace={"place": columns(3, 3)["place"]}),
    Edit(append=columns(30, 4)),
    Edit(keep=torch.arange(33) > 30),
]


def test_edits_change_a_table_in_its_memory_as_they_change_one_without() -> None:
    plain, spare = table(6), table(6)
    spare.reserve(1.0, {"place": torch.tensor([7.0, 8.0, 9.0])})
    assert (len(spare), spare.room, spare.reserved, plain.reserved) == (6, 12, True, False)
    rooms, places = [], []
    for edit in EDITS:
        for each in (plain, spare):
            each["seen"].add_(torch.arange(float(len(each))))
        kept, expected = spare.apply_edit(edit), plain.apply_edit(edit)
        assert kept.keys() == expected.keys() and all(torch.equal(kept[key], expected[key]) for key in kept)
        assert len(spare) == len(plain)
        for name in ("place", "face", "seen"):
            assert torch.equal(spare[name], plain[name])
        rows, room = len(spare), spare.room
        assert dict(spare.named_parameters())["place"].shape == (rows, 3) and spare.own_rows() is None
        with spare.padded():
            assert len(spare) == room and dict(spare.named_parameters())["place"] is spare.leaf("place")
            assert spare["place"][rows:].tolist() == [[7.0, 8.0, 9.0]] * (room - rows)
            assert not spare["face"][rows:].any() and not spare["seen"][rows:].any()
            assert spare.own_rows().tolist() == [True] * rows + [False] * (room - rows)
            with pytest.raises(RuntimeError, match="spare rows are shown"):
                spare.apply_edit(Edit(keep=torch.ones(room, dtype=torch.bool)))
        rooms.append(room)
        places.append(tuple(spare[name].data_ptr() for name in ("place", "face", "seen")))
    assert rooms == [12, 12, 12, 12, 66, 66], "what does not fit is given twice its rows"
    assert len(set(places[:4])) == len(set(places[4:])) == 1
    spare.resize(5)
    assert not spare.reserved and spare.room == 5


@pytest.mark.parametrize("given", [True, False], ids=["from the start", "after steps"])
def test_adam_follows_edits_of_a_table_with_spare_rows(given: bool, cloud: Callable) -> None:
    opaque = {"opacity": torch.tensor(-20.0)}
    kind = type("Spare", (cloud,), {"spare_row": lambda self: opaque})
    ends = []
    for share in (0.0, 0.6):
        avatar = kind(10)
        optimizer = AvatarOptimizer(avatar, "cloud")
        valid = []
        for step in range(1, 10):
            if share and step == (1 if given else 4):
                assert optimizer.reserve(share)
            count, generator = avatar.count(), torch.Generator().manual_seed(step)
            avatar.gain.grad = torch.randn((), generator=generator)
            for name in avatar.table.names():
                leaf = avatar.table.leaf(name)
                leaf.grad = torch.zeros_like(leaf)
                leaf.grad[:count] = torch.randn(leaf[:count].shape, generator=generator)
            if step in (3, 5, 7):
                keep = torch.arange(count) % 4 > 0
                new = {"xyz": torch.ones(3, 3), "opacity": torch.zeros(3), "colour": torch.zeros(3, 3)}
                if step == 7:
                    new = {name: torch.cat([value] * 9) for name, value in new.items()}
                valid.append(not optimizer.apply(Edit(keep=keep, append=new, zero_moments=("colour",))))
                assert all(avatar.table.leaf(name).grad is None for name in avatar.table.names())
            if step == 6:
                optimizer.apply(Edit(replace={"opacity": torch.zeros(count)}, zero_moments=("opacity",)))
            optimizer.step(Clock(step, 1, 9, 9))
        ends.append({**dict(avatar.named_parameters()), **optimizer.state()})
        reserved = [step for step in (3, 5, 7) if share and (given or step > 4)]
        assert valid == [step in reserved and step < 7 for step in (3, 5, 7)], "27 new rows do not fit"
        if share:
            leaf = avatar.table.leaf("colour")
            moments = optimizer._of(leaf).state[leaf]
            assert not leaf[avatar.count() :].any() and not moments["exp_avg"][avatar.count() :].any()
            again = AvatarOptimizer(avatar := kind(avatar.count()), "cloud")
            again.load(optimizer.state())
            again.reserve(share)
            assert all(torch.equal(again.state()[key], value) for key, value in optimizer.state().items())
    assert ends[0].keys() == ends[1].keys()
    for name, value in ends[0].items():
        # Which elements a vector instruction takes depends on their number, and with it the last bit.
        torch.testing.assert_close(ends[1][name], value, rtol=1e-6, atol=1e-7, msg=name)


class Recordable(NumbaRasterizer):
    """Rasterizer whose lists are always long enough."""

    recordable = True

    def rasterize_within(
        self, prepared, background: Tensor, lists: Lists, absolute_gradient: bool = False
    ) -> Rendering:  # type: ignore[no-untyped-def]
        return self.rasterize(prepared, background, absolute_gradient)


class Strict(PlainRecorder):
    """Recorder of plain calls that are only made while what they read lies where it lay."""

    def __init__(self, trainer: Trainer) -> None:
        self.trainer, self.recordings = trainer, 0

    def record(self, work: Callable[[], object]) -> Callable[[], None]:
        before = self.places()
        self.recordings += 1

        def again() -> None:
            now = self.places()
            assert {name: now[name] for name in before} == before
            work()

        return again

    def places(self) -> dict[str, tuple[int, torch.Size]]:
        avatar, adams = self.trainer.avatar, self.trainer.optimizer.optimizers()
        with avatar.table.padded():
            tensors = {**dict(avatar.named_parameters()), **dict(avatar.named_buffers())}
        for number, adam in enumerate(adams):
            for place, p in enumerate(adam.param_groups[0]["params"]):
                tensors |= {f"{number}/{place}/{key}": value for key, value in adam.state.get(p, {}).items()}
        return {name: (value.data_ptr(), value.shape) for name, value in tensors.items()}


class Collecting(Recordable):
    """The same, which adds to statistics on the way back."""

    collects = True

    def prepare_collecting(self, gaussians, camera, statistics):  # type: ignore[no-untyped-def]
        # Called once the gradient of what was drawn is there.
        gaussians.means.register_hook(lambda gradient: self.add(statistics))
        return self.prepare(gaussians, camera)

    def rasterize(self, prepared, background: Tensor, absolute_gradient: bool = False) -> Rendering:  # type: ignore[no-untyped-def]
        self.drawn = super().rasterize(prepared, background, absolute_gradient)
        return self.drawn

    def add(self, statistics: ScreenStatistics | None) -> None:
        if statistics is not None:
            seen = self.drawn.visible
            statistics.gradient.add_((self.drawn.screen.plain().norm(dim=-1) * seen * len(seen)).sum(0))
            statistics.visits.add_(seen.sum(0))


@pytest.fixture
def trainer_of(made_subject: Callable[..., Subject], monkeypatch: pytest.MonkeyPatch) -> Callable[..., Trainer]:
    def make(method: str, share: float, kind_of: type[Recordable] = Recordable, **options: object) -> Trainer:
        kind = registry().load_method(method)
        config = kind.config_type.model_validate(
            {**small_config(registry().method(method), kind).model_dump(), **options}
        )
        execution, subject = Execution(device="cpu", deterministic=True), made_subject(frames=5)
        parts = replace(prepare(kind, config, subject, execution), rasterizer=kind_of())
        # As a GPU takes it from the environment.
        shares = {SPARE_ROWS: share}
        monkeypatch.setattr("headbench.harness.train.setup.share", lambda name, device: shares.get(name, 0.0))
        trainer = make_trainer(parts, parts.portrait, frame_store(parts.config, subject, execution), execution, method)
        trainer.recording = True
        strict = Strict(trainer)
        trainer.make_recorder = lambda device: strict
        return trainer

    return make


@pytest.mark.parametrize(
    ("method", "options"),
    [
        pytest.param("GaussianAvatars", {"regularise": "visible", "sh_every": 100}, marks=pytest.mark.slow),
        ("GaussianAvatars", {"regularise": "all", "sh_every": 100}),
        ("SplattingAvatar", {}),
    ],
    ids=["GaussianAvatars", "GaussianAvatars, all regularised", "SplattingAvatar"],
)
def test_a_training_with_spare_rows_ends_as_one_without(
    method: str, options: dict[str, object], trainer_of: Callable[..., Trainer]
) -> None:
    plain, spare = trainer_of(method, 0.0, **options), trainer_of(method, 0.5, **options)
    counts: list[list[int]] = [[], []]
    for step in range(1, plain.total + 1):
        for trainer, seen in zip((plain, spare), counts, strict=True):
            trainer.step(step)
            seen.append(trainer.avatar.count())
    assert counts[0] == counts[1] and len(set(counts[0])) > 1, "edits changed the number of rows"
    assert spare.whole and spare.avatar.table.reserved and not plain.avatar.table.reserved
    once, anew = (trainer.make_recorder(torch.device("cpu")).recordings for trainer in (spare, plain))
    assert once < anew, "what was recorded before an edit is replayed after it"
    mine, other = (state_of(each) | each.avatar.state_dict() for each in (spare, plain))
    assert mine.keys() == other.keys()
    for name, value in other.items():
        torch.testing.assert_close(mine[name], value, rtol=1e-4, atol=1e-5, msg=name)
    # What was saved is of the table's own rows, and a training without spare ones goes on from it.
    again = trainer_of(method, 0.0, **options)
    weights = {name: value.clone() for name, value in spare.avatar.state_dict().items()}
    again.avatar.resize_for({name: value.shape for name, value in weights.items()})
    again.avatar.load_state_dict(weights)
    again.optimizer = AvatarOptimizer(again.avatar, method)
    saved = {name: value.clone() for name, value in state_of(spare).items()}
    load_state(again, saved)
    assert all(torch.equal(state_of(again)[name], value) for name, value in saved.items())


SLOW = [pytest.param(name, marks=pytest.mark.slow) for name in ("FateAvatar", "GaussianAvatars")]


@pytest.mark.parametrize("method", [*SLOW, "SplattingAvatar"])
def test_statistics_that_the_way_back_collects_are_those_of_edits(
    method: str, trainer_of: Callable[..., Trainer]
) -> None:
    trainers = [trainer_of(method, share, kind) for share, kind in ((0.0, Recordable), (0.5, Collecting))]
    seen: list[list[bool]] = [[], []]
    for trainer, flags in zip(trainers, seen, strict=True):
        edit = trainer.avatar.edit

        def watched(event, rendering, clock, edit=edit, flags=flags):  # type: ignore[no-untyped-def]
            if event is Event.AFTER_BACKWARD:
                flags.append(rendering.collected)
            return edit(event, rendering, clock)

        trainer.avatar.edit = watched
    plain, collecting = trainers
    for step in range(1, plain.total + 1):
        for trainer in trainers:
            trainer.step(step)
        for name in plain.avatar.table.statistic_names():
            found, expected = collecting.avatar.table[name], plain.avatar.table[name]
            torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-5)
    assert seen[0] and not any(seen[0])
    collects = [collecting.avatar.screen_statistics(collecting.sampler.at(step).clock) for step in (1, plain.total)]
    assert collects[0] is not None and (collects[1] is not None) == seen[1][-1] and seen[1][0]
