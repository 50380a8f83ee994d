"""Steps and pictures that are one CUDA graph each, by the recordable rasterizer: waits, short lists, pictures."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor

from headbench.harness.kernels import SWITCH
from headbench.harness.options import Execution
from headbench.harness.plugins import registry
from headbench.harness.plugins.checks import preset_values
from headbench.harness.session.inference import recorded
from headbench.harness.splat import lists, make_rasterizer
from headbench.harness.splat.drawing import CudaRasterizer
from headbench.harness.splat.drawing.build import missing_for_cuda
from headbench.harness.train.log import TrainLog
from headbench.harness.train.loop import Trainer
from headbench.harness.train.one_launch import Tables
from headbench.harness.train.setup import frame_store, make_trainer, prepare
from headbench.harness.train.shares import SPARE_ROWS
from headbench.harness.types import Edit, Subject

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(missing_for_cuda() is not None, reason="no GPU, or no nvcc"),
]
METHODS = [spec.name for spec in registry().methods().values() if not spec.baseline]


@pytest.fixture
def trainer_of(made_subject: Callable[..., Subject]) -> Callable[..., Trainer]:
    def make(method: str, frames: int = 5, **train: object) -> Trainer:
        kind = registry().load_method(method)
        values = preset_values(registry().method(method), "demo")
        schedule = {"steps": 60, "epochs": None, "resolution": None}
        config = kind.config_type.model_validate({**values, "train": {**values["train"], **schedule, **train}})
        options, subject = Execution(device="cuda", rasterizer="cuda"), made_subject(frames=frames)
        parts = prepare(kind, config, subject, options)
        store = frame_store(parts.config, subject, options)
        store.touch(range(len(store)))
        return make_trainer(parts, parts.portrait, store, options, method)

    return make


def _state(trainer: Trainer) -> dict[str, Tensor]:
    avatar = trainer.avatar
    state = {**dict(avatar.named_parameters()), **dict(avatar.named_buffers()), **trainer.optimizer.state()}
    return {name: value.detach().clone() for name, value in state.items()}


@pytest.mark.parametrize("method", METHODS)
def test_a_recorded_step_never_waits_for_the_device(method: str, trainer_of: Callable[..., Trainer]) -> None:
    trainer = trainer_of(method, frames=30)
    for step in range(1, 6):
        trainer.step(step)
    trainer.settle()
    trainer.step(6)
    assert trainer._current is not None
    assert trainer.whole, "statistics and update are replayed"
    torch.cuda.set_sync_debug_mode("error")
    try:
        for step in range(7, 12):
            trainer.step(step)
    finally:
        torch.cuda.set_sync_debug_mode("default")
    trainer.settle()
    assert all(bool(p.isfinite().all()) for p in trainer.avatar.parameters())


@pytest.mark.parametrize("method", METHODS)
def test_steps_on_short_lists_leave_no_trace(
    method: str, trainer_of: Callable[..., Trainer], monkeypatch: pytest.MonkeyPatch
) -> None:
    trainer = trainer_of(method, frames=30)
    before = _state(trainer)
    with monkeypatch.context() as patched:
        patched.setattr(lists, "room_for", lambda wanted: 40)  # what the first recording measures
        for step in range(1, 6):
            trainer.step(step)
    recording = trainer._current
    assert recording is not None
    assert recording.lists is not None
    assert recording.lists.capacity == 40
    after = _state(trainer)
    assert any(not torch.equal(after[name], value) for name, value in before.items())
    assert trainer._capacities.look(trainer._recordings), "the lists were too short"
    assert trainer._go_back() == 1
    back = _state(trainer)
    assert [name for name, value in before.items() if not torch.equal(back[name], value)] == []
    made = [value for name, value in back.items() if name not in before]
    assert made
    assert not any(bool(value.any()) for value in made), "moments are as before their first step"
    for step in range(1, 6):
        trainer.step(step)
    trainer.settle()
    assert trainer._current is not None
    assert trainer._current is not recording
    assert trainer._current.lists is not None
    assert trainer._current.lists.capacity > 40


def test_a_training_goes_on_over_short_lists_by_itself(
    trainer_of: Callable[..., Trainer], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def train(name: str) -> tuple[dict[str, float], int]:
        trainer, seen = trainer_of("FlashAvatar", frames=10), []
        back = trainer._go_back
        trainer._go_back = lambda: (seen.append(None), back())[1]  # type: ignore[method-assign]
        lines: list[dict[str, float]] = []
        (tmp_path / name).mkdir()
        log = TrainLog(tmp_path / name, 20, 0, lambda line: lines.append(dict(line)), False)
        for step in range(1, 21):
            trainer.step(step, log)
        return lines[-1], len(seen)

    expected, none = train("long")
    with monkeypatch.context() as patched:
        patched.setattr(lists, "room_for", lambda wanted: 40)
        found, some = train("short")
    assert none == 0 < some
    assert found["loss"] == pytest.approx(expected["loss"], rel=1e-2)


@pytest.mark.parametrize("method", METHODS)
def test_one_launch_of_the_update_is_in_the_graph(
    method: str, trainer_of: Callable[..., Trainer], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    means = {}
    for switch in ("-adam", "+adam"):
        monkeypatch.setenv(SWITCH, switch)
        trainer, lines = trainer_of(method, frames=30), []
        (tmp_path / switch).mkdir()
        log = TrainLog(tmp_path / switch, 20, 0, lambda line: lines.append(line), False)  # noqa: B023
        for step in range(1, 21):
            trainer.step(step, log)
        assert trainer._current is not None
        assert [isinstance(reads, Tables) for _, (reads,) in trainer._current._finishes.values()] == [switch == "+adam"]
        means[switch] = lines[-1]["loss"]
    assert means["+adam"] == pytest.approx(means["-adam"], rel=1e-2)


@pytest.mark.parametrize("method", METHODS)
def test_a_picture_is_one_replay(method: str, trainer_of: Callable[..., Trainer]) -> None:
    trainer = trainer_of(method)
    avatar, store = trainer.avatar.eval(), trainer.sampler.store
    draw, white = make_rasterizer("cuda", "cuda", depth=False), torch.ones(1, 3, device="cuda")
    quick = recorded(avatar, torch.device("cuda"))
    for row in (0, 1, 2):
        batch = store.batch(torch.tensor([row], device="cuda"), [row], white)
        with torch.no_grad():
            plain = avatar.render(batch.params, batch.camera, white, draw)
        torch.testing.assert_close(quick.render(batch.params, batch.camera, white, draw), plain)
    (recording,) = quick._recordings.values()
    assert recording.lists is not None
    recording.lists.capacity = 1  # as if the next picture wanted more than there is
    torch.testing.assert_close(quick.render(batch.params, batch.camera, white, draw), plain)
    (again,) = quick._recordings.values()
    assert again is not recording


@pytest.mark.parametrize("method", ["GaussianAvatars", "SplattingAvatar"])
def test_with_spare_rows_an_edit_keeps_the_recording_and_what_it_computes(
    method: str, trainer_of: Callable[..., Trainer], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(SPARE_ROWS, "0.5")
    trainer = trainer_of(method, frames=30)
    avatar, optimizer = trainer.avatar, trainer.optimizer
    for step in range(1, 7):
        trainer.step(step)
    trainer.settle()
    recording, table = trainer._current, avatar.table
    assert recording is not None and trainer.whole and table.reserved
    before = {name: table.leaf(name).data_ptr() for name in table.names()}
    old = {name: table[name].detach() for name in (*table.names(), *table.buffer_names())}
    count = avatar.count()
    keep = torch.arange(count, device="cuda") % 50 > 0
    assert not optimizer.apply(Edit(keep=keep, append={name: value[: count // 5] for name, value in old.items()}))
    assert avatar.count() == int(keep.sum()) + count // 5
    for step in range(7, 10):
        trainer.step(step)
    trainer.settle()
    assert trainer._current is recording
    assert {name: table.leaf(name).data_ptr() for name in table.names()} == before
    terms = {name: float(value) for name, value in trainer.gradients(10)[0].items()}
    gradients = {name: table.leaf(name).grad.clone() for name in table.names()}
    trainer.recording = False
    plain = trainer.gradients(10)[0]
    assert terms == pytest.approx({name: float(value) for name, value in plain.items()}, rel=1e-3)
    for name, found in gradients.items():
        expected = table.leaf(name).grad
        assert not found[avatar.count() :].any()
        assert float(torch.cosine_similarity(found.flatten(), expected.flatten(), dim=0)) > 0.999, name


@pytest.mark.parametrize("method", ["FateAvatar", "GaussianAvatars", "SplattingAvatar"])
def test_statistics_of_a_recorded_step_are_those_that_an_edit_takes(
    method: str, trainer_of: Callable[..., Trainer], monkeypatch: pytest.MonkeyPatch
) -> None:
    found = []
    for collects in (False, True):
        monkeypatch.setattr(CudaRasterizer, "collects", collects)
        trainer = trainer_of(method, frames=30, batch=2)
        trainer.step(1)
        trainer.settle()
        table = trainer.avatar.table
        found.append({name: table[name].clone() for name in table.statistic_names()})
        assert trainer.gradients(2)[1].collected == collects
    without, within = found
    assert torch.equal(within["grad_count"], without["grad_count"])
    assert float(within["grad_count"].max()) == 2, "a rehearsal is no step"
    assert float(torch.cosine_similarity(within["grad_sum"], without["grad_sum"], dim=0)) > 0.9999
    torch.testing.assert_close(within["grad_sum"].sum(), without["grad_sum"].sum(), rtol=1e-3, atol=0)
