"""Frames on the device: right pixels for right rows, in an order that seed and epoch alone decide."""

import threading

import pytest
import torch

from headbench.harness.errors import DataError
from headbench.harness.train.frames import FrameStore, epoch_order
from headbench.harness.types import Camera, Frame, HeadParams, Pixels

CPU = torch.device("cpu")


def frame(k: int, size: int = 4, reads: list[int] | None = None, masks: bool = False) -> Frame:
    def pixels() -> Pixels:
        if reads is not None:
            with threading.Lock():
                reads.append(k)
        colour = torch.full((3, size, size), 10 * k, dtype=torch.uint8)
        alpha = torch.full((1, size, size), 51 * k, dtype=torch.uint8)
        return Pixels(colour, alpha, {"mouth": alpha} if masks else {})

    zeros = torch.zeros(1, 3)
    params = HeadParams("openhead", torch.full((1, 2), float(k)), zeros, zeros, zeros, zeros, zeros, zeros)
    K = torch.tensor([[[8.0, 0, 2], [0, 8, 2], [0, 0, 1]]])
    return Frame(f"{k:05d}", Camera(torch.eye(4)[None] * 1.0, K, 4, 4), params, pixels, timestep=k)


def test_a_batch_joins_pixels_parameters_and_ids_of_the_same_rows() -> None:
    store = FrameStore([frame(k) for k in range(5)], CPU, masks=())
    rows = [3, 1]
    batch = store.batch(torch.tensor(rows), rows, torch.ones(2, 3))
    assert batch.frame_ids == ("00003", "00001")
    assert batch.params.expression[:, 0].tolist() == [3.0, 1.0]
    alpha = torch.tensor([3 * 51 / 255, 51 / 255])
    colour = torch.tensor([30 / 255, 10 / 255])
    expected = (colour * alpha + (1 - alpha))[:, None, None, None].expand(2, 3, 4, 4)
    torch.testing.assert_close(batch.image, expected)


def test_a_recordable_batch_is_the_same_batch_without_ids() -> None:
    store = FrameStore([frame(k) for k in range(5)], CPU)
    rows = [4, 2]
    index, black = torch.tensor(rows), torch.zeros(2, 3)
    whole, bare = store.batch(index, rows, black), store.resident_batch(index, black)
    assert bare.frame_ids == ()
    assert torch.equal(whole.image, bare.image)
    assert torch.equal(whole.params.expression, bare.params.expression)


def test_each_image_is_decoded_once_however_often_it_is_used() -> None:
    reads: list[int] = []
    store = FrameStore([frame(k, reads=reads) for k in range(4)], CPU)
    for _ in range(3):
        for k in range(4):
            store.batch(torch.tensor([k]), [k], torch.ones(1, 3))
    store.close()
    assert sorted(reads) == [0, 1, 2, 3]


def test_masks_come_along_and_a_missing_one_names_the_frame() -> None:
    store = FrameStore([frame(2, masks=True)], CPU, masks=("mouth",))
    batch = store.batch(torch.tensor([0]), [0], torch.ones(1, 3))
    torch.testing.assert_close(batch.masks["mouth"], torch.full((1, 1, 4, 4), 102 / 255))
    with pytest.raises(DataError, match=r"00002.*mouth"):
        FrameStore([frame(2)], CPU, masks=("mouth",)).touch([0])


def test_an_image_of_another_size_than_its_camera_names_the_frame() -> None:
    with pytest.raises(DataError, match=r"00001.*4 x 4.*5 x 5"):
        FrameStore([frame(1, size=5)], CPU).touch([0])


def test_resampling_changes_the_camera_with_the_pixels_and_bleeds_no_hidden_colour() -> None:
    def half_visible() -> Pixels:
        colour = torch.zeros(3, 4, 4, dtype=torch.uint8)
        colour[:, :, :2] = 200
        alpha = torch.zeros(1, 4, 4, dtype=torch.uint8)
        alpha[:, :, :2] = 255
        return Pixels(colour, alpha)

    base = frame(0)
    store = FrameStore([Frame("a", base.camera, base.params, half_visible)], CPU, size=(2, 2))
    batch = store.batch(torch.tensor([0]), [0], torch.zeros(1, 3))
    torch.testing.assert_close(batch.camera.K, torch.tensor([[[4.0, 0, 1], [0, 4, 1], [0, 0, 1]]]))
    assert batch.alpha[0, 0, 0, 0] > 0.8
    # premultiplied resampling: dark hidden pixels do not darken the visible colour
    visible = batch.image[0, 0, 0, 0] / batch.alpha[0, 0, 0, 0]
    assert abs(float(visible) - 200 / 255) < 0.01


def test_the_order_of_an_epoch_is_a_permutation_that_seed_and_epoch_decide() -> None:
    assert sorted(epoch_order(50, 3, 2).tolist()) == list(range(50))
    assert torch.equal(epoch_order(50, 3, 2), epoch_order(50, 3, 2))
    assert not torch.equal(epoch_order(50, 3, 2), epoch_order(50, 3, 3))
    assert not torch.equal(epoch_order(50, 3, 2), epoch_order(50, 4, 2))
