"""Portraits that draw a disc with a mouth where the head is, or go wrong on the way."""

import time
from dataclasses import replace

import torch

from headbench.harness.avatar import MethodConfig, Portrait

SKIN = (0.85, 0.60, 0.42)


def draw(params, camera, background):
    """image (1, 3, H, W) on the background, alpha (1, 1, H, W), of one frame."""
    centre = params.similarity.t[0] @ camera.w2c[0, :3, :3].T + camera.w2c[0, :3, 3]
    x, y, _ = (camera.K[0] @ (centre / centre[2])).tolist()
    unit = float(camera.K[0, 0, 0]) * 0.1 / float(centre[2])
    across = torch.arange(camera.width) + 0.5 - x
    down = (torch.arange(camera.height) + 0.5 - y)[:, None]
    alpha = (unit - (across**2 + down**2).sqrt() + 0.5).clamp(0, 1)
    open_mouth = 0.1 + float(params.jaw[0, 0])
    mouth = ((across / (0.4 * unit)) ** 2 + ((down - 0.4 * unit) / (open_mouth * unit)) ** 2 < 1).float()
    shade = (1 + 0.3 * across / unit).clamp(0.5, 1.2) * (1 - 0.7 * mouth)
    face = torch.stack([shade * level for level in SKIN]).clamp(0, 1)
    image = face * alpha + background[0][:, None, None] * (1 - alpha)
    return image[None], alpha[None, None]


class Config(MethodConfig):
    pass


class Puppet(Portrait):
    config_type = Config

    def __init__(self):
        super().__init__()
        self.register_buffer("made", torch.ones(1))

    @classmethod
    def create(cls, head, identity, train, config):
        return cls()

    def render(self, params, camera, background, rasterizer):
        return draw(params, camera, background)[0]


class Still(Puppet):
    def render(self, params, camera, background, rasterizer):
        first = params.similarity.t * 0
        return super().render(
            replace(params, similarity=replace(params.similarity, t=first)), camera, background, rasterizer
        )


class Torn(Puppet):
    """A value that is no number, in one frame of many."""

    def render(self, params, camera, background, rasterizer):
        image = super().render(params, camera, background, rasterizer).clone()
        if camera.w2c[0, 0, 3] > 0 and params.jaw[0, 0] > 0.2:
            image[0, 1, 5, 5] = float("nan")
        return image


class Slow(Puppet):
    """Slow enough to be killed in the middle of a video."""

    def render(self, params, camera, background, rasterizer):
        time.sleep(0.01)
        return super().render(params, camera, background, rasterizer)
