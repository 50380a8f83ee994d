"""Graphs of plain steps are gone before a step is recorded: their nodes belong to another stream of a GPU."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator

import pytest
import torch

from headbench.harness.options import Execution
from headbench.harness.plugins import registry
from headbench.harness.train.lingering import let_go, lingering
from headbench.harness.train.loop import Trainer
from headbench.harness.train.setup import frame_store, make_trainer, prepare
from headbench.harness.types import Subject
from headbench.testing.small import small_config
from headbench.testing.training import PlainRecorder

METHODS = [spec.name for spec in registry().methods().values() if not spec.baseline]
EACH = [pytest.param(name, marks=[] if name == "FlashAvatar" else pytest.mark.slow) for name in METHODS]


@pytest.fixture
def no_collection() -> Iterator[None]:
    gc.disable()
    yield
    gc.enable()


@pytest.fixture
def trainer_of(made_subject: Callable[..., Subject]) -> Callable[[str], Trainer]:
    def make(method: str) -> Trainer:
        kind = registry().load_method(method)
        config, options = small_config(registry().method(method), kind), Execution(device="cpu", deterministic=True)
        subject = made_subject(frames=3)
        parts = prepare(kind, config, subject, options)
        return make_trainer(parts, parts.portrait, frame_store(parts.config, subject, options), options, method)

    return make


def circle(*held: object) -> None:
    """Garbage that holds something until it is collected."""
    ring: list[object] = [*held]
    ring.append(ring)


@pytest.mark.usefixtures("no_collection")
def test_a_graph_that_hangs_in_garbage_is_found_and_freed() -> None:
    leaves = [torch.ones(3, requires_grad=True) for _ in range(3)]
    kept = leaves[0] * 2
    circle(leaves[1] + leaves[2])
    assert lingering(leaves) == 3
    let_go(leaves)
    assert lingering(leaves) == 1, "what somebody keeps stays"
    del kept
    assert lingering(leaves) == 0
    with torch.no_grad():
        assert lingering(leaves) == 0


@pytest.mark.parametrize("method", EACH)
def test_of_a_plain_step_nothing_but_garbage_stays(method: str, trainer_of: Callable[[str], Trainer]) -> None:
    trainer = trainer_of(method)
    free = [p for p in trainer.avatar.parameters() if p.requires_grad]
    held = [p.view_as(p) for p in free]
    assert lingering(free) == len(free) > 0
    trainer.step(1)
    del held
    gc.collect()  # numba compiles below the first step
    assert lingering(free) == 0


@pytest.mark.usefixtures("no_collection")
def test_garbage_of_a_plain_step_is_gone_before_a_recording(trainer_of: Callable[[str], Trainer]) -> None:
    trainer, seen = trainer_of("FlashAvatar"), []
    free = [p for p in trainer.avatar.parameters() if p.requires_grad]

    class Recorder(PlainRecorder):
        def warm_up(self, work: Callable[[], None]) -> None:
            seen.append(lingering(free))
            super().warm_up(work)

    losses = trainer.avatar.losses

    def hanging(posed, rendering, batch, clock):  # type: ignore[no-untyped-def]
        terms = losses(posed, rendering, batch, clock)
        circle(terms)
        return terms

    trainer.avatar.losses = hanging  # type: ignore[method-assign]
    trainer.make_recorder = Recorder
    trainer.step(1)
    assert lingering(free) > 0
    trainer.recording = True
    trainer.step(2)
    assert seen == [0]
