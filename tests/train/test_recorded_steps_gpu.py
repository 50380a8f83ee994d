"""Recorded training is plain training: teacher-forced steps agree in every loss term and in the gradients."""

from pathlib import Path

import pytest
import torch

from headbench.harness.options import Execution
from headbench.harness.plugins import registry
from headbench.harness.plugins.checks import preset_values
from headbench.harness.splat.drawing.build import missing_for_cuda
from headbench.harness.train.checkpoint import restore_portrait
from headbench.harness.train.loop import Trainer
from headbench.harness.train.setup import frame_store, make_trainer, prepare

pytestmark = pytest.mark.gpu


METHODS = [spec.name for spec in registry().methods().values() if not spec.baseline]
RASTERIZERS = [
    "gsplat",
    pytest.param("cuda", marks=pytest.mark.skipif(missing_for_cuda() is not None, reason="no GPU, or no nvcc")),
]
"""The second is recordable, so that all from pose to gradients is one graph."""


@pytest.mark.parametrize("rasterizer", RASTERIZERS)
@pytest.mark.parametrize("method", METHODS)
def test_recorded_steps_agree_with_plain_ones(method: str, rasterizer: str, made_subject, tmp_path: Path) -> None:
    kind = registry().load_method(method)
    values = preset_values(registry().method(method), "demo")
    values = {**values, "train": {**values["train"], "steps": 220, "epochs": None, "resolution": None}}
    config = kind.config_type.model_validate(values)

    def make(state: dict[str, torch.Tensor] | None, record: bool) -> Trainer:
        options = Execution(device="cuda", rasterizer=rasterizer, record=record)
        parts = prepare(kind, config, made_subject(), options)
        if state is not None:
            restore_portrait(parts.portrait, {f"portrait/{k}": v for k, v in state.items()}, tmp_path)
        return make_trainer(parts, parts.portrait, frame_store(parts.config, made_subject(), options), options, method)

    plain = make(None, record=False)
    for step in range(1, 201):
        if step in (1, 50, 200):  # from the same state: plain, plain again (what atomics leave open), recorded
            recorded = make(plain.avatar.state_dict(), record=True)
            (terms, first), (_, again), (replayed, found) = (_gradients(t, step) for t in (plain, plain, recorded))
            assert recorded._current is not None
            assert (recorded._current.lists is not None) == (rasterizer == "cuda")
            assert replayed == pytest.approx(terms, rel=1e-3)
            compared = 0
            for name, gradient in first.items():
                if _cosine(gradient, again[name]) > 0.9999:
                    assert _cosine(gradient, found[name]) > 0.999, (name, step)
                    compared += 1
            assert compared > len(first) // 2
        plain.step(step)


def _gradients(trainer: Trainer, step: int) -> tuple[dict[str, float], dict[str, torch.Tensor]]:
    """Loss terms and the gradient of every parameter, without taking the step."""
    found, _ = trainer.gradients(step)
    terms = {name: value.item() for name, value in found.items()}
    named = trainer.avatar.named_parameters()
    return terms, {name: p.grad.clone() for name, p in named if p.grad is not None and p.grad.norm() > 0}


def _cosine(a: torch.Tensor, b: torch.Tensor) -> float:
    return float(torch.nn.functional.cosine_similarity(a.flatten(), b.flatten(), dim=0))
