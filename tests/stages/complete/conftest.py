"""A small synthetic subject, briefly trained avatars of it, and completions of these."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from headbench.datasets.synthetic.picture import sit, take
from headbench.datasets.synthetic.samples import insta
from headbench.datasets.synthetic.scene import head_params, make_scene
from headbench.datasets.synthetic.views import FLIP, intrinsics, orbit
from headbench.harness.device import be_deterministic
from headbench.harness.options import Execution
from headbench.harness.plugins import registry
from headbench.harness.stage import StageWork
from headbench.harness.train import LoadedPortrait, latest_checkpoint, load_portrait, train_stage
from headbench.harness.train.staging import Making, make_instance
from headbench.harness.types import Subject
from headbench.harness.validation import validate
from headbench.stages.complete.config import CompleteConfig
from headbench.stages.complete.stage import Complete
from headbench.testing.small import small_config

SIDE = 48
"""Side of the sample's images."""


@pytest.fixture(scope="session")
def sample(tmp_path_factory: pytest.TempPathFactory) -> Subject:
    """A synthetic subject in INSTA's layout: 6 frames of 48 x 48."""
    root = tmp_path_factory.mktemp("complete")
    insta(root)
    (folder,) = (root / "insta").iterdir()
    return registry().load_dataset("insta").read(folder, {})


@pytest.fixture(scope="session")
def true_views(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder for the prior `folder`: the sample's person at rest, from six directions. Read only."""
    folder = tmp_path_factory.mktemp("views")
    scene = make_scene(3000)
    neutral = head_params(np.zeros((1, len(scene.head.expression_names))), *np.zeros((3, 1, 3)))
    sitting, K, frames = sit(scene, neutral), intrinsics(SIDE), []
    for number, w2c in enumerate(orbit(6)):
        Image.fromarray(take(sitting, w2c, K, SIDE).rgba).save(folder / f"{number}.png")
        c2w = np.linalg.inv(w2c)
        c2w[:3, :3] = c2w[:3, :3] @ FLIP
        frames.append({"file_path": f"{number}.png", "transform_matrix": c2w.tolist()})
    numbers = {"fl_x": K[0, 0], "fl_y": K[1, 1], "cx": K[0, 2], "cy": K[1, 2], "w": SIDE, "h": SIDE}
    document = {**numbers, "expression": "neutral", "frames": frames}
    (folder / "transforms.json").write_text(json.dumps(document), encoding="utf-8")
    return folder


@pytest.fixture(scope="session")
def parents(sample: Subject, tmp_path_factory: pytest.TempPathFactory) -> Callable[..., LoadedPortrait]:
    """(method) -> a fresh copy of its avatar of the sample after a few steps."""
    root = tmp_path_factory.mktemp("parents")

    def make(method: str = "FateAvatar") -> LoadedPortrait:
        folder = root / method
        if not folder.exists():
            spec, kind = registry().method(method), registry().load_method(method)
            config = small_config(spec, kind)
            about = {"method": method, "preset": "tiny", "variant": "", "dataset": "insta", "subject": sample.name}
            train_stage(folder, about, kind, config, sample, Execution(device="cpu", rasterizer="numba"))
        found = latest_checkpoint(folder)
        assert found is not None
        return load_portrait(found)

    return make


@dataclasses.dataclass
class Instance:
    """A completion in the making."""

    making: Making
    work: StageWork

    def run(self) -> LoadedPortrait:
        """Make it and load the result."""
        make_instance(Complete(), self.making, self.work)
        found = latest_checkpoint(self.work.folder)
        assert found is not None
        return load_portrait(found, portrait_type=type(self.making.parent.portrait))  # type: ignore[union-attr]


@pytest.fixture
def complete(sample: Subject, tmp_path: Path) -> Iterator[Callable[..., Instance]]:
    """(parent, preset, folder, options) -> an instance below tmp_path."""

    def make(parent: LoadedPortrait, preset: str = "fixed", folder: str = "complete", **options: Any) -> Instance:
        spec = registry().stage("complete")
        config = validate(CompleteConfig, {**spec.presets[preset], **options}, "stage complete")
        seen = dataclasses.replace(sample, test=())
        how = Execution(device="cpu", rasterizer="numba", deterministic=True, checkpoint_every=3)
        making = Making(
            tmp_path / folder, parent.about, type(parent.portrait), parent.config, parent.loader, parent, seen, how
        )
        files = {} if config.source is None else {"source": config.source}
        work = StageWork(
            parent.about,
            type(parent.portrait),
            parent,
            seen,
            config,
            how,
            making.folder,
            files,
            lambda now: None,
            making.save,
            making.resume,
        )
        return Instance(making, work)

    yield make
    be_deterministic(False)


@pytest.fixture
def weights() -> Callable[[LoadedPortrait], dict[str, torch.Tensor]]:
    """What an avatar keeps in its checkpoint."""
    return lambda loaded: {name: value.clone() for name, value in loaded.portrait.state_dict().items()}
