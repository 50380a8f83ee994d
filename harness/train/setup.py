"""Makes all that training needs from a subject and a configuration; shared by the train stage and the profiler."""

from __future__ import annotations

import random
from dataclasses import dataclass

import numpy as np
import torch

from headbench.harness.avatar import Avatar, MethodConfig, Portrait
from headbench.harness.device import be_deterministic, resolve_device
from headbench.harness.head import load_head
from headbench.harness.kernels import make_current
from headbench.harness.options import Execution
from headbench.harness.splat import Rasterizer, make_rasterizer
from headbench.harness.train.batch_schedule import BatchSchedule
from headbench.harness.train.finetune import FrameParameters
from headbench.harness.train.frames import FrameStore, epoch_order
from headbench.harness.train.loop import Trainer
from headbench.harness.train.optimizer import AvatarOptimizer
from headbench.harness.train.sampler import EpochSampler
from headbench.harness.train.shares import SPARE_ROWS, TARGET_FEATURES, share
from headbench.harness.types import Identity, Subject, TrainView

__all__ = [
    "Parts",
    "frame_store",
    "identity_of",
    "make_trainer",
    "peak_memory",
    "prepare",
    "wait_for",
]


@dataclass(frozen=True)
class Parts:
    """An untrained portrait with all that a training needs besides: identity, configuration, back end, device."""

    portrait: Portrait
    identity: Identity
    config: MethodConfig
    rasterizer: Rasterizer
    device: torch.device
    notes: tuple[str, ...]
    """What the head model had to fall back to, one sentence each."""


def identity_of(subject: Subject) -> Identity:
    """The identity that an avatar may keep of its subject, computed from training frames alone."""
    expression = torch.cat([f.params.expression for f in subject.train])
    variance = expression.var(dim=0, keepdim=True) if len(expression) > 1 else torch.zeros_like(expression)
    first = subject.train[0]
    return Identity(
        head=subject.head,
        shape=subject.shape,
        mean_expression=expression.mean(dim=0, keepdim=True),
        var_expression=variance,
        first=first.params,
        camera=first.camera,
        subject=subject.name,
        static_offset=subject.static_offset,
    )


def prepare(
    portrait_type: type[Portrait], config: MethodConfig, subject: Subject, options: Execution, scratch: str = ""
) -> Parts:
    """Seed all generators, load the head model and make the untrained portrait.

    Args:
        portrait_type: the method's class.
        config: the method's configuration.
        subject: only its training frames are read.
        options: device, rasterizer, seed, deterministic algorithms.
        scratch: folder for the method's own files; empty: it gets none.

    Raises:
        MissingAsset: the subject's head model, or a network that the losses need, is not registered.
    """
    device = resolve_device(options.device)
    make_current(device)
    random.seed(options.seed)
    np.random.seed(options.seed)  # noqa: NPY002 - plugins may draw from the global generator
    torch.manual_seed(options.seed)
    be_deterministic(options.deterministic)
    head = load_head(subject.head, config.topology(), device=device)
    identity = identity_of(subject).to(device)
    width, height = _size(config, subject)
    view = TrainView(subject.train, width, height, options.seed, scratch)
    portrait = portrait_type.create(head, identity, view, config)
    depth = isinstance(portrait, Avatar) and portrait.reads_depth
    rasterizer = make_rasterizer(options.rasterizer, device, depth)
    return Parts(portrait, identity, config, rasterizer, device, head.notes)


def frame_store(config: MethodConfig, subject: Subject, options: Execution) -> FrameStore:
    """Store of a subject's training frames on the device, which decodes ahead in the order of the first epoch.

    Args:
        config: the method's configuration, with the images' size and the masks.
        subject: has the training frames.
        options: give device and seed.
    """
    order = epoch_order(len(subject.train), options.seed, 1).tolist()
    device, size = resolve_device(options.device), _size(config, subject)
    return FrameStore(subject.train, device, size, sorted(config.masks()), order)


def make_trainer(parts: Parts, avatar: Avatar, store: FrameStore, options: Execution, method: str) -> Trainer:
    """Make the trainer of an avatar.

    Args:
        parts: that the avatar is a part of.
        avatar: is trained in place.
        store: its training frames.
        options: seed, and whether to record CUDA graphs.
        method: the method's name, for errors.
    """
    config = parts.config.train
    schedule = BatchSchedule(config, len(store))
    return Trainer(
        avatar,
        AvatarOptimizer(avatar, method, config.images_a_step()[0][1], config.batch_rates),
        FrameParameters(store.frames, store.params, store.cameras, config.finetune),
        EpochSampler(store, schedule, config.background, options.seed),
        parts.rasterizer,
        config.update_last,
        record=options.record and parts.device.type == "cuda",
        feature_share=share(TARGET_FEATURES, parts.device),
        spare_rows=share(SPARE_ROWS, parts.device),
    )


def wait_for(device: torch.device) -> None:
    """Wait until all work queued on the device is done."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def restart_peak(device: torch.device) -> None:
    """Count the peak of memory anew, so that a stage does not report what scoring of an earlier one took."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)


def peak_memory(device: torch.device) -> int:
    """Peak since `restart_peak` of the memory that torch's allocator had in use on a GPU, in bytes; 0 on a CPU."""
    return torch.cuda.max_memory_allocated(device) if device.type == "cuda" else 0


def _size(config: MethodConfig, subject: Subject) -> tuple[int, int]:
    camera = subject.train[0].camera
    side = config.train.resolution
    return (side, side) if side else (camera.width, camera.height)
