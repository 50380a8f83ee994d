"""Avatars with random Gaussians on the open head, as checkpoints; nothing is trained."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest
import torch

from headbench.harness.avatar import TrainConfig
from headbench.harness.head import load_head
from headbench.harness.plugins import registry
from headbench.harness.plugins.checks import preset_values
from headbench.harness.session import open_checkpoint
from headbench.harness.train import identity_of
from headbench.harness.train.checkpoint import save_checkpoint
from headbench.harness.trained import CheckpointState, Machine
from headbench.harness.types import TrainView


def _beside(*parts: str):
    path = Path(__file__).parents[1].joinpath(*parts)
    spec = importlib.util.spec_from_file_location(f"for_exports_{path.stem}", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def readers():
    """The module that reads exported files."""
    return _beside("export", "readers.py")


@pytest.fixture(scope="session")
def made_subject():
    """Five training frames and a test frame of 32 x 32 pixels."""
    return _beside("train", "conftest.py").make_subject()


@pytest.fixture(scope="session")
def checkpoint_of(tmp_path_factory, made_subject):
    """checkpoint_of(method, **options) -> folder of a checkpoint of an avatar whose Gaussians are random."""
    made = {}

    def make(method: str, **options):
        key = (method, tuple(sorted(options.items())))
        if key not in made:
            spec = registry().method(method)
            kind = registry().load_method(spec.name)
            preset = "tiny" if "tiny" in spec.presets else spec.default_preset
            values = preset_values(spec, preset, registry().owner(spec)) | options
            values |= {"train": TrainConfig(steps=1).model_dump()}
            if "weights" in values and "vgg" in kind.config_type.model_fields["weights"].default.model_dump():
                values["weights"] = dict(values["weights"]) | {"vgg": 0.0}
            config = kind.config_type.model_validate(values)
            identity = identity_of(made_subject)
            head = load_head("openhead", config.topology())
            portrait = kind.create(head, identity, TrainView(made_subject.train, 32, 32), config)
            _randomise(portrait)
            about = {"method": spec.name, "preset": "tiny", "variant": "", "dataset": "none", "subject": "made"}
            machine = Machine("cpu", "numba", 0)
            state = CheckpointState(1, about, config.model_dump(mode="json"), 0.0, 0, {}, machine=machine)
            folder = tmp_path_factory.mktemp("export")
            made[key] = save_checkpoint(folder, portrait, identity, {}, state)
        return made[key]

    return make


@pytest.fixture(scope="session")
def baked_checkpoint(tmp_path_factory, made_subject):
    """Folder of a checkpoint of a baked FateAvatar whose maps are random."""
    from headbench.stages.bake import BakedAvatar, BakedConfig
    from headbench.stages.bake.maps import CHANNELS, Maps

    spec = registry().method("FateAvatar")
    method = preset_values(spec, "tiny", registry().owner(spec)) | {"head_topology": "open"}
    size = 32
    values = {"train": method["train"], "method": spec.name, "method_config": method, "size": size, "points": 400}
    config = BakedConfig.model_validate(values | {"network": "texture", "offset_normal": "unit", "offset_bound": 0.01})
    identity = identity_of(made_subject)
    portrait = BakedAvatar.create(load_head("openhead", "open"), identity, None, config)
    generator = torch.Generator().manual_seed(7)
    random = {name: torch.randn(count, size, size, generator=generator) for name, count in CHANNELS.items()}
    random["colour"] = random["colour"].sigmoid()
    random["scaling"] = random["scaling"] * 0.2 - 4.6
    random["opacity"] = random["opacity"] + 2
    portrait.replace_maps(Maps(**random))
    portrait.canonical.copy_(portrait.carrier(identity.first)[0])
    portrait.bound.fill_(0.01)
    portrait.resample(400)
    about = {"method": spec.name, "preset": "tiny", "variant": "", "dataset": "none", "subject": "made"}
    values = config.model_dump(mode="json")
    state = CheckpointState(1, about, values, 0.0, 0, {}, machine=Machine("cpu", "numba", 0), loader="stage:bake")
    return save_checkpoint(tmp_path_factory.mktemp("baked"), portrait, identity, {}, state)


@torch.no_grad()
def _randomise(portrait) -> None:
    """Give Gaussians colours, turns, sizes and opacities of their own."""
    if not hasattr(portrait, "table"):
        return
    generator = torch.Generator().manual_seed(5)
    table = portrait.table
    for name, spread, middle in (
        ("dc", 0.8, 0.0),
        ("rest", 0.2, 0.0),
        ("rotation", 1.0, 0.0),
        ("opacity", 1.0, 1.0),
        ("scaling", 0.3, None),
    ):
        if name in table.names():
            noise = torch.randn(table[name].shape, generator=generator) * spread
            table[name].copy_(noise + (table[name] if middle is None else middle))


@pytest.fixture(scope="session")
def opened(checkpoint_of, request):
    """opened(method, **options) -> session of such an avatar."""
    made = {}

    def make(method: str, **options):
        key = (method, tuple(sorted(options.items())))
        if method == "baked" and key not in made:
            from headbench.harness.staged import StageRecord, write_stage

            path = request.getfixturevalue("baked_checkpoint")
            write_stage(path.parent, StageRecord("train/bake", "stage:bake", {}))
            made[key] = open_checkpoint(path, "cpu")
        if key not in made:
            made[key] = open_checkpoint(checkpoint_of(method, **options), "cpu")
        return made[key]

    return make
