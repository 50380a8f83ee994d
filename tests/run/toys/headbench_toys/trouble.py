"""Portraits that show the mean of the training images, or fail on the way there."""

import os
import signal
import sys
import time

import torch

from headbench.harness.avatar import MethodConfig, Portrait
from headbench.harness.image import composite, to_float


class Config(MethodConfig):
    gain: float = 1.0


class Average(Portrait):
    config_type = Config

    def __init__(self, size):
        super().__init__()
        self.register_buffer("colour", torch.zeros(3, *size))
        self.register_buffer("alpha", torch.zeros(1, *size))
        self.gain = 1.0

    @classmethod
    def create(cls, head, identity, train, config):
        portrait = cls((identity.camera.height, identity.camera.width))
        portrait.gain = config.gain
        if train is not None:
            pixels = [frame.pixels() for frame in train.frames]
            portrait.colour.copy_(torch.stack([to_float(p.colour) for p in pixels]).mean(0))
            portrait.alpha.copy_(torch.stack([to_float(p.alpha) for p in pixels]).mean(0))
            portrait.trained(train)
        return portrait

    def trained(self, train):
        pass

    def render(self, params, camera, background, rasterizer):
        return self.gain * composite(self.colour[None], self.alpha[None], background)


class NeedsVgg(Average):
    class config_type(Config):
        def networks(self):
            return frozenset({"vgg16"})


class Raises(Average):
    def trained(self, train):
        raise ValueError(f"cannot fit {len(train.frames)} frames")


class Segfaults(Average):
    def trained(self, train):
        os.kill(os.getpid(), signal.SIGSEGV)


class Hangs(Average):
    def trained(self, train):
        time.sleep(600)


class Exits(Average):
    def trained(self, train):
        sys.exit("no licence")


class Hungry(Average):
    def trained(self, train):
        torch.empty(1 << 60)
        raise MemoryError("cannot hold all frames")


class NotANumber(Average):
    def render(self, params, camera, background, rasterizer):
        return super().render(params, camera, background, rasterizer) * float("nan")


class WrongShape(Average):
    def render(self, params, camera, background, rasterizer):
        return super().render(params, camera, background, rasterizer)[..., :-1]


class Noisy(Average):
    """Slow enough to be killed in the middle, and random but for its seed."""

    def trained(self, train):
        self.colour += 0.1 * torch.rand_like(self.colour)

    def render(self, params, camera, background, rasterizer):
        time.sleep(0.03)
        return super().render(params, camera, background, rasterizer)
