"""How far per-frame parameters move, in learning rates: figures that are known of both optimisers in this field."""

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


@pytest.mark.parametrize(("apart", "moved"), [(1000, 25.0), (3000, 31.0)])
def test_a_dense_row_drifts_by_tens_of_rates_for_each_lonely_visit(apart: int, moved: float, tables: Callable) -> None:
    """GaussianAvatars visits a timestep once an epoch, and its dense Adam coasts in between."""
    made, step = tables("dense", 2)
    places = []
    for _ in range(4):
        step(0)
        for _ in range(apart - 1):
            step(None)
        places.append(made.tables["expression"].detach()[0].item())
    assert abs(places[-1] - places[-2]) / RATE == pytest.approx(moved, rel=0.06)


def test_sparse_rows_move_farther_the_later_they_are_tuned(tables: Callable) -> None:
    """FateAvatar tunes 50 steps a test frame with one SparseAdam, whose one step count favours later frames."""
    made, step = tables("sparse", 60)
    for row in range(60):
        for _ in range(50):
            step(row)
    moved = made.tables["expression"].detach()[:, 0].abs() / RATE
    assert [round(float(moved[k])) for k in (0, 1, 59)] == [50, 74, 271]
