"""Steps that drew from too short lists do not count: a training ends as one whose lists were long from the start."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor

from headbench.harness.errors import BenchError, PluginError
from headbench.harness.options import Execution
from headbench.harness.plugins import registry
from headbench.harness.session.inference import recorded
from headbench.harness.splat.lists import Lists, room_for
from headbench.harness.splat.numba_backend import NumbaRasterizer
from headbench.harness.train import loop
from headbench.harness.train.capture import RecordedStep
from headbench.harness.train.frames import epoch_order
from headbench.harness.train.log import TrainLog
from headbench.harness.train.loop import Trainer
from headbench.harness.train.restore_point import RestorePoint
from headbench.harness.train.setup import frame_store, make_trainer, prepare
from headbench.harness.train.state import load_state, state_of
from headbench.harness.types import Edit, Rendering, Subject
from headbench.testing.small import small_config
from headbench.testing.training import PlainRecorder

METHODS = [spec.name for spec in registry().methods().values() if not spec.baseline]
EACH = [pytest.param(name, marks=[] if name == "FlashAvatar" else pytest.mark.slow) for name in METHODS]
MARK = 1e-5
"""Metres by which the camera of frame k is shifted, k times, so that a rasterizer can tell frames apart."""


class Fake(NumbaRasterizer):
    """Recordable rasterizer that wants lists of a scripted length, and draws something else where they are shorter."""

    recordable = True

    def __init__(self, wants: Callable[[int], int]) -> None:
        super().__init__()
        self.wants = wants
        self.capacities: list[int | None] = []
        self.short = 0

    def rasterize_within(
        self, prepared, background: Tensor, lists: Lists, absolute_gradient: bool = False
    ) -> Rendering:  # type: ignore[no-untyped-def]
        frames = [round(float(shift) / MARK) for shift in prepared.camera.w2c[:, 0, 3]]
        wanted = sum(self.wants(frame) for frame in frames)
        lists.wanted.copy_(torch.maximum(lists.wanted, torch.tensor(wanted, dtype=torch.int32)))
        drawn = self.rasterize(prepared, background, absolute_gradient)
        self.capacities.append(lists.capacity)
        if lists.capacity is None or wanted <= lists.capacity:
            return drawn
        self.short += 1
        return replace(drawn, image=drawn.image * 0.1 + 3.0, visible=torch.zeros_like(drawn.visible))


def _marked(subject: Subject) -> Subject:
    def mark(number: int, frame):  # type: ignore[no-untyped-def]
        w2c = frame.camera.w2c.clone()
        w2c[:, 0, 3] += MARK * number
        return replace(frame, camera=replace(frame.camera, w2c=w2c))

    return replace(subject, train=tuple(mark(k, frame) for k, frame in enumerate(subject.train)))


@pytest.fixture
def trainer_of(made_subject: Callable[..., Subject]) -> Callable[..., Trainer]:
    def make(method: str, wants: Callable[[int], int], **train: object) -> Trainer:
        kind = registry().load_method(method)
        tiny = small_config(registry().method(method), kind)
        config = kind.config_type.model_validate({**tiny.model_dump(), "train": {**tiny.train.model_dump(), **train}})
        options, subject = Execution(device="cpu", deterministic=True), _marked(made_subject(frames=5))
        parts = replace(prepare(kind, config, subject, options), rasterizer=Fake(wants))
        trainer = make_trainer(parts, parts.portrait, frame_store(parts.config, subject, options), options, method)
        trainer.recording, trainer.make_recorder = True, PlainRecorder
        return trainer

    return make


def _run(trainer: Trainer, folder: Path, every: int = 4) -> tuple[dict[str, Tensor], list[dict[str, float]]]:
    log = TrainLog(folder, every, 0, None, False)
    for step in range(1, trainer.total + 1):
        trainer.step(step, log)
    return _end(trainer), _lines(folder)


def _end(trainer: Trainer) -> dict[str, Tensor]:
    return {**state_of(trainer), **trainer.avatar.state_dict(), **dict(trainer.avatar.named_buffers())}


def _lines(folder: Path) -> list[dict[str, float]]:
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return [{name: value for name, value in line.items() if name != "rate"} for line in lines]


def _same(mine: dict[str, Tensor], other: dict[str, Tensor]) -> None:
    assert mine.keys() == other.keys()
    assert [name for name, value in other.items() if not torch.equal(mine[name], value)] == []


def _growing(frame: int) -> int:
    """Lengths of which each frame's, in the first epoch, is too long for the lists that the frames before it leave."""
    return 20_000 * 3 ** epoch_order(5, Execution().seed, 1).tolist().index(frame)


@pytest.mark.parametrize("method", EACH)
def test_short_lists_leave_no_trace(method: str, trainer_of: Callable[..., Trainer], tmp_path: Path) -> None:
    expected = _run(trainer_of(method, lambda frame: 1), tmp_path / "long")
    short = trainer_of(method, _growing)
    found = _run(short, tmp_path / "short")
    assert short.rasterizer.short > 0
    assert found[1] == expected[1]
    _same(found[0], expected[0])


@pytest.mark.parametrize("method", EACH)
def test_one_recording_of_all_ends_as_plain_steps_do(method: str, trainer_of: Callable[..., Trainer]) -> None:
    plain, whole = trainer_of(method, lambda frame: 1), trainer_of(method, lambda frame: 1)
    plain.recording = False
    for step in range(1, plain.total + 1):
        plain.step(step)
        whole.step(step)
    assert whole.whole, "statistics and update are replayed"
    mine, other = _end(whole), _end(plain)
    assert mine.keys() == other.keys()
    for name, value in other.items():
        torch.testing.assert_close(mine[name], value, rtol=1e-4, atol=1e-5, msg=name)


def test_a_step_that_may_edit_replays_the_gradients_alone(
    trainer_of: Callable[..., Trainer], monkeypatch: pytest.MonkeyPatch
) -> None:
    trainer = trainer_of("FlashAvatar", lambda frame: 1)
    trainer.avatar.capture_key = lambda clock: "same"  # this preset's changes with its step
    trainer.avatar.collect_key = lambda clock: None if clock.step == 4 else "same"
    recordings, done = [], []
    monkeypatch.setattr(
        RecordedStep, "finish", lambda *args, real=RecordedStep.finish: done.append(real(*args)) or done[-1]
    )
    for step in range(1, 6):
        trainer.step(step)
        recordings.append(trainer._current)
    assert recordings[0] is not None
    assert all(recording is recordings[0] for recording in recordings)
    assert done == [False, True, True, True], "the first step makes the moments, and the fourth asks for no replay"
    assert trainer.whole


@pytest.mark.parametrize("idle", [False, True])
def test_a_recorder_whose_memory_lies_idle_is_made_anew_with_another_number_of_gaussians(
    idle: bool, trainer_of: Callable[..., Trainer], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loop, "holds_too_much", lambda device: idle)
    trainer, made = trainer_of("FlashAvatar", lambda frame: 1), []
    trainer.avatar.capture_key = lambda clock: clock.step // 3
    trainer.make_recorder = lambda device: made.append(PlainRecorder(device)) or made[-1]
    for step in range(1, 6):
        trainer.step(step)
    assert len(made) == (2 if idle else 1)


def test_only_the_first_recording_of_a_layout_is_rehearsed(
    trainer_of: Callable[..., Trainer], monkeypatch: pytest.MonkeyPatch
) -> None:
    trainer, rehearsals = trainer_of("FlashAvatar", lambda frame: 1), []
    trainer.avatar.capture_key = lambda clock: "same"
    warm_up = PlainRecorder.warm_up
    monkeypatch.setattr(
        PlainRecorder, "warm_up", lambda self, work: (rehearsals.append(trainer._taken[0]), warm_up(self, work))
    )
    trainer.step(1)
    assert set(rehearsals) == {1}
    first = trainer._current
    trainer.settle()
    trainer.forget()
    trainer.step(2)
    assert trainer._current is not first
    assert set(rehearsals) == {1}


def test_an_edit_that_collect_key_hides_is_an_error(trainer_of: Callable[..., Trainer]) -> None:
    trainer = trainer_of("FlashAvatar", lambda frame: 1)
    trainer.avatar.edit = lambda event, rendering, clock: Edit() if rendering is not None else None
    trainer.recording = False
    trainer.step(1)
    trainer.recording = True
    with pytest.raises(PluginError, match="collect_key"):
        trainer.step(2)


@pytest.mark.slow
def test_random_backgrounds_and_refined_frames_are_drawn_once(
    trainer_of: Callable[..., Trainer], tmp_path: Path
) -> None:
    options = {"background": "random", "batch": 2, "finetune": {"rates": {"expression": 1e-3}}, "steps": 20}
    expected = _run(trainer_of("GaussianAvatars", lambda frame: 1, **options), tmp_path / "long", 50)
    short = trainer_of("GaussianAvatars", _growing, **options)
    found = _run(short, tmp_path / "short", 50)
    assert short.rasterizer.short > 0
    assert found[1] == expected[1]
    _same(found[0], expected[0])
    assert any(name.startswith("finetune_adam/") for name in found[0])


def test_what_settles_in_the_middle_resumes_to_the_byte(trainer_of: Callable[..., Trainer], tmp_path: Path) -> None:
    """A checkpoint between two looks: the steps before it are settled, and a resumed training goes on from them."""
    options = {"background": "random", "steps": 12}
    expected, _ = _run(trainer_of("FlashAvatar", lambda frame: 1, **options), tmp_path / "whole")
    cut = trainer_of("FlashAvatar", _growing, **options)
    for step in range(1, 6):
        cut.step(step)
    assert cut.rasterizer.short > 0
    state = {name: value.clone() for name, value in state_of(cut).items()}
    weights = {name: value.clone() for name, value in cut.avatar.state_dict().items()}
    again = trainer_of("FlashAvatar", _growing, **options)
    again.avatar.load_state_dict(weights)
    load_state(again, state)
    for step in range(6, 13):
        again.step(step)
    _same(_end(again), expected)


def test_an_edit_and_a_fault_that_only_a_wrong_picture_asks_for_do_not_happen(
    trainer_of: Callable[..., Trainer],
) -> None:
    trainer = trainer_of("GaussianAvatars", _growing, steps=8)
    edit, pictures = trainer.avatar.edit, []

    def strict(event, rendering, clock):  # type: ignore[no-untyped-def]
        if rendering is not None:
            pictures.append(float(rendering.image.detach().min()))
            if pictures[-1] > 2.0:
                raise RuntimeError("what a wrong picture leads to")
        return edit(event, rendering, clock)

    trainer.avatar.edit = strict
    trainer.avatar.collect_key = lambda clock: None  # it reads values, so it cannot be recorded
    for step in range(1, 9):
        trainer.step(step)
    trainer.settle()
    assert max(pictures) > 2.0


def test_lists_that_are_nearly_full_get_longer_before_they_overflow(trainer_of: Callable[..., Trainer]) -> None:
    lengths = iter([20_000] * 3 + [26_000] * 30)
    trainer = trainer_of("FlashAvatar", lambda frame: next(lengths), steps=12)
    for step in range(1, 13):
        trainer.step(step)
        trainer.settle()
    rasterizer = trainer.rasterizer
    assert rasterizer.short == 0
    assert rasterizer.capacities[0] is None, "the first is measured"
    assert rasterizer.capacities[1] == room_for(20_000)
    assert rasterizer.capacities[-1] == pytest.approx(room_for(26_000), rel=0.05)


@pytest.mark.parametrize("wanted", [0, 1, 4095, 100_000])
def test_a_capacity_has_a_margin(wanted: int) -> None:
    assert room_for(wanted) >= 1.5 * wanted + 4096
    assert room_for(wanted) % 4096 == 0


def test_a_point_to_go_back_to_copies_no_head(trainer_of: Callable[..., Trainer]) -> None:
    trainer = trainer_of("FlashAvatar", lambda frame: 1)
    point, head = RestorePoint(trainer, 1), trainer.avatar.head
    kept = {tensor.data_ptr() for tensor in point._tensors}
    assert trainer.avatar.table["opacity"].data_ptr() in kept
    assert not kept & {buffer.data_ptr() for buffer in head.buffers()}


def test_lists_that_no_number_counts_are_refused() -> None:
    assert room_for(2**30) > 2**30
    with pytest.raises(BenchError, match="cover more tiles than the rasterizer can list"):
        room_for(2**31 - 1)


def test_a_picture_by_replay_has_lists_that_are_long_enough(trainer_of: Callable[..., Trainer]) -> None:
    def wants(frame: int) -> int:
        return 20_000 * 3**frame

    trainer = trainer_of("FlashAvatar", wants)
    avatar, store, fake = trainer.avatar.eval(), trainer.sampler.store, Fake(wants)
    quick = recorded(avatar, torch.device("cpu"), PlainRecorder(torch.device("cpu")))
    for row, shade in ((0, 1.0), (1, 1.0), (3, 0.5), (1, 0.0)):
        colour = torch.full((1, 3), shade)
        batch = store.batch(torch.tensor([row]), [row], colour)
        with torch.no_grad():
            plain = avatar.render(batch.params, batch.camera, colour, NumbaRasterizer())
        assert torch.equal(quick.render(batch.params, batch.camera, colour, fake), plain)
    assert fake.short > 0
    assert fake.capacities[-1] == room_for(wants(3)), "longer lists stay"
