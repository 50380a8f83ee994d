"""Methods take whatever mesh a head model has: FLAME 2020 and 2023 in every topology, with all their coefficients."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch

from headbench.harness.head import HeadModel
from headbench.harness.head.load import load_arrays
from headbench.harness.splat import make_rasterizer
from headbench.harness.train.optimizer import AvatarOptimizer
from headbench.harness.types import Batch, Camera, Clock, HeadParams, Identity, TrainView
from headbench.methods.fateavatar import FateAvatar
from headbench.methods.gaussianavatars import GaussianAvatars
from headbench.methods.monogaussianavatar import MonoGaussianAvatar

SIZES = {"open": (5023, 9976), "mouth_closed": (5023, 10_006), "teeth": (5143, 10_144)}
KINDS = {
    "FateAvatar": (FateAvatar, {"num_points": 400, "cover_faces": "none", "weights": {"vgg": 0.0}}),
    "GaussianAvatars": (GaussianAvatars, {}),
    "MonoGaussianAvatar": (
        MonoGaussianAvatar,
        {"start_points": 200, "weights": {"vgg": 0.0}, "network": {"geometry_width": 44}},
    ),
}
POSE = ("root", "neck", "jaw", "eye_left", "eye_right", "translation")


@pytest.fixture(scope="module")
def heads(flame_home: Any) -> Callable[[str, str], HeadModel]:
    """(tag, topology) -> a made-up head of FLAME's sizes, as a file of either year gives."""
    known = {}

    def make(tag: str, topology: str) -> HeadModel:
        if topology not in known:
            known[topology] = load_arrays("flame2020", topology)
        return HeadModel(replace(known[topology], tag=tag))

    return make


@pytest.mark.parametrize("topology", SIZES)
@pytest.mark.parametrize("method", KINDS)
@pytest.mark.parametrize(("tag", "given"), [("flame2020", 50), ("flame2023", 100)])
def test_a_step_on_flame(
    heads: Callable[[str, str], HeadModel],
    preset: Any,
    tiny_camera: Camera,
    method: str,
    topology: str,
    tag: str,
    given: int,
) -> None:
    head = heads(tag, topology)
    assert (len(head.template), len(head.faces)) == SIZES[topology]
    kind, small = KINDS[method]
    config = preset(method, "fateavatar", head_topology=topology, **small)
    rng = torch.Generator().manual_seed(0)
    expression = 0.3 * torch.randn(1, given, generator=rng)
    params = HeadParams(tag, expression, *(0.1 * torch.randn(1, 3, generator=rng) for _ in POSE))
    identity = Identity(tag, torch.zeros(1, 100), expression, torch.ones(1, given), params, tiny_camera)
    avatar = kind.create(head, identity, TrainView((), 32, 32, seed=1), config)
    optimizer = AvatarOptimizer(avatar, method)
    target = torch.rand(1, 3, 32, 32, generator=rng)
    batch = Batch(params, tiny_camera, target, target[:, :1], torch.ones(1, 3), ("a",))
    drive = avatar.drive(params)
    assert drive.vertices.shape == (1, SIZES[topology][0], 3)
    splat = make_rasterizer("numba", "cpu")(drive.gaussians, tiny_camera, batch.background)
    assert bool(splat.visible.any())
    terms = avatar.losses(drive, splat, batch, Clock(1, 1, 6, 60))
    torch.stack(list(terms.values())).sum().backward()
    optimizer.step(Clock(1, 1, 6, 60))
    if method == "FateAvatar":
        assert avatar.delta_expression.shape[2] == given, "a slice for each coefficient that the tracker gives"
        assert int(avatar.table["face_index"].max()) < len(head.faces)
    if method == "GaussianAvatars":
        assert avatar.count() == len(head.faces)
    if method == "MonoGaussianAvatar":
        assert avatar.deformer.blendshapes.weight.shape[0] == 108 + 3 * given + 3
    assert all(bool(torch.isfinite(p).all()) for p in avatar.parameters())
    assert bool(torch.isfinite(avatar.drive(params).gaussians.means).all())
