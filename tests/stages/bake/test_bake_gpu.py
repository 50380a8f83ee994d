"""Baking on a GPU: recorded steps are plain ones, and a bake ends with finite maps that render the same again."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch

from headbench.harness.head import load_head
from headbench.harness.options import Execution
from headbench.harness.session import Session
from headbench.harness.stage import StageWork
from headbench.harness.train import LoadedPortrait, load_portrait
from headbench.harness.train.staging import make_instance
from headbench.stages.bake import BakedConfig, BakeStage
from headbench.stages.bake.begin import begin
from headbench.stages.bake.stage import _Training

from .conftest import FIXED, Bake

pytestmark = pytest.mark.gpu


def on_gpu(above: LoadedPortrait) -> LoadedPortrait:
    """The same parent, made anew on the GPU."""
    device = torch.device("cuda")
    head = load_head(above.identity.head, above.config.topology(), device=device)
    portrait = type(above.portrait).create(head, above.identity.to(device), None, above.config)
    tensors = above.portrait.state_dict()
    portrait.resize_for({name: tensor.shape for name, tensor in tensors.items()})
    portrait.load_state_dict(tensors)
    return replace(above, portrait=portrait.eval(), identity=above.identity.to(device))


def gpu_work(made: Bake, above: LoadedPortrait, record: bool) -> StageWork:
    how = Execution(device="cuda", rasterizer="gsplat", record=record)
    made.making.parent, made.making.options = above, how
    return replace(made.work, parent=above, options=how)


def stir(network: torch.nn.Module) -> None:
    """Move all weights a little: at the start Gaussians are round and last layers zero, so some gradients are none."""
    generator = torch.Generator("cuda").manual_seed(3)
    with torch.no_grad():
        for parameter in network.parameters():
            noise = torch.randn(parameter.shape, generator=generator, device="cuda")
            parameter.add_(0.05 * (1 if parameter.dim() < 2 else parameter[0].numel() ** -0.5) * noise)


@pytest.mark.parametrize("network", ["texture", "decode_only", "unet"])
@pytest.mark.parametrize("method", ["FateAvatar", "FlashAvatar"])
def test_recorded_steps_agree_with_plain_ones(
    parent: Callable[..., LoadedPortrait], bake: Callable[..., Bake], method: str, network: str
) -> None:
    options = {**FIXED, "network": network, "steps": 8, "wander": "never"}
    found: list[tuple[dict[str, float], dict[str, torch.Tensor]]] = []
    for record in (False, True):
        above = on_gpu(parent(method))
        work = gpu_work(bake(above, options, str(record)), above, record)
        torch.manual_seed(0)
        config = BakedConfig.model_validate(BakeStage.portrait_config(above, work.config))
        training = _Training(work, begin(above, config, 0, torch.device("cuda")), torch.device("cuda"))
        stir(training.avatar.network)
        terms, _ = training.trainer.gradients(1)
        named = training.avatar.network.named_parameters()
        gradients = {name: p.grad.clone() for name, p in named if p.grad is not None}
        found.append(({name: value.item() for name, value in terms.items()}, gradients))
        training.store.close()
    (plain, first), (recorded, second) = found
    assert recorded == pytest.approx(plain, rel=1e-3)
    assert set(first) == set(second)
    rounding = 1e-6 * max(float(gradient.norm()) for gradient in first.values())
    for name, gradient in first.items():
        if gradient.norm() > rounding:
            cosine = torch.nn.functional.cosine_similarity(gradient.flatten(), second[name].flatten(), dim=0)
            assert cosine > 0.99, name


@pytest.mark.parametrize(
    "options", [{}, {"network": "unet", "wander": "half"}, {"training": "one_stage", "start": "random"}]
)
def test_a_bake_on_a_gpu_renders_the_same_when_loaded(
    parent: Callable[..., LoadedPortrait], bake: Callable[..., Bake], subject: Any, options: dict[str, Any]
) -> None:
    above = on_gpu(parent())
    values = {**FIXED, "steps": 30, "added_points": 1024, **options}
    made = bake(above, values)
    work = gpu_work(made, above, True)
    make_instance(BakeStage(), made.making, work)
    loaded = load_portrait(made.checkpoint, "cuda")
    assert bool(torch.isfinite(loaded.portrait.maps.pack()).all())
    frame = subject.train[0]
    with Session(loaded, torch.device("cuda"), "gsplat") as session:
        image = session.render(frame.params, frame.camera, kind="float32")
    plain = load_portrait(made.checkpoint, "cpu")
    with Session(plain, torch.device("cpu"), "torch") as session:
        expected = session.render(frame.params, frame.camera, kind="float32")
    assert (image.cpu() - expected).abs().mean() < 0.01
