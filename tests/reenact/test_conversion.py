"""FLAME's versions drive one another, by least squares on the vertices of two registered files."""

from __future__ import annotations

import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch

from headbench.harness.assets import register
from headbench.harness.errors import BenchError
from headbench.harness.types import Camera, HeadParams, Identity
from headbench.reenact import Options, head_of, performance_of, transfer
from headbench.reenact.conversion import converter
from headbench.reenact.detour import detour, parameter_loss

SHIFT = np.array([0.002, -0.004, 0.001])
"""How far the other version's origin lies from this one's, metres."""
KEPT = 60
"""Number of the other version's expression directions that this version has mixtures of."""


def identity(head: str, width: int, seed: int) -> Identity:
    generator = torch.Generator().manual_seed(seed)
    zero = torch.zeros(1, 3)
    first = HeadParams(head, torch.zeros(1, width), zero, zero, zero, zero, zero, zero)
    w2c = torch.diag(torch.tensor([1.0, -1.0, -1.0, 1.0]))[None].clone()
    w2c[:, 2, 3] = 1.0
    camera = Camera(w2c, torch.tensor([[[80.0, 0, 16], [0, 80, 16], [0, 0, 1]]]), 32, 32)
    shape = torch.randn(1, 20, generator=generator)
    mean = 0.1 * torch.randn(1, width, generator=generator)
    return Identity(head, shape, mean, torch.ones(1, width), first, camera, subject=f"{head}-{seed}")


@pytest.fixture(scope="module")
def both(flame_format, made_flame, tmp_path_factory):
    """Two FLAME-format files; that of 2023 has the other's directions mixed, another origin, and noise in the last."""
    rng = np.random.default_rng(4)
    shapes, expressions = made_flame.shapedirs[..., :300], made_flame.shapedirs[..., 300:]
    mixed = expressions[..., :KEPT] @ (np.eye(KEPT) + 0.2 * rng.normal(size=(KEPT, KEPT)) / KEPT**0.5)
    other = np.concatenate([shapes[..., ::-1], mixed, 1e-4 * rng.normal(size=(5023, 3, 100 - KEPT))], 2)
    later = replace(made_flame, vertices=made_flame.vertices + SHIFT, shapedirs=other)
    folder = tmp_path_factory.mktemp("two_flames")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HEADBENCH_HOME", str(folder / "home"))
        register("flame2020/model", flame_format.write_model(folder / "generic_model.pkl", made_flame), source="tests")
        register("flame2023/model", flame_format.write_model(folder / "flame2023.pkl", later, False), source="tests")
        yield {
            tag: head_of(identity(tag, width, seed))
            for (tag, width, seed) in (("flame2020", 100, 1), ("flame2023", 80, 2))
        }
    shutil.rmtree(folder)


def perform(head, expression: torch.Tensor):
    count = len(expression)
    zero = torch.zeros(count, 3)
    turn = torch.linspace(-0.3, 0.3, count)[:, None] * torch.tensor([[0.0, 1.0, 0.0]])
    params = HeadParams(head.identity.head, expression, turn, zero, zero, zero, zero, zero)
    own = head.identity.camera
    camera = replace(own, w2c=own.w2c.repeat(count, 1, 1), K=own.K.repeat(count, 1, 1))
    first = (head.identity.first, own)
    return performance_of([(f"{k}", "") for k in range(count)], params, camera, head, expression.mean(0)[None], first)


@pytest.mark.slow
def test_an_expression_that_both_have_is_converted_exactly(both) -> None:
    driver, source = both["flame2020"], both["flame2023"]
    expression = torch.zeros(4, 100)
    expression[:, :KEPT] = torch.randn(4, KEPT, generator=torch.Generator().manual_seed(5))
    made = transfer(perform(driver, expression), driver, source, Options(expression="absolute"))
    assert made.params.head == "flame2023" and made.params.expression.shape == (4, 80)
    moved = made.params.expression.double() @ source.bound.expression_dirs[:, :80].T
    wanted = expression.double() @ driver.bound.expression_dirs.T
    torch.testing.assert_close(moved, wanted, atol=2e-8, rtol=0)
    lost = made.conversion
    assert lost.largest_mm < 1e-3 and max(lost.expression_mm) < 1e-3 and lost.identity_mm < 0.05
    (sentence,) = made.notes
    assert sentence.startswith(
        "expression converted from flame2020 to flame2023 by least squares on vertices: residual"
    )


def test_the_residual_is_what_the_vertices_miss(both) -> None:
    driver, source = both["flame2020"], both["flame2023"]
    expression = torch.randn(3, 100, generator=torch.Generator().manual_seed(6))
    made = transfer(perform(driver, expression), driver, source, Options(expression="absolute"))
    moved = made.params.expression.double() @ source.bound.expression_dirs[:, :80].T
    left = (expression.double() @ driver.bound.expression_dirs.T - moved).unflatten(1, (-1, 3))
    lengths = 1000 * torch.linalg.vector_norm(left, dim=2)
    found = torch.tensor(made.conversion.expression_mm, dtype=torch.float64)
    torch.testing.assert_close(found, lengths.square().mean(1).sqrt(), atol=1e-4, rtol=1e-4)
    assert made.conversion.largest_mm == pytest.approx(float(lengths.max()), rel=1e-3) and lengths.max() > 0.1
    # No other expression comes nearer: what is left stands at right angles on every direction.
    basis = source.bound.expression_dirs[:, :80]
    slope = left.flatten(1) @ (basis / torch.linalg.vector_norm(basis, dim=0))
    assert slope.abs().max() < 1e-6 * torch.linalg.vector_norm(left)


def test_the_neutral_head_stays_neutral_and_the_head_stays_where_it_was(both) -> None:
    """Two people whose heads fit exactly: their points fall where the driver's do, though the origins differ."""
    driver, source = both["flame2020"], both["flame2023"]
    found = converter(driver, source, 80)
    np.testing.assert_allclose(found.shift.numpy(), -SHIFT, atol=3e-5)
    made = transfer(perform(driver, torch.zeros(3, 100)), driver, source, Options(expression="absolute"))
    assert made.params.expression.abs().max() < 1e-6
    base = driver.bound.base
    turned = perform(driver, torch.zeros(3, 100)).placement
    rows = torch.tensor([100, 2000, 4000])
    before = base[rows] @ turned.turn.mT + turned.offset[:, None]
    # The same surface points of the driver, in the coordinates of the other model.
    w2c = made.camera.w2c.double()
    after = (base[rows] - found.shift) @ w2c[:, :3, :3].mT + w2c[:, None, :3, 3]
    torch.testing.assert_close(after, before, atol=1e-6, rtol=0)


def test_means_are_converted_so_that_relative_expressions_end_at_the_sources_mean(both) -> None:
    driver, source = both["flame2023"], both["flame2020"]
    expression = torch.randn(6, 80, generator=torch.Generator().manual_seed(7))
    made = transfer(perform(driver, expression), driver, source, Options())
    torch.testing.assert_close(made.params.expression.mean(0), source.identity.mean_expression[0], atol=1e-5, rtol=0)


@pytest.mark.slow
def test_a_detour_through_the_other_version_loses_what_that_cannot_show(both) -> None:
    driver, other = both["flame2020"], both["flame2023"]
    options = Options(expression="absolute")
    shared = torch.zeros(3, 100)
    shared[:, :KEPT] = torch.randn(3, KEPT, generator=torch.Generator().manual_seed(8))
    beyond = torch.randn(3, 100, generator=torch.Generator().manual_seed(9))
    losses = []
    for expression in (shared, beyond):
        performance = perform(driver, expression)
        straight = transfer(performance, driver, driver, options)
        losses.append(parameter_loss(detour(performance, driver, driver, other, options, straight), driver))
    assert losses[0]["vertices_largest_mm"] < 0.01 and losses[0]["expression_largest"] < 0.01
    assert losses[1]["vertices_mm"] > 0.1
    for loss in losses:
        # The origins of the two versions lie apart by millimetres; the way back takes that away again.
        assert loss["head_degrees"] < 1e-3 and loss["head_mm"] < 0.5


@pytest.mark.tried(
    "damaged inputs", "a driver tracked with the open head for an avatar of FLAME", "refused in one line", "nothing"
)
def test_other_heads_are_refused(both) -> None:
    driver = head_of(identity("openhead", 52, 3))
    with pytest.raises(
        BenchError, match="openhead-3 is tracked with head model openhead, the source is of flame2020"
    ) as e:
        transfer(perform(driver, torch.zeros(2, 52)), driver, both["flame2020"], Options())
    assert "choose a driver tracked with flame2020" in e.value.help
