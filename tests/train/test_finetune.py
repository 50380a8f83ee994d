"""Per-frame parameters: rows by timestep, tracked values at the start, dense and sparse Adam as torch has them."""

from dataclasses import replace

import pytest
import torch

from headbench.harness.avatar import FineTuneConfig
from headbench.harness.errors import BenchError
from headbench.harness.train.finetune import FrameParameters
from headbench.harness.types import Batch, Camera, Clock, Frame, HeadParams, Pixels


def setup(config: FineTuneConfig, timesteps: list[int]) -> tuple[FrameParameters, HeadParams, Camera]:
    n = len(timesteps)
    zeros = torch.zeros(n, 3)
    expression = torch.tensor(timesteps, dtype=torch.float32)[:, None].expand(n, 2).clone()
    params = HeadParams("openhead", expression, zeros, zeros, zeros, zeros, zeros, zeros)
    w2c = torch.eye(4).repeat(n, 1, 1)
    w2c[:, 2, 3] = 1.0
    camera = Camera(w2c, torch.eye(3).repeat(n, 1, 1), 4, 4)

    def none() -> Pixels:
        raise AssertionError("pixels are not needed")

    frames = [
        Frame(f"{k}", camera.rows(slice(k, k + 1)), params.rows(slice(k, k + 1)), none, timestep=t)
        for k, t in enumerate(timesteps)
    ]
    return FrameParameters(frames, params, camera, config), params, camera


def batch_of(params: HeadParams, camera: Camera, rows: list[int]) -> Batch:
    index = torch.tensor(rows)
    empty = torch.zeros(len(rows), 3, 4, 4)
    return Batch(
        params.rows(index), camera.rows(index), empty, empty[:, :1], torch.ones(len(rows), 3), ("x",) * len(rows)
    )


def test_a_batch_starts_at_the_tracked_values_and_frames_of_a_timestep_share_a_row() -> None:
    tables, params, camera = setup(FineTuneConfig(rates={"expression": 1e-3, "camera.t": 1e-6}), [5, 7, 7])
    batch = tables.into(batch_of(params, camera, [2, 0]), torch.tensor([2, 0]))
    assert batch.params.expression.tolist() == [[7, 7], [5, 5]]
    assert torch.equal(batch.camera.w2c, camera.w2c.index_select(0, torch.tensor([2, 0])))
    assert len(tables.tables["expression"]) == 2
    batch.params.expression.sum().backward()
    assert tables.tables["expression"].grad.tolist() == [[1, 1], [1, 1]]


def test_dense_adam_goes_on_moving_a_row_that_is_no_longer_seen() -> None:
    tables, params, camera = setup(FineTuneConfig(rates={"expression": 1e-3}), [0, 1])
    weight = tables.tables["expression"]
    for row in (0, 1):
        before = weight.detach().clone()
        tables.zero_grad_tables()
        tables.into(batch_of(params, camera, [row]), torch.tensor([row])).params.expression.sum().backward()
        tables.step()
        moved = (weight.detach() - before).abs().sum(dim=1)
        assert moved[row] > 0
    assert moved[0] > 0, "row 0 had no gradient in the second step but keeps its momentum"


def test_sparse_adam_moves_only_the_rows_of_the_batch() -> None:
    tables, params, camera = setup(FineTuneConfig(rates={"expression": 1e-3}, optimizer="sparse"), [0, 1])
    weight = tables.tables["expression"]
    for row in (0, 1):
        before = weight.detach().clone()
        tables.zero_grad_tables()
        tables.into(batch_of(params, camera, [row]), torch.tensor([row])).params.expression.sum().backward()
        tables.step()
        moved = (weight.detach() - before).abs().sum(dim=1)
        assert moved[row] > 0
        assert moved[1 - row] == 0


@pytest.mark.parametrize("optimizer", ["dense", "sparse"])
def test_saved_state_continues_bit_equal(optimizer: str) -> None:
    config = FineTuneConfig(rates={"expression": 1e-3, "jaw": 1e-4}, optimizer=optimizer)
    first, params, camera = setup(config, [0, 1, 2])

    def move(tables: FrameParameters, row: int) -> None:
        tables.zero_grad_tables()
        tuned = tables.into(batch_of(params, camera, [row]), torch.tensor([row])).params
        (tuned.expression.square().sum() + tuned.jaw.sum()).backward()
        tables.step()

    for row in (1, 2, 1):
        move(first, row)
    second, _, _ = setup(config, [0, 1, 2])
    second.load_state_dict(first.state_dict())
    second.load_optimizer_state(first.optimizer_state())
    for tables in (first, second):
        move(tables, 1)
        move(tables, 2)
    assert all(torch.equal(a, b) for a, b in zip(first.parameters(), second.parameters(), strict=True))


def test_tables_rest_until_their_epoch_and_an_unknown_field_is_named() -> None:
    config = FineTuneConfig(rates={"expression": 1e-3}, start_epoch=11)
    tables, _, _ = setup(config, [0])
    clock = Clock(1, 10, 5, 100)
    assert not tables.active(clock)
    assert tables.active(replace(clock, epoch=11))
    assert not setup(FineTuneConfig(), [0])[0].active(clock)
    with pytest.raises(BenchError, match=r"expresion.*expression"):
        setup(FineTuneConfig(rates={"expresion": 1.0}), [0])
