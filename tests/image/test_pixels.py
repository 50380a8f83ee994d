from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from headbench.harness.image import (
    composite,
    on_background,
    planes_of,
    resize,
    resize_rgba,
    resize_uint8,
    save_png,
    to_float,
    to_uint8,
)
from headbench.harness.types import Pixels


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
@pytest.mark.parametrize("kind", [np.uint8, np.uint16])
def test_a_png_holds_what_was_written_of_one_row_or_many(channels: int, kind: type, tmp_path: Path) -> None:
    from headbench.stages.bake.png import read_png

    random = np.random.default_rng(0)
    for number, height in enumerate((1, 7)):
        wide = random.integers(0, np.iinfo(kind).max + 1, (height, 10, channels), dtype=kind)
        pixels = wide[:, ::2]  # as views of larger pictures lie in memory
        save_png(pixels, tmp_path / f"{number}.png")
        found = read_png(tmp_path / f"{number}.png")
        assert found.dtype == kind and np.array_equal(found, pixels)


@pytest.mark.parametrize("mode", ["L", "LA", "RGB", "RGBA"])
def test_planes_are_the_channels_of_a_picture(mode: str) -> None:
    shape = (5, 7, len(mode)) if len(mode) > 1 else (5, 7)
    pixels = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    planes = planes_of(Image.fromarray(pixels))
    assert planes.is_contiguous() and np.array_equal(planes.numpy(), np.atleast_3d(pixels).transpose(2, 0, 1))


def test_eight_bit_values_survive_the_way_to_float_and_back():
    values = torch.arange(256, dtype=torch.uint8)
    assert to_float(values).dtype == torch.float32
    assert to_float(values).min() == 0 and to_float(values).max() == 1
    assert torch.equal(to_uint8(to_float(values)), values)


def test_floats_are_clamped_and_rounded_not_cut_off():
    values = torch.tensor([-0.3, 0.0, 0.49 / 255, 0.51 / 255, 99.6 / 255, 1.0, 1.7])
    assert to_uint8(values).tolist() == [0, 0, 0, 1, 100, 255, 255]
    with pytest.raises(TypeError, match=r"expected float pixels, got torch\.uint8"):
        to_uint8(torch.zeros(1, dtype=torch.uint8))
    with pytest.raises(TypeError, match=r"expected uint8 pixels, got torch\.float32"):
        to_float(torch.zeros(1))


def test_compositing_is_straight_alpha_for_single_images_and_batches():
    colour, alpha = torch.rand(4, 3, 5, 6), torch.rand(4, 1, 5, 6)
    backgrounds = torch.rand(4, 3)
    batch = composite(colour, alpha, backgrounds)
    for i in range(4):
        by_hand = alpha[i] * colour[i] + (1 - alpha[i]) * backgrounds[i].view(3, 1, 1)
        torch.testing.assert_close(batch[i], by_hand)
        torch.testing.assert_close(composite(colour[i], alpha[i], backgrounds[i]), by_hand)
    white = composite(colour, torch.zeros_like(alpha), torch.ones(3))
    assert torch.equal(white, torch.ones_like(colour))


def test_area_resize_is_the_mean_of_blocks():
    image = torch.rand(1, 3, 8, 12)
    blocks = image.reshape(1, 3, 4, 2, 6, 2).mean(dim=(3, 5))
    torch.testing.assert_close(resize(image, 6, 4), blocks)
    assert resize(image, 6, 4, "bicubic").shape == (1, 3, 4, 6)


def test_bicubic_resize_of_stored_pixels_is_pillows():
    pixels = torch.randint(0, 256, (3, 40, 60), dtype=torch.uint8)
    picture = Image.fromarray(pixels.permute(1, 2, 0).numpy()).resize((24, 16), Image.Resampling.BICUBIC)
    np.testing.assert_array_equal(resize_uint8(pixels, 24, 16).permute(1, 2, 0).numpy(), np.asarray(picture))
    assert resize_uint8(pixels, 60, 40) is pixels
    near = resize(to_float(pixels)[None], 24, 16, "bicubic")[0]
    assert (near * 255 - resize_uint8(pixels, 24, 16)).abs().clamp(max=50).median() <= 0.5


def test_resampling_lets_no_colour_in_from_behind_transparent_pixels():
    colour = torch.zeros(3, 32, 32, dtype=torch.uint8)
    colour[:, :, :16] = 200
    colour[:, :, 16:] = 30
    alpha = torch.zeros(1, 32, 32, dtype=torch.uint8)
    alpha[..., :16] = 255
    small, cover = resize_rgba(colour, alpha, 15, 15)
    assert small.shape == (3, 15, 15) and cover.shape == (1, 15, 15)
    # Mixing in the 30 from behind would give 115 at half cover; 8-bit rounding of faint pixels leaves a few steps.
    seen = cover.expand(3, -1, -1) > 8
    assert seen.any() and (small[seen].int() - 200).abs().max() <= 10
    assert 0.48 < cover.float().mean() / 255 < 0.52


def test_stored_pixels_on_a_background_are_the_composite_for_every_byte() -> None:
    every = torch.arange(65536)
    colour = (every % 256).to(torch.uint8).reshape(1, 256, 256).expand(3, -1, -1)
    alpha = (every // 256).to(torch.uint8).reshape(1, 256, 256)
    for background in ((1.0, 1.0, 1.0), (0.2, 0.5, 1.0)):
        whole = composite(to_float(colour), to_float(alpha), torch.tensor(background))
        assert (on_background(Pixels(colour, alpha), background) == to_uint8(whole).permute(1, 2, 0).numpy()).all()
