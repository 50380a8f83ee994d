"""The stage ``bake``: from Gaussians on a surface to continuous maps."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from headbench.harness.avatar import FineTuneConfig, TrainConfig
from headbench.harness.device import resolve_device
from headbench.harness.splat import make_rasterizer
from headbench.harness.stage import Stage, StageWork
from headbench.harness.train import LoadedPortrait
from headbench.harness.train.batch_schedule import BatchSchedule
from headbench.harness.train.finetune import FrameParameters
from headbench.harness.train.frames import FrameStore, epoch_order
from headbench.harness.train.log import TrainLog
from headbench.harness.train.loop import Trainer
from headbench.harness.train.optimizer import AvatarOptimizer
from headbench.harness.train.sampler import EpochSampler
from headbench.harness.train.save_schedule import SaveSchedule
from headbench.harness.train.setup import wait_for
from headbench.harness.train.state import load_state, state_of, under
from headbench.harness.trained import Logged

from .avatar import BakedAvatar
from .begin import begin
from .config import BakeConfig, BakedConfig
from .sources import refined_frames, turns_with_views, view_store
from .training import BakingAvatar

__all__ = ["BakeStage"]


class BakeStage(Stage):
    """The stage ``bake``: it makes maps from a parent whose Gaussians sit on a surface."""

    config_type = BakeConfig

    @classmethod
    def networks(cls, config: BakeConfig) -> frozenset[str]:
        """Registered networks that the losses load.

        Args:
            config: the stage's options.
        """
        return config.networks()

    @classmethod
    def portrait_config(cls, parent: LoadedPortrait, config: BakeConfig) -> Mapping[str, Any]:
        """Values for the configuration of the baked avatar: the stage's options and the parent's method.

        Args:
            parent: what the instance is made from.
            config: the stage's options.
        """
        return {
            **config.model_dump(mode="json"),
            "train": _train_config(parent, config).model_dump(mode="json"),
            "method": parent.loader.removeprefix("method:") or parent.about["method"],
            "method_config": parent.config.model_dump(mode="json"),
        }

    def run(self, work: StageWork) -> BakedAvatar:
        """Train the maps, going on from the newest checkpoint, and write them as files for people.

        Args:
            work: the stage's input.
        """
        parent, config = work.parent, work.config
        assert parent is not None
        device = resolve_device(work.options.device)
        baked_config = BakedConfig.model_validate(self.portrait_config(parent, config))
        avatar = begin(parent, baked_config, work.options.seed, device)
        avatar.load(device)
        _Training(work, avatar, device).run()
        baked = avatar.baked
        baked.maps.write(work.folder / "maps", config.rows, config.bits, baked.atlas)
        return baked


def _train_config(parent: LoadedPortrait, config: BakeConfig) -> TrainConfig:
    """Training options of an instance: its own epochs, one image per step, the parent's size and background."""
    above = parent.config.train
    steps, epochs = config.steps, None if config.steps is not None else config.epochs
    return TrainConfig(
        epochs=epochs, steps=steps, resolution=above.resolution, background=above.background, finetune=above.finetune
    )


class _Training:
    """One training of maps: its steps, their checkpoints, and going on from one.

    Args:
        work: the stage's input.
        avatar: is trained.
        device: trains.
    """

    def __init__(self, work: StageWork, avatar: BakingAvatar, device: torch.device) -> None:
        assert work.parent is not None
        self.work, self.avatar, self.device = work, avatar, device
        config, options = work.config, work.options
        train = _train_config(work.parent, config)
        restart = config.tracking == "restart"
        frames = work.subject.train if restart else refined_frames(work.subject.train, work.parent.frames)
        size = (train.resolution, train.resolution) if train.resolution else None
        order = epoch_order(len(frames), options.seed, 1).tolist()
        self.store = FrameStore(frames, device, size, (), order)
        schedule = BatchSchedule(train, len(frames))
        self.views = view_store(work.parent, device)
        white = self.views is not None and config.regular_background == "white"
        regular = EpochSampler(self.store, schedule, "white" if white else train.background, options.seed)
        self.sampler = turns_with_views(regular, self.views, config, train.background)
        self.trainer = Trainer(
            avatar,
            AvatarOptimizer(avatar, "bake"),
            FrameParameters(
                self.store.frames,
                self.store.params,
                self.store.cameras,
                train.finetune if restart else FineTuneConfig(),
            ),
            self.sampler,
            make_rasterizer(options.rasterizer, device, False),
            record=options.record and device.type == "cuda",
        )

    def run(self) -> None:
        """Take all remaining steps; afterwards the baked avatar has its maps."""
        try:
            done, tensors = self.work.resume(self.avatar.baked) or (0, {})
            total = self.trainer.total
            if done and done == total:
                return
            self._steps(done, self._restore(tensors))
            if total == 0:
                self.avatar.export()
        finally:
            self.store.close()
            if self.views is not None:
                self.views[0].close()

    def _steps(self, done: int, logged: tuple[Logged, dict[str, Tensor]]) -> None:
        work, trainer, options = self.work, self.trainer, self.work.options
        log = TrainLog(work.folder, options.log_every, done, work.progress, options.tensorboard, *logged)
        saving = SaveSchedule(trainer.total, None, options.checkpoint_every)
        before = work.config.export == "before"
        for step in range(done + 1, trainer.total + 1):
            last = step == trainer.total
            if last and before:
                trainer.settle()
                self.avatar.export()
            trainer.step(step, log)
            if not last and saving.checkpoint(step):
                trainer.settle()
                wait_for(self.device)
                begun = time.perf_counter()
                self.avatar.export()
                work.save(self.avatar.baked, step, self._state(log))
                saving.wrote(time.perf_counter() - begun)
            if last and not before:
                self.avatar.export()
        if trainer.total:
            work.save(self.avatar.baked, trainer.total, {})

    def _state(self, log: TrainLog) -> dict[str, Tensor]:
        """What training goes on from, by name."""
        logged, sums = log.state()
        state = state_of(self.trainer)
        state |= {f"network/{k}": v for k, v in self.avatar.network.state_dict().items()}
        state |= {f"wander/{k}": v for k, v in self.avatar.named_buffers(recurse=False)}
        state |= {f"log/{at}/{term}": sums[term] for at, term in enumerate(logged.terms)}
        state["logged"] = torch.tensor(logged.count)
        return state

    def _restore(self, saved: Mapping[str, Tensor]) -> tuple[Logged, dict[str, Tensor]]:
        """Load all but the baked avatar from what `_state` gave; returns what the log had counted."""
        if not saved:
            return Logged(), {}
        self.avatar.network.load_state_dict(under(saved, "network/"))
        for name, buffer in self.avatar.named_buffers(recurse=False):
            buffer.copy_(saved[f"wander/{name}"])
        load_state(self.trainer, saved)
        sums = under(saved, "log/")
        terms = sorted(sums, key=lambda name: int(name.partition("/")[0]))
        found = {name.partition("/")[2]: sums[name].to(self.device) for name in terms}
        return Logged(tuple(found), int(saved["logged"])), found
