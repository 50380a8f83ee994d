"""A minimal avatar: free Gaussians in the world, no head."""

from collections.abc import Callable

import pytest
import torch

from headbench.harness.avatar import Avatar, MethodConfig, TrainConfig
from headbench.harness.device import be_deterministic
from headbench.harness.train.table import GaussianTable
from headbench.harness.types import (
    Batch,
    Camera,
    Clock,
    Edit,
    Event,
    Frame,
    Gaussians,
    HeadParams,
    ParamGroup,
    Pixels,
    PosedAvatar,
    Rendering,
    Subject,
)


@pytest.fixture(autouse=True)
def _any_algorithm():
    """Trainings set whether torch is deterministic, for the process that each has in a run."""
    yield
    be_deterministic(False)


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

    def drive(self, params: HeadParams) -> PosedAvatar:
        n = len(self.table)
        means = self.table["xyz"] + params.translation[:, None]
        gaussians = Gaussians(
            means=means,
            quats=torch.tensor([1.0, 0, 0, 0]).expand(n, 4),
            scales=torch.full((n, 3), 0.02),
            opacities=torch.sigmoid(self.table["opacity"]),
            colours=self.table["colour"] * self.gain,
        )
        return PosedAvatar(gaussians, means, means)

    def losses(self, posed: PosedAvatar, rendering: Rendering, batch: Batch, clock: Clock) -> dict[str, torch.Tensor]:
        return {"l1": (rendering.image - batch.image).abs().mean()}

    def param_groups(self) -> list[ParamGroup]:
        return [
            ParamGroup("xyz", 1e-3, columns=("xyz",), schedule=lambda clock: 1e-3 / clock.step, eps=self.eps),
            ParamGroup("look", 1e-2, columns=("opacity", "colour")),
            ParamGroup("gain", 1e-3, parameters=(self.gain,)),
        ]

    def edit(self, event: Event, rendering: Rendering | None, clock: Clock) -> Edit | None:
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


SIZE = 32


def make_subject(expressions: int = 6, frames: int = 5) -> Subject:
    """A few frames of coloured discs, driven by random expressions of the open head."""
    generator = torch.Generator().manual_seed(3)

    def rand(*shape: int) -> torch.Tensor:
        return torch.rand(shape, generator=generator)

    def frame(k: int) -> Frame:
        y, x = torch.meshgrid(torch.arange(SIZE), torch.arange(SIZE), indexing="ij")
        inside = ((x - SIZE / 2) ** 2 + (y - SIZE / 2) ** 2) < (SIZE / 3) ** 2
        colour = (rand(3, 1, 1) * 255).expand(3, SIZE, SIZE).to(torch.uint8)
        alpha = (inside * 255).to(torch.uint8)[None]
        masks = {"mouth": alpha * ((y > 0.6 * SIZE) & (y < 0.8 * SIZE))}
        w2c = torch.diag(torch.tensor([1.0, -1.0, -1.0, 1.0]))[None].clone()
        w2c[:, 2, 3] = 0.7
        K = torch.tensor([[[60.0, 0, SIZE / 2], [0, 60, SIZE / 2], [0, 0, 1]]])
        zeros = torch.zeros(1, 3)
        params = HeadParams("openhead", rand(1, expressions), zeros, zeros, rand(1, 3) * 0.1, zeros, zeros, zeros)
        return Frame(f"{k:05d}", Camera(w2c, K, SIZE, SIZE), params, lambda: Pixels(colour, alpha, masks), timestep=k)

    made = tuple(frame(k) for k in range(frames + 1))
    return Subject("made", "none", "openhead", torch.zeros(1, 4), made[:-1], made[-1:])


@pytest.fixture(scope="session")
def made_subject() -> Callable[..., Subject]:
    """Makes a subject of coloured discs on the open head: ``made_subject(expressions, frames)``."""
    return make_subject
