"""A made-up subject of a few frames on the open head, untrained parents of it, and bakes of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from headbench.harness.device import be_deterministic
from headbench.harness.head import load_head
from headbench.harness.options import Execution
from headbench.harness.plugins import registry
from headbench.harness.stage import StageWork
from headbench.harness.staged import StageRecord, write_stage
from headbench.harness.train import LoadedPortrait, TrainSummary, identity_of
from headbench.harness.train.staging import Making, make_instance
from headbench.harness.types import Camera, Edit, Frame, HeadParams, Pixels, Subject, TrainView
from headbench.stages.bake import BakeConfig, BakedAvatar, BakedConfig, BakeStage

SIDE, FRAMES = 32, 4
ABOUT = {"method": "FateAvatar", "preset": "tiny", "variant": "", "dataset": "made", "subject": "up"}
PLAIN = {"weights": {"vgg": 0.0, "rotation": 0.0}, "network": "texture"}
"""Options without networks."""
FIXED = {
    **PLAIN,
    "offset_normal": "unit",
    "offset_bound": None,
    "second_tanh": False,
    "cover": "parent",
    "doubled": False,
    "start": "parent",
    "quaternion": "wxyz",
    "rotation_loss": "angle",
    "scale_bound": "largest",
    "gutter": True,
    "keep_look": True,
    "wander": "half",
    "added_points": 0,
    "size": 64,
}


def frame(index: int) -> Frame:
    """A disc whose colour goes with the jaw."""
    params = HeadParams("openhead", torch.full((1, 4), 0.2 * index), *torch.zeros(6, 1, 3))
    params.jaw[0, 0] = 0.1 * index
    w2c = torch.diag(torch.tensor([1.0, -1.0, -1.0, 1.0]))
    w2c[2, 3] = 1.0
    K = torch.tensor([[2.0 * SIDE, 0, SIDE / 2], [0, 2.0 * SIDE, SIDE / 2], [0, 0, 1]])

    def pixels() -> Pixels:
        grid = torch.arange(SIDE) + 0.5 - SIDE / 2
        alpha = ((grid[:, None] ** 2 + grid**2 < (SIDE / 3) ** 2)[None] * 255).to(torch.uint8)
        colour = torch.tensor([200, 40 + 40 * index, 90], dtype=torch.uint8).view(3, 1, 1).expand(3, SIDE, SIDE)
        return Pixels(colour, alpha)

    return Frame(f"{index:04d}", Camera(w2c[None], K[None], SIDE, SIDE), params, pixels, timestep=index)


@pytest.fixture(scope="session")
def subject() -> Subject:
    return Subject("up", "made", "openhead", torch.zeros(1, 4), tuple(map(frame, range(FRAMES))), ())


@pytest.fixture
def parent(subject: Subject) -> Callable[..., LoadedPortrait]:
    """(method, changed options) -> its tiny avatar of the subject, untrained but for random colours."""

    def make(name: str = "FateAvatar", **changes: Any) -> LoadedPortrait:
        spec = registry().method(name)
        package, _, path = spec.presets["tiny"].partition(":")
        values = yaml.safe_load(resources.files(package).joinpath(path).read_text(encoding="utf-8"))
        kind = registry().load_method(name)
        config = kind.config_type.model_validate({**values, **changes})
        torch.manual_seed(3)
        identity = identity_of(subject)
        head = load_head("openhead", config.topology())
        avatar: Any = kind.create(head, identity, TrainView(subject.train, SIDE, SIDE), config)
        rows = len(avatar.table)
        avatar.table.apply_edit(Edit(keep=torch.arange(rows) % max(1, rows // 1500) == 0))
        avatar.load_state_dict(avatar.state_dict())
        with torch.no_grad():
            avatar.table["dc"].copy_(torch.rand(avatar.table["dc"].shape) - 0.5)
            avatar.table["opacity"].add_(1.0)
        return LoadedPortrait(avatar.eval(), identity, config, {**ABOUT, "method": name}, 1, f"method:{name}")

    return make


class Kept(BakeStage):
    """The stage, which keeps its result in memory, too."""

    def run(self, work: StageWork) -> BakedAvatar:
        self.result = super().run(work)
        return self.result


@dataclass
class Bake:
    """A stage instance in the making."""

    making: Making
    work: StageWork
    result: BakedAvatar | None = None
    """The avatar that was saved."""

    def run(self) -> TrainSummary:
        stage = Kept()
        summary = make_instance(stage, self.making, self.work)
        self.result = stage.result
        return summary

    @property
    def checkpoint(self) -> Path:
        return max(self.work.folder.glob("checkpoint-*"), key=lambda path: int(path.name.partition("-")[2]))


@pytest.fixture
def bake(subject: Subject, tmp_path: Path) -> Iterator[Callable[..., Bake]]:
    """(parent, options, folder) -> an instance below tmp_path."""

    def make(
        above: LoadedPortrait,
        options: dict[str, Any],
        folder: str = "bake",
        progress: Callable[[Any], None] = lambda now: None,
        **execution: Any,
    ) -> Bake:
        config = BakeConfig.model_validate(options)
        how = Execution(device="cpu", rasterizer="torch", deterministic=True, **execution)
        place = tmp_path / folder
        values = BakeStage.portrait_config(above, config)
        portrait_config = BakedConfig.model_validate(values)
        making = Making(place, above.about, BakedAvatar, portrait_config, "stage:bake", above, subject, how)
        place.mkdir(exist_ok=True)
        write_stage(place, StageRecord("train/bake", "stage:bake", config.model_dump(mode="json"), {}))
        work = StageWork(
            above.about, BakedAvatar, above, subject, config, how, place, {}, progress, making.save, making.resume
        )
        return Bake(making, work)

    yield make
    be_deterministic(False)
