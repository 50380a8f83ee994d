"""A minimal avatar: free Gaussians in the world, no head."""

from collections.abc import Callable

import pytest
import torch

from headbench.harness.avatar import Avatar, MethodConfig, TrainConfig
from headbench.harness.train.table import GaussianTable
from headbench.harness.types import (
    Batch,
    Clock,
    Drive,
    Edit,
    Event,
    Gaussians,
    HeadParams,
    ParamGroup,
    Splat,
)


class CloudConfig(MethodConfig):
    points: int = 6


class Cloud(Avatar):
    """Gaussians that ignore the head; `pending` is the edit it asks for next after a backward pass."""

    config_type = CloudConfig

    def __init__(self, points: int, eps: float = 1e-8) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(1)
        self.table = GaussianTable(
            {
                "xyz": torch.randn(points, 3, generator=generator) * 0.05,
                "opacity": torch.zeros(points),
                "colour": torch.rand(points, 3, generator=generator),
            },
            statistics={"grad": torch.zeros(points)},
        )
        self.gain = torch.nn.Parameter(torch.ones(()))
        self.eps = eps
        self.pending: Edit | None = None

    @classmethod
    def create(cls, head, identity, train, config):  # type: ignore[no-untyped-def]
        return cls(config.points)

    def drive(self, params: HeadParams) -> Drive:
        n = len(self.table)
        means = self.table["xyz"] + params.translation[:, None]
        gaussians = Gaussians(
            means=means,
            quats=torch.tensor([1.0, 0, 0, 0]).expand(n, 4),
            scales=torch.full((n, 3), 0.02),
            opacities=torch.sigmoid(self.table["opacity"]),
            colours=self.table["colour"] * self.gain,
        )
        return Drive(gaussians, means, means)

    def losses(self, drive: Drive, splat: Splat, batch: Batch, clock: Clock) -> dict[str, torch.Tensor]:
        return {"l1": (splat.image - batch.image).abs().mean()}

    def param_groups(self) -> list[ParamGroup]:
        return [
            ParamGroup("xyz", 1e-3, columns=("xyz",), schedule=lambda clock: 1e-3 / clock.step, eps=self.eps),
            ParamGroup("look", 1e-2, columns=("opacity", "colour")),
            ParamGroup("gain", 1e-3, parameters=(self.gain,)),
        ]

    def edit(self, event: Event, splat: Splat | None, clock: Clock) -> Edit | None:
        if event is Event.AFTER_BACKWARD and self.pending is not None:
            edit, self.pending = self.pending, None
            return edit
        return None


@pytest.fixture
def cloud() -> Callable[..., Cloud]:
    """Makes the minimal avatar: ``cloud(points)``."""
    return Cloud


@pytest.fixture
def cloud_config() -> CloudConfig:
    return CloudConfig(train=TrainConfig(steps=4))
