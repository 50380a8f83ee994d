"""FlashAvatar and SplattingAvatar on FLAME 2023, with the teeth that are added to it and without."""

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from headbench.harness.assets import register
from headbench.harness.avatar import Avatar
from headbench.harness.head import HeadModel, load_head
from headbench.harness.splat import make_rasterizer
from headbench.harness.types import Camera, Clock, Event, Frame, HeadParams, Identity, TrainView
from headbench.methods.flashavatar import FlashAvatar
from headbench.methods.splattingavatar import SplattingAvatar

SIZES = {"mouth_closed": (5023, 10_006), "teeth": (5143, 10_144)}


@pytest.fixture(scope="module")
def newer_home(flame_files: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A HEADBENCH_HOME with a made-up FLAME 2023 alone; the session's files are only linked under its name."""
    folder = tmp_path_factory.mktemp("flame2023")
    model = folder / "flame2023.pkl"
    model.symlink_to(flame_files["flame2020/model"])
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HEADBENCH_HOME", str(folder / "home"))
        register("flame2023/model", model, source="made by the tests")
        for name in ("flame/masks", "flame/mouth_closed_template", "flame/eyelids"):
            register(name, flame_files[name], source="made by the tests")
    yield folder / "home"
    shutil.rmtree(folder)


@pytest.fixture
def newer(newer_home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HEADBENCH_HOME", str(newer_home))


def speaking(lids: float) -> HeadParams:
    zero, rng = torch.zeros(1, 3), torch.Generator().manual_seed(0)
    jaw = torch.tensor([[0.2, 0.0, 0.0]])
    expression = 0.3 * torch.randn(1, 100, generator=rng)
    return HeadParams("flame2023", expression, zero, zero, jaw, zero, zero, zero, eyelids=torch.tensor([[lids, lids]]))


def made(kind: type[Avatar], head: HeadModel, config: Any, camera: Camera) -> Avatar:
    params = speaking(0.0)
    identity = Identity(
        "flame2023", torch.zeros(1, 300), params.expression, torch.ones(1, 100), params, camera, "someone"
    )
    frame = Frame("a", camera, params, lambda: pytest.fail("no image is needed to start"))
    return kind.create(head, identity, TrainView((frame,), 32, 32, 0), config)


@pytest.mark.parametrize("topology", SIZES)
def test_both_methods_live_on_flame_2023(newer: None, tiny_camera: Camera, preset: Any, topology: str) -> None:
    head = load_head("flame2023", topology)
    assert (head.tag, len(head.template), len(head.faces)) == ("flame2023", *SIZES[topology])
    small = {"head_topology": topology, "weights": {"lpips": 0.0}}
    draw, white = make_rasterizer("numba"), torch.ones(1, 3)

    flash = made(FlashAvatar, head, preset("FlashAvatar", "fixed", uv_size=48, hidden=8, **small), tiny_camera)
    awake, asleep = (flash.drive(speaking(lids)).gaussians.means for lids in (0.0, 1.0))
    assert awake.shape == (1, flash.count(), 3)
    assert float((awake - asleep).detach().abs().max()) > 1e-3, "the lids are 4 mm high"

    embedded = made(SplattingAvatar, head, preset("SplattingAvatar", "fixed", num_points=500, **small), tiny_camera)
    embedded.table["shift"].data.normal_(0, 0.5, generator=torch.Generator().manual_seed(0))
    start = embedded.table["face_index"].clone()
    with torch.no_grad():
        walked = embedded.edit(Event.AFTER_STEP, None, Clock(100, 1, 1000, 30_000))
        assert walked is not None
        embedded.table.apply_edit(walked)
    assert int((embedded.table["face_index"] != start).sum()) > 50
    for avatar in (flash, embedded):
        assert int(avatar.table["face_index"].max()) < len(head.faces)
        avatar.table["opacity"].data.fill_(5.0)
        with torch.no_grad():
            image = avatar.render(speaking(0.5), tiny_camera, white, draw)
        assert bool(torch.isfinite(image).all())
        assert 0.02 < float((image < 0.9).float().mean()) < 0.98
