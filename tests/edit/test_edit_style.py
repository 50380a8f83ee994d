"""Styles: Gram matrices of VGG16, and networks of the user's with FATE's released quirks."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from headbench.harness.errors import BenchError, MissingAsset
from headbench.harness.image.vgg import VGG_CONVOLUTIONS
from headbench.stages.bake.maps import DC
from headbench.stages.edit import Stack, apply, bring, check, style
from headbench.stages.edit.canvas import luma
from headbench.stages.edit.entries import Network, Style
from headbench.stages.edit.network import OFFICIAL, restyled
from headbench.stages.edit.pictures import read_style

BEFORE = [
    *((0.9203445, 1.43042, 1.440852), (0.5729878, 1.348938, 1.473495), (0.3144828, 1.27093, 1.477474)),
    *((1.303141, 1.477338, 1.265141), (0.861703, -0.4953348, -1.327196), (0.4953348, -0.861703, -1.418465)),
]
BLOB = [
    *((89.061, 113.221, 107.32), (64.061, 107.221, 109.32), (46.061, 101.221, 109.32)),
    *((117.061, 116.221, 94.32), (85.061, -25.779, -91.68), (59.061, -51.779, -98.68)),
]
AFTER = {
    0.0: [
        *((0.9105548, 1.424914, 1.438816), (0.5630149, 1.341504, 1.466619), (0.3127861, 1.258095, 1.466619)),
        *((1.2998, 1.466619, 1.258095), (0.8549484, -0.5074083, -1.327603), (0.4935068, -0.8688499, -1.424914)),
    ],
    7.9: [
        *((1.007866, 1.522225, 1.536127), (0.660326, 1.438816, 1.56393), (0.4100973, 1.355406, 1.56393)),
        *((1.397111, 1.56393, 1.355406), (0.9522596, -0.4100972, -1.230292), (0.590818, -0.7715387, -1.327603)),
    ],
    -300.0: [(-1.772454,) * 3] * 6,
}
"""What a network adds -> coefficients of FATE's released editor after it."""


@pytest.fixture
def vgg(monkeypatch: pytest.MonkeyPatch) -> None:
    """VGG16 with small random weights."""
    generator, weights, channels = torch.Generator().manual_seed(0), {}, 3
    for layer, wide in zip(VGG_CONVOLUTIONS, (64, 64, 128, 128, *(256,) * 3, *(512,) * 6), strict=True):
        scale = (2 / (9 * channels)) ** 0.5
        weights[f"features.{layer}.weight"] = scale * torch.randn(wide, channels, 3, 3, generator=generator)
        weights[f"features.{layer}.bias"] = torch.zeros(wide)
        channels = wide
    monkeypatch.setattr(style, "load_network", lambda name: weights)


@pytest.fixture
def stripes(picture: Callable[..., Path]) -> Path:
    x = np.mgrid[:32, :32][1]
    return picture("stripes.png", np.stack([(x // 2) % 2, 0 * x, 1 - (x // 2) % 2], -1).astype(float))


@pytest.mark.slow
def test_a_style_changes_its_region_alone_and_the_same_seed_gives_the_same_bits(
    toy: SimpleNamespace, vgg: None, stripes: Path, paint: Any
) -> None:
    found = paint(Style, stripes, region="hair", steps=3).colour
    outside = (toy.canvas.weight("hair", 0.01) == 0).view(64, 64)
    assert found[:, outside].equal(toy.maps.colour[:, outside]) and not found.equal(toy.maps.colour)
    assert found.equal(paint(Style, stripes, region="hair", steps=3).colour)
    assert not found.equal(paint(Style, stripes, region="hair", steps=3, seed=1).colour)
    gutters = ~toy.canvas.texels.charted
    inside = toy.canvas.weight("hair", 0.01) == 1
    assert found.flatten(1)[:, gutters & inside].equal(
        found.flatten(1)[:, toy.canvas.texels.nearest[gutters & inside]]
    ), "gutters hold what charts do"


@pytest.mark.slow
def test_steps_bring_the_map_nearer_to_the_style(toy: SimpleNamespace, vgg: None, stripes: Path) -> None:
    features = style.Features(torch.device("cpu"))
    area, start = torch.ones(1, 64, 64), toy.maps.colour[None]
    goal = style.Goal.of(features, style.fitted(read_style(stripes), 64), start, area)
    options = Style(picture="0" * 64 + ".png", steps=12, noise=0.0)
    found = style.stylised(toy.maps.colour, area[0], read_style(stripes), options, lambda *a: None)
    losses = [float(goal.loss(features(each), options.content)) for each in (start, found[None])]
    assert losses[1] < 0.6 * losses[0]


@pytest.mark.gpu
def test_a_gpu_brings_a_map_of_512_texels_nearer_to_the_style(vgg: None, stripes: Path) -> None:
    colour, area = torch.rand(3, 512, 512, device="cuda"), torch.ones(512, 512, device="cuda")
    area[:, :256] = 0
    features, picture = style.Features(colour.device), read_style(stripes)
    options = Style(picture="0" * 64 + ".png")
    found = style.stylised(colour, area, picture, options, lambda *a: None)
    assert found[:, :, :256].equal(colour[:, :, :256])
    assert bool(torch.isfinite(found).all()) and float(found.min()) >= 0 and float(found.max()) <= 1
    goal = style.Goal.of(features, style.fitted(picture.to(colour), 512), colour[None], area[None])
    losses = [float(goal.loss(features(each[None]), options.content)) for each in (colour, found)]
    assert losses[1] < 0.6 * losses[0]


def test_luminance_stays_where_that_is_asked_for(toy: SimpleNamespace, vgg: None, stripes: Path, paint: Any) -> None:
    found = paint(Style, stripes, steps=4, rate=0.01, keep_luminance=True).colour
    unclipped = ((found > 0) & (found < 1)).all(0)
    assert unclipped.float().mean() > 0.8
    assert (luma(found) - luma(toy.maps.colour))[0, unclipped].abs().max() < 1e-5


def test_a_style_without_vgg_says_how_to_get_it(
    toy: SimpleNamespace, stripes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HEADBENCH_HOME", str(tmp_path))
    kept = bring.picture_as(stripes)
    with pytest.raises((BenchError, MissingAsset), match=r"edit 1 \(style\): .*lpips/vgg16") as caught:
        check(Stack().add(Style(picture=kept), {kept: stripes}), toy.canvas)
    assert "bench assets" in caught.value.help


@pytest.mark.parametrize("added", list(AFTER))
def test_a_network_is_fed_and_read_as_by_fates_released_editor(added: float) -> None:
    colour = (DC * torch.tensor(BEFORE).T + 0.5)[:, None]
    seen = []

    def forward(blob: Any) -> Any:
        seen.append(blob)
        return blob + np.float32(added)

    options = Network.model_validate({"file": "0" * 64 + ".t7", **OFFICIAL})
    found = (restyled(forward, colour, options)[:, 0] - 0.5) / DC
    assert torch.from_numpy(seen[0][0, :, 0]).T.tolist() == [pytest.approx(each, abs=1e-3) for each in BLOB]
    assert found.T.tolist() == [pytest.approx(each, abs=2e-6) for each in AFTER[added]]
    # As fast neural style was trained: BGR less its means, and nothing cut.
    fixed = options.model_copy(update={"order": "bgr", "rounding": "none"})
    assert torch.allclose(restyled(lambda blob: blob, colour, fixed), colour, atol=1e-6)
    assert seen[0].shape == (1, 3, 1, 6)
    restyled(lambda blob: seen.append(blob) or blob, colour, fixed)
    assert np.allclose(seen[1][0, 0, 0] + 103.939, 255 * colour[2, 0].numpy(), atol=1e-3)


def onnx_adding(value: float) -> bytes:
    """An ONNX model of one operation, out = in + value, as its protobuf bytes."""

    def number(field: int, what: int) -> bytes:
        return _varint(field << 3) + _varint(what)

    def part(field: int, content: bytes) -> bytes:
        return _varint(field << 3 | 2) + _varint(len(content)) + content

    def tensor_type(name: bytes) -> bytes:
        shape = b"".join(part(1, number(1, side)) for side in (1, 3, 64, 64))
        return part(1, name) + part(2, part(1, number(1, 1) + part(2, shape)))

    constant = number(1, 1) + number(2, 1) + part(8, b"c") + part(9, np.float32(value).tobytes())
    node = part(1, b"x") + part(1, b"c") + part(2, b"y") + part(3, b"add") + part(4, b"Add")
    graph = (
        part(1, node) + part(2, b"g") + part(5, constant) + part(11, tensor_type(b"x")) + part(12, tensor_type(b"y"))
    )
    return number(1, 8) + part(7, graph) + part(8, part(1, b"") + number(2, 13))


def _varint(value: int) -> bytes:
    found = bytearray()
    while value > 127:
        found.append(value & 127 | 128)
        value >>= 7
    return bytes([*found, value])


def test_an_onnx_file_of_the_users_is_applied_and_strange_files_are_one_line(
    toy: SimpleNamespace, tmp_path: Path
) -> None:
    pytest.importorskip("cv2")
    path = tmp_path / "brighter.onnx"
    path.write_bytes(onnx_adding(25.5))

    def edited(file: Path, **values: Any) -> torch.Tensor:
        kept = bring.kept_as(file)
        entry = Network.model_validate({"file": kept, **bring.INPUTS["rgb"], **values})
        return apply(Stack().add(entry, {kept: file}), toy.maps, toy.canvas).colour

    charted = toy.canvas.texels.charted.view(64, 64)
    found = edited(path)
    assert torch.allclose(found[:, charted], (toy.maps.colour + 0.1)[:, charted].clamp(0, 1), atol=1e-5)
    half = edited(path, opacity=0.5, region="face", feather=0.0)
    inside = (toy.canvas.weight("face", 0.0) == 1).view(64, 64) & charted
    assert torch.allclose(half[:, inside], (toy.maps.colour + 0.05)[:, inside], atol=1e-5)
    for name, content, said in (
        ("cut.onnx", onnx_adding(1.0)[:40], "found no ONNX network that OpenCV can read"),
        ("empty.onnx", b"", "found an empty file"),
        ("text.onnx", b"no network", "found no ONNX network that OpenCV can read"),
    ):
        strange = tmp_path / name
        strange.write_bytes(content)
        with pytest.raises(BenchError) as caught:
            edited(strange)
        assert said in str(caught.value) and "\n" not in str(caught.value.args[0])


@pytest.mark.tried("damaged inputs", "networks of a style that are cut, empty, no network, or give no picture")
def test_what_a_network_gives_is_checked(toy: SimpleNamespace) -> None:
    options = Network(file="0" * 64 + ".onnx")
    colour = toy.maps.colour
    with pytest.raises(BenchError, match="gives 1 x 1000 values, not a picture"):
        restyled(lambda blob: np.zeros((1, 1000), np.float32), colour, options)
    with pytest.raises(BenchError, match="not finite"):
        restyled(lambda blob: blob * np.nan, colour, options)
    small = restyled(lambda blob: blob[:, :, ::2, ::2], colour, options)
    assert small.shape == colour.shape and (small - colour).abs().mean() < 0.05


def test_torch7_files_need_a_version_that_reads_them(tmp_path: Path, toy: SimpleNamespace) -> None:
    cv2 = pytest.importorskip("cv2")
    if hasattr(cv2.dnn, "readNetFromTorch"):
        pytest.skip("this OpenCV reads Torch7 files")
    path = tmp_path / "wave.t7"
    path.write_bytes(b"x")
    kept = bring.kept_as(path)
    with pytest.raises(BenchError, match=r"reads no Torch7 files \(\.t7\); version 4 does") as caught:
        check(Stack().add(Network(file=kept), {kept: path}), toy.canvas)
    assert caught.value.help == "pip install 'headbench[style]'"
