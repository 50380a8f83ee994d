"""Taking dataclasses apart and putting them together again, as recorded steps do in every call."""

from dataclasses import replace

import torch

from headbench.harness.train.capture import builder, leaves
from headbench.harness.types import Batch, Camera, Gaussians, HeadParams, PosedAvatar, map_tensors


def batch() -> Batch:
    def rand(*shape: int) -> torch.Tensor:
        return torch.rand(shape)

    params = HeadParams("openhead", rand(1, 4), *(rand(1, 3) for _ in range(6)))
    camera = Camera(rand(1, 4, 4), rand(1, 3, 3), 8, 6)
    return Batch(params, camera, rand(1, 3, 6, 8), rand(1, 1, 6, 8), rand(1, 3), ("a",), {"mouth": rand(1, 1, 6, 8)})


def test_what_is_taken_apart_is_put_together_in_the_same_places() -> None:
    first, second = batch(), batch()
    made = builder(first)(iter(leaves(second)))
    assert type(made) is Batch
    assert made.camera.width == 8
    assert made.params.head == "openhead"
    assert made.params.eyelids is None
    assert made.masks["mouth"] is second.masks["mouth"]
    assert all(a is b for a, b in zip(leaves(made), leaves(second), strict=True))
    assert replace(made, frame_ids=("b",)).frame_ids == ("b",)


def test_leaves_come_in_the_order_in_which_map_tensors_visits() -> None:
    gaussians = Gaussians(*(torch.rand(3, k) for k in (3, 4, 3, 1, 3)), sh_degree=0)
    value = {"drive": PosedAvatar(gaussians, torch.rand(2), torch.rand(2), {"size": torch.rand(1)}), "batch": batch()}
    visited: list[torch.Tensor] = []
    map_tensors(value, lambda t: visited.append(t) or t)  # type: ignore[func-returns-value]
    assert [id(t) for t in visited] == [id(t) for t in leaves(value)]


def test_a_builder_of_detached_values_keeps_no_graph_alive() -> None:
    weight = torch.ones(2, requires_grad=True)
    result = {"x": weight * 2}
    build = builder(map_tensors(result, lambda t: t.detach()))
    fresh = weight * 3
    assert build(iter([fresh]))["x"] is fresh
