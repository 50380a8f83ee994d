"""Files of maps for people, gutters around islands, and files that do not fit."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file
from torch.nn import functional

from headbench.harness.errors import BenchError
from headbench.harness.files import read_json
from headbench.harness.reading import Unreadable
from headbench.stages.bake.maps import CHANNELS, DC, Attributes, Look, Maps, read_colour_png
from headbench.stages.bake.png import read_png, write_png
from headbench.stages.bake.start import fill_gutters, nearest_inside, spread_maps


def noise(size: int = 16, seed: int = 0) -> Maps:
    rng = torch.Generator().manual_seed(seed)
    packed = torch.rand((sum(CHANNELS.values()), size, size), generator=rng)
    return Maps.unpack(packed)


@pytest.mark.parametrize("kind", [np.uint8, np.uint16])
@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_a_png_comes_back_as_it_was_written(tmp_path: Path, kind: Any, channels: int) -> None:
    pixels = np.random.default_rng(channels).integers(0, np.iinfo(kind).max + 1, (5, 7, channels)).astype(kind)
    write_png(tmp_path / "a.png", pixels)
    again = read_png(tmp_path / "a.png")
    assert again.dtype == kind and np.array_equal(again, pixels)
    if kind == np.uint8:
        assert np.array_equal(np.array(Image.open(tmp_path / "a.png")).reshape(pixels.shape), pixels)


@pytest.mark.parametrize("filter_type", range(5))
def test_every_filter_of_a_16_bit_png_is_undone(filter_type: int) -> None:
    from headbench.stages.bake.png import _unfiltered

    rng = np.random.default_rng(filter_type)
    truth = rng.integers(0, 256, (4, 18)).astype(np.uint8)
    lines = np.zeros((4, 19), dtype=np.uint8)
    for row in range(4):
        up = truth[row - 1].astype(int) if row else np.zeros(18, dtype=int)
        left = np.concatenate([np.zeros(6, dtype=int), truth[row, :-6]])
        corner = np.concatenate([np.zeros(6, dtype=int), up[:-6]])
        guess = left + up - corner
        near = np.stack([abs(guess - left), abs(guess - up), abs(guess - corner)])
        paeth = np.choose(near.argmin(0), [left, up, corner])
        predicted = [0 * up, left, up, (left + up) // 2, paeth][filter_type]
        lines[row, 0], lines[row, 1:] = filter_type, (truth[row] - predicted) % 256
    assert np.array_equal(_unfiltered(lines, 6), truth)


@pytest.mark.parametrize("bits", [8, 16])
@pytest.mark.parametrize("rows", ["v_up", "v_down"])
def test_files_for_people_show_the_top_of_the_atlas_first_and_come_back(tmp_path: Path, bits: int, rows: Any) -> None:
    maps = noise()
    maps.write(tmp_path, rows, bits, "openhead open")
    first = (tmp_path / "maps.safetensors").read_bytes()
    for _ in range(8):
        maps.write(tmp_path, rows, bits, "openhead open")
        assert (tmp_path / "maps.safetensors").read_bytes() == first
    exact = Maps.read(tmp_path / "maps.safetensors", 16, rows, "openhead open")
    assert torch.equal(exact.pack(), maps.pack())
    other = Maps.read(tmp_path / "maps.safetensors", 16, "v_down" if rows == "v_up" else "v_up", "openhead open")
    assert torch.equal(other.pack(), maps.pack().flip(1))
    colours, largest = read_colour_png(tmp_path / "colour.png", 16)
    assert largest == 2**bits - 1
    from_bottom = maps.colour if rows == "v_up" else maps.colour.flip(1)
    torch.testing.assert_close(colours, from_bottom, atol=0.51 / largest, rtol=0)
    about = read_json(tmp_path / "maps.json")
    assert (about["size"], about["bits"], about["rows"]) == (16, bits, rows)
    for name, channels in CHANNELS.items():
        entry = about["maps"][name]
        levels = read_png(tmp_path / entry["file"]).astype(float) / largest
        values = torch.tensor(levels * (entry["white"] - entry["black"]) + entry["black"]).permute(2, 0, 1)
        assert len(values) == channels
        truth = getattr(maps, name) if rows == "v_down" else getattr(maps, name).flip(1)
        torch.testing.assert_close(values.float(), truth, atol=2.1 / largest, rtol=0)


def picture(path: Path, mode: str, size: tuple[int, int] = (16, 16), **options: Any) -> Path:
    Image.new(mode, size, **options).save(path)
    return path


@pytest.mark.tried("hostile files", "a colour map of another size, kind or with holes")
@pytest.mark.parametrize(
    ("make", "words"),
    [
        (
            lambda p: picture(p, "RGB", (32, 16)),
            "expected 16 x 16 pixels as the avatar's colour map has, found 32 x 16",
        ),
        (lambda p: picture(p, "L"), "expected red, green and blue, found 1 channels"),
        (lambda p: picture(p, "RGBA", color=(1, 2, 3, 254)), "opaque everywhere, found transparent pixels"),
        (lambda p: Image.new("RGB", (16, 16)).save(p, format="JPEG") or p, "found no PNG"),
        (lambda p: p.write_bytes(b"\x89PNG\r\n\x1a\nnonsense") and p, "PNG"),
        (lambda p: p, "colour.png"),
    ],
)
def test_a_colour_map_that_does_not_fit_is_one_line(tmp_path: Path, make: Callable[[Path], Path], words: str) -> None:
    with pytest.raises(Unreadable) as caught:
        read_colour_png(make(tmp_path / "colour.png"), 16)
    assert words in caught.value.args[0] and "\n" not in caught.value.args[0]


def test_a_palette_and_opaque_alpha_are_taken(tmp_path: Path) -> None:
    red = picture(tmp_path / "a.png", "RGBA", color=(255, 0, 0, 255))
    Image.new("RGB", (16, 16), (255, 0, 0)).convert("P").save(tmp_path / "b.png")
    for path in (red, tmp_path / "b.png"):
        assert read_colour_png(path, 16)[0].mean((1, 2)).tolist() == [1.0, 0.0, 0.0]


@pytest.mark.tried("hostile files", "maps of another size, type, range or topology, or with one missing")
@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"colour": torch.zeros(3, 8, 8)}, "expected a map colour of 3 x 16 x 16 numbers, found 3 x 8 x 8"),
        ({"opacity": torch.full((1, 16, 16), float("nan"))}, "not finite"),
        ({"colour": torch.full((3, 16, 16), 1.5)}, "from 0 to 1, found others"),
        ({"offset": torch.zeros(1, 16, 16, dtype=torch.int32)}, "found type int32"),
        ({"scaling": None}, "found none of that name"),
        ({"head": "openhead teeth"}, "expected maps of head model openhead open, found those of openhead teeth"),
        ({"head": ""}, "found those of none that it names"),
    ],
)
def test_maps_that_do_not_fit_are_one_line(tmp_path: Path, change: dict[str, Any], words: str) -> None:
    change = dict(change)
    head = change.pop("head", "openhead open")
    tensors = {name: tensor.contiguous() for name, tensor in noise().tensors().items()} | change
    save_file(
        {name: t for name, t in tensors.items() if t is not None},
        tmp_path / "maps.safetensors",
        {"atlas": f"{head} v_up" if head else ""},
    )
    with pytest.raises(Unreadable) as caught:
        Maps.read(tmp_path / "maps.safetensors", 16, "v_up", "openhead open")
    assert words in str(caught.value)


def test_maps_of_different_sizes_make_no_maps() -> None:
    parts = noise().tensors()
    with pytest.raises(BenchError, match="map offset: expected 1 x 16 x 16 values, found 1 x 8 x 8"):
        Maps(**{**parts, "offset": torch.zeros(1, 8, 8)})


@pytest.fixture
def two_islands() -> Any:
    """An atlas with a seam: a triangle at the left, one at the right, nothing between them."""
    uvs = torch.tensor([[0.02, 0.05], [0.42, 0.05], [0.02, 0.95], [0.58, 0.05], [0.98, 0.05], [0.98, 0.95]])
    return SimpleNamespace(uvs=uvs, uv_faces=torch.tensor([[0, 1, 2], [3, 4, 5]]))


@pytest.mark.parametrize("rows", ["v_up", "v_down"])
def test_gutters_keep_islands_from_bleeding_into_each_other(two_islands: Any, rows: Any) -> None:
    size = 64
    nearest = nearest_inside(two_islands, size, rows)
    inside = nearest == torch.arange(size * size)
    assert 0.2 < inside.float().mean() < 0.5
    u, v = torch.arange(size) / (size - 1), torch.arange(size) / (size - 1)
    v = v if rows == "v_up" else v.flip(0)
    in_left = (u > 0.02) & (v[:, None] > 0.05) & ((u - 0.02) / 0.4 + (v[:, None] - 0.05) / 0.9 < 1)
    assert torch.equal(inside.view(size, size)[:, :32], in_left[:, :32])
    # A red island and a green one; outside is what nobody trained.
    packed = torch.full((12, size, size), 9.0)
    colour = torch.zeros(3, size, size)
    colour[0, :, :32], colour[1, :, 32:] = 1.0, 1.0
    packed[:3] = torch.where(inside.view(size, size), colour, packed[:3])
    filled = fill_gutters(Maps.unpack(packed), nearest)
    assert filled.colour.min() >= 0 and filled.colour.max() <= 1
    # Mipmaps down to 4 x 4 texels: where an island is, they have its colour alone.
    mip = filled.colour
    for _ in range(4):
        mip = functional.avg_pool2d(mip, 2)
    assert mip[:, 1, 0].tolist() == [1.0, 0.0, 0.0] and mip[:, 1, 3].tolist() == [0.0, 1.0, 0.0]
    # A look-up on an island is the same through the nearest texels, to the bit.
    uv = two_islands.uvs[:3].mean(0, keepdim=True) + 0.1 * torch.randn(
        (50, 2), generator=torch.Generator().manual_seed(1)
    )
    look = Look.at(uv, size, rows)
    through = Look(nearest[look.texels], look.weights)
    texels = Maps.unpack(packed).pack().flatten(1).T
    assert torch.equal(through(texels), look(filled.pack().flatten(1).T))


def test_maps_start_at_the_means_of_gaussians_and_are_filled_everywhere() -> None:
    rng = torch.Generator().manual_seed(2)
    uv = 0.2 + 0.3 * torch.rand((40, 2), generator=rng)
    turned = torch.nn.functional.normalize(torch.randn((40, 4), generator=rng), dim=1)
    found = Attributes(
        dc=torch.full((40, 3), 0.3),
        opacity=torch.full((40,), 2.0),
        scaling=torch.full((40, 3), -6.0),
        rotation=turned,
        offset=torch.full((40,), 0.25),
    )
    maps = spread_maps(found, uv, 16, "v_up")
    torch.testing.assert_close(maps.colour, torch.full((3, 16, 16), DC * 0.3 + 0.5))
    torch.testing.assert_close(maps.offset, torch.full((1, 16, 16), 0.25))
    assert bool((maps.rotation[0] >= 0).all()), "quaternions of both signs do not cancel"
    single = Attributes(
        found.dc[:1], found.opacity[:1], found.scaling[:1], torch.tensor([[-1.0, 0, 0, 0]]), found.offset[:1]
    )
    torch.testing.assert_close(spread_maps(single, uv[:1], 16, "v_up").rotation[0], torch.ones(16, 16))
