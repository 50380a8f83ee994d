"""The baseline shows the training image whose projected head is nearest."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from headbench.harness.head import HeadModel, project
from headbench.harness.image import composite, to_float
from headbench.harness.splat import make_rasterizer
from headbench.harness.types import Camera, HeadParams, Identity, TrainView
from headbench.methods.nearestframe import NearestFrame

DRAW = make_rasterizer("torch")


@pytest.fixture
def portrait(tiny_head: HeadModel, tiny_identity: Identity, tiny_train: TrainView, preset: Any) -> NearestFrame:
    return NearestFrame.create(tiny_head, tiny_identity, tiny_train, preset("nearest-frame", "default"))


def test_a_training_frame_is_shown_as_it_is(portrait: NearestFrame, tiny_train: TrainView) -> None:
    black = torch.zeros(1, 3)
    for frame in tiny_train.frames:
        pixels = frame.pixels()
        expected = composite(to_float(pixels.colour), to_float(pixels.alpha), black[0])
        torch.testing.assert_close(portrait.render(frame.params, frame.camera, black, DRAW)[0], expected)


def test_the_choice_is_the_smallest_mean_pixel_distance(
    portrait: NearestFrame,
    tiny_head: HeadModel,
    tiny_identity: Identity,
    tiny_train: TrainView,
    tiny_params: Callable[[int], HeadParams],
    tiny_camera: Camera,
) -> None:
    subject = tiny_head.bind(tiny_identity)
    known = [project(subject.vertices(f.params), f.camera)[0][0].numpy() for f in tiny_train.frames]
    for seed in range(10, 20):
        wanted = project(subject.vertices(tiny_params(seed)), tiny_camera)[0][0].numpy()
        distances = [np.linalg.norm(k - wanted, axis=1).mean() for k in known]
        assert portrait.nearest(tiny_params(seed), tiny_camera).tolist() == [int(np.argmin(distances))]


def test_batches_backgrounds_and_other_sizes(portrait: NearestFrame, tiny_train: TrainView) -> None:
    frames = [tiny_train.frames[1], tiny_train.frames[4]]
    params = HeadParams.join([f.params for f in frames])
    camera = Camera.join([f.camera for f in frames]).resized(48, 40)
    background = torch.tensor([[1.0, 0.0, 0.0], [0.0, 0.0, 1.0]])
    image = portrait.render(params, camera, background, DRAW)
    assert image.shape == (2, 3, 40, 48)
    torch.testing.assert_close(image[:, :, 0, 0], background)
    middle = to_float(torch.tensor([[40, 215, 100], [160, 95, 100]], dtype=torch.uint8))
    torch.testing.assert_close(image[:, :, 20, 24], middle, atol=0.01, rtol=0)


def test_images_are_kept_at_the_size_that_training_sees(
    tiny_head: HeadModel, tiny_identity: Identity, tiny_train: TrainView, preset: Any
) -> None:
    small = replace(tiny_train, width=16, height=16)
    portrait = NearestFrame.create(tiny_head, tiny_identity, small, preset("nearest-frame", "default"))
    assert portrait._image(0)[0].shape == (3, 16, 16)


def test_few_vertices_are_compared_if_asked(
    tiny_head: HeadModel, tiny_identity: Identity, tiny_train: TrainView, preset: Any
) -> None:
    config = preset("nearest-frame", "default", vertices=10)
    portrait = NearestFrame.create(tiny_head, tiny_identity, tiny_train, config)
    assert portrait.points.shape == (6, 9, 2)  # every fifth of 42
    assert portrait.chosen.tolist() == list(range(0, 42, 5))


def test_a_checkpoint_needs_no_dataset(
    portrait: NearestFrame, tiny_head: HeadModel, tiny_identity: Identity, tiny_train: TrainView, preset: Any
) -> None:
    state = portrait.state_dict()
    other = NearestFrame.create(tiny_head, tiny_identity, None, preset("nearest-frame", "default"))
    other.resize_for({name: value.shape for name, value in state.items()})
    other.load_state_dict(state)
    frame, white = tiny_train.frames[3], torch.ones(1, 3)
    assert torch.equal(
        portrait.render(frame.params, frame.camera, white, DRAW), other.render(frame.params, frame.camera, white, DRAW)
    )
    assert portrait.count() == 0
