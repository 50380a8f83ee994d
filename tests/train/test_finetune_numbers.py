"""How far per-frame parameters move, in learning rates: figures that are known of both optimisers in this field."""

import itertools
from collections.abc import Callable

import pytest
import torch

from headbench.harness.avatar import FineTuneConfig
from headbench.harness.train.finetune import FrameParameters
from headbench.harness.types import Batch, Camera, Frame, HeadParams, Pixels

RATE = 1e-4


@pytest.fixture
def tables() -> Callable[..., tuple[FrameParameters, Callable[[int | None], None]]]:
    """(optimizer, rows) -> per-frame tables, and a function that steps with a gradient of 1 for a row, or for none."""

    def make(optimizer: str, rows: int) -> tuple[FrameParameters, Callable[[int | None], None]]:
        zeros = torch.zeros(rows, 3)
        params = HeadParams("openhead", torch.zeros(rows, 1), zeros, zeros, zeros, zeros, zeros, zeros)
        camera = Camera(torch.eye(4).repeat(rows, 1, 1), torch.eye(3).repeat(rows, 1, 1), 4, 4)

        def none() -> Pixels:
            raise AssertionError("pixels are not needed")

        frames = [
            Frame(f"{k}", camera.rows(slice(k, k + 1)), params.rows(slice(k, k + 1)), none, timestep=k)
            for k in range(rows)
        ]
        config = FineTuneConfig(rates={"expression": RATE}, optimizer=optimizer)
        made = FrameParameters(frames, params, camera, config)

        def step(row: int | None) -> None:
            made.zero_grad_tables()
            if row is None:
                made.tables["expression"].grad = torch.zeros(rows, 1)
            else:
                index, empty = torch.tensor([row]), torch.zeros(1, 3, 4, 4)
                batch = Batch(params.rows(index), camera.rows(index), empty, empty[:, :1], torch.ones(1, 3), ("x",))
                made.into(batch, index).params.expression.sum().backward()
            made.step()

        return made, step

    return make


@pytest.mark.slow
@pytest.mark.parametrize(("apart", "moved"), [(1000, 25.0), (3000, 31.0)])
def test_a_dense_row_drifts_by_tens_of_rates_for_each_lonely_visit(apart: int, moved: float, tables: Callable) -> None:
    """GaussianAvatars visits a timestep once per epoch, and its dense Adam coasts in between."""
    made, step = tables("dense", 2)
    places = []
    for _ in range(4):
        step(0)
        for _ in range(apart - 1):
            step(None)
        places.append(made.tables["expression"].detach()[0].item())
    assert abs(places[-1] - places[-2]) / RATE == pytest.approx(moved, rel=0.06)


@pytest.mark.slow
@pytest.mark.parametrize(("steps", "far"), [(50, {0: 50, 1: 74, 59: 271}), (20, {0: 20, 20: 70, 59: 100})])
def test_sparse_rows_move_farther_the_later_they_are_tuned(steps: int, far: dict[int, int], tables: Callable) -> None:
    """FateAvatar tunes 50 steps per test frame and MonoGaussianAvatar 20, each with one SparseAdam, whose one step
    count favours later frames."""
    made, step = tables("sparse", 60)
    for row in range(60):
        for _ in range(steps):
            step(row)
    moved = made.tables["expression"].detach()[:, 0].abs() / RATE
    assert {k: round(float(moved[k])) for k in far} == far


def test_the_first_update_of_a_sparse_row_depends_on_when_it_comes(tables: Callable) -> None:
    """One step count corrects the bias of all rows: 1 rate at once, half near step 10, at last 0.1 / sqrt(0.001)."""
    made, step = tables("sparse", 1)
    step(0)
    table, begun = made.tables["expression"], made.optimizer_state()

    def first(at: int) -> float:
        fresh = {name: torch.zeros_like(value) for name, value in begun.items()}
        made.load_optimizer_state({**fresh, "expression/step": torch.tensor(at - 1)})
        before = float(table.detach())
        step(0)
        return (before - float(table.detach())) / RATE

    assert first(1) == pytest.approx(1.0, abs=0.01)
    assert first(10) == pytest.approx(0.5, abs=0.02)
    assert first(1000) == pytest.approx(2.5, abs=0.05)
    assert first(20_000) == pytest.approx(0.1 / 0.001**0.5, abs=0.01) == pytest.approx(3.16, abs=0.01)


def test_a_sparse_row_moves_by_3_to_6_rates_a_lonely_visit_where_a_dense_one_coasts(tables: Callable) -> None:
    made, step = tables("sparse", 1)
    step(0)
    late = {name: torch.zeros_like(value) for name, value in made.optimizer_state().items()}
    made.load_optimizer_state({**late, "expression/step": torch.tensor(50_000)})
    places = [float(made.tables["expression"].detach())]
    for _ in range(30):
        step(0)
        places.append(float(made.tables["expression"].detach()))
    visits = [(a - b) / RATE for a, b in itertools.pairwise(places)]
    assert min(visits) == pytest.approx(3.16, abs=0.02)
    assert max(visits) == pytest.approx(6.5, abs=0.1)
