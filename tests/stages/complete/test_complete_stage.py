"""The stage as a whole: methods, presets, what lies beside a checkpoint, and resuming."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from headbench.harness.errors import BenchError
from headbench.harness.train.checkpoint import adam_state
from headbench.harness.train.loop import Trainer
from headbench.harness.types import Subject
from headbench.stages.complete.stage import Complete
from headbench.stages.complete.storage import read_views

PICTURES = {"prior_set": {"levels": 0, "finer": 1, "looks": 2}, "looks": 2, "size": 48}
"""Options that keep the prior `mirror` small."""


_OTHERS = [pytest.param(name, marks=pytest.mark.slow) for name in ("FlashAvatar", "GaussianAvatars", "SplattingAvatar")]


@pytest.mark.parametrize("method", ["FateAvatar", *_OTHERS])
def test_each_method_on_a_mesh_is_completed_and_stays_of_its_class(
    method: str,
    parents: Callable[..., Any],
    complete: Callable[..., Any],
    true_views: Path,
    weights: Any,
    sample: Subject,
) -> None:
    parent = parents(method)
    before = weights(parent)
    done = complete(parent, prior="folder", source=true_views, looks=2).run()
    assert type(done.portrait) is type(parent.portrait) and done.config == parent.config
    assert done.loader == f"method:{method}" and done.step == 3 * len(sample.train)
    changed = [name for name, value in weights(done).items() if not torch.equal(value, before.get(name, value))]
    assert changed, "nothing was trained"


@pytest.mark.parametrize("preset", ["fixed", "official"])
@pytest.mark.slow
def test_a_killed_completion_goes_on_and_ends_equal(
    preset: str,
    parents: Callable[..., Any],
    complete: Callable[..., Any],
    weights: Any,
    true_views: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pictures = {"prior": "folder", "source": true_views, "looks": 2}
    calm = complete(parents(), preset, "calm", **pictures)
    whole = weights(calm.run())
    broken = complete(parents(), preset, "broken", **pictures)
    step = Trainer.step

    def dies(self: Trainer, number: int, log: Any = None) -> None:
        if number == 6:
            raise KeyboardInterrupt
        step(self, number, log)

    with monkeypatch.context() as patch:
        patch.setattr(Trainer, "step", dies)
        with pytest.raises(KeyboardInterrupt):
            broken.run()
    again = complete(parents(), preset, "broken", **pictures)
    assert [path.name for path in again.work.folder.glob("checkpoint-*")] == ["checkpoint-3"]
    ended = weights(again.run())
    assert whole.keys() == ended.keys() and all(torch.equal(whole[name], ended[name]) for name in whole)
    assert len(read_views(again.work.folder / "views")) == 6


def test_the_official_preset_adds_the_first_gaussians_again_and_counts_by_three(
    parents: Callable[..., Any],
    complete: Callable[..., Any],
    monkeypatch: pytest.MonkeyPatch,
    sample: Subject,
    true_views: Path,
) -> None:
    parent = parents()
    clocks: list[tuple[str, int]] = []
    step = Trainer.step

    def noted(self: Trainer, number: int, log: Any = None) -> None:
        step(self, number, log)
        clocks.append((self._frame_ids[0][:5], self.sampler.at(number).clock.step))

    monkeypatch.setattr(Trainer, "step", noted)
    before, start = parent.portrait.count(), 9
    off = {"densify_every": 0, "prune_every": 0}
    config = parent.config.model_copy(update=off)
    parent.portrait.config = config
    done = complete(parent, "official", prior="folder", source=true_views, looks=2).run()
    assert done.portrait.count() == before + 256
    kinds = [kind for kind, _ in clocks]
    assert kinds[::2] == ["view-"] * len(sample.train) and "view-" not in kinds[1::2]
    expected = [start + 3 * pair + count for pair in range(len(sample.train)) for count in (1, 3)]
    assert [count for _, count in clocks] == expected


@pytest.mark.slow
@pytest.mark.parametrize("method", ["FlashAvatar", "SplattingAvatar"])
def test_views_move_only_gaussians_that_the_frames_do_not_show_and_nothing_shared(
    method: str,
    parents: Callable[..., Any],
    complete: Callable[..., Any],
    monkeypatch: pytest.MonkeyPatch,
    true_views: Path,
) -> None:
    parent = parents(method)
    kept: list[tuple[str, bool]] = []
    step, made = Trainer.step, []

    def noted(self: Trainer, number: int, log: Any = None) -> None:
        before = {name: value.detach().clone() for name, value in self.avatar.named_parameters()}
        if number == 1:
            made.append({name: value.clone() for name, value in self.optimizer.state().items()})
        step(self, number, log)
        if not self._frame_ids[0].startswith("view-"):
            return
        free = self.reach["pseudo"].made
        assert free is not None
        assert 0 < int(free.sum()) < len(free)
        scales = self.avatar.table["scaling"].detach()
        assert bool((scales[free] <= self.reach["pseudo"].most["scaling"]).all()), "no blob may cover a whole view"
        for name, value in self.avatar.named_parameters():
            still = value if not name.startswith("table.") else value[~free]
            kept.append((name, torch.equal(still, before[name] if still is value else before[name][~free])))
            if name == "table.dc":
                assert not torch.equal(value[free], before[name][free])

    monkeypatch.setattr(Trainer, "step", noted)
    complete(parent, prior="folder", source=true_views, looks=2, largest=0.3).run()
    assert kept and all(same for _, same in kept), [name for name, same in kept if not same]
    before = adam_state(parent.path)
    assert before and all(torch.equal(made[0][name], value) for name, value in before.items())


def test_a_method_without_a_mesh_is_refused(parents: Callable[..., Any], complete: Callable[..., Any]) -> None:
    parent = parents()
    parent.about["method"] = "Cloud"  # type: ignore[index]
    instance = complete(parent, **PICTURES)
    parent.portrait.__class__ = type("Cloud", (torch.nn.Module,), {})
    with pytest.raises(BenchError, match="Cloud has no mesh that carries its Gaussians, which `complete` needs"):
        Complete().run(instance.work)
    assert not instance.work.folder.exists()
