"""Baking against numbers of FATE's released code: activations, look-up, networks, the baked avatar, losses."""

import json
import math
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from headbench.harness.blocks.losses import scale_ratio
from headbench.harness.head import quat_normalise
from headbench.harness.train import GaussianTable
from headbench.stages.bake.activation import Activation, axis_angle_quat
from headbench.stages.bake.avatar import BakedAvatar
from headbench.stages.bake.begin import _activation
from headbench.stages.bake.config import BakedConfig
from headbench.stages.bake.losses import rotation_loss
from headbench.stages.bake.maps import DC, Look, Maps
from headbench.stages.bake.networks import DecodeOnly, PlainTexture, UNet
from headbench.stages.bake.places import Places

GOLDEN = json.loads((Path(__file__).parent / "golden.json").read_text())
AMPLITUDES = torch.tensor([1.2] * 3 + [2.0] + [1.0] * 3 + [0.3] * 3 + [1.5])


def close(found: Tensor, expected: Any, atol: float = 1e-6, rtol: float = 1e-6) -> None:
    torch.testing.assert_close(found.float(), torch.as_tensor(expected).float(), atol=atol, rtol=rtol)


def activation(quaternion: str = "zwxy") -> Activation:
    mean, deviation = GOLDEN["baked"]["mean_log_scale"], GOLDEN["baked"]["std_log_scale"]
    return Activation(torch.tensor(mean), torch.tensor(mean + deviation), quaternion)


@pytest.fixture
def raw() -> Tensor:
    """The raw maps of the sheet, 8 texels a side."""
    c = torch.arange(11.0)[:, None, None]
    j, i = torch.arange(8.0)[:, None], torch.arange(8.0)
    return (AMPLITUDES[:, None, None] * torch.sin(0.5 + 0.7 * c + 0.9 * j - 1.3 * i + 0.05 * i * j))[None]


def test_activations_are_those_of_the_released_code() -> None:
    golden = GOLDEN["activations"]
    values = torch.tensor(golden["raw"], dtype=torch.float32)
    raw = torch.zeros(1, 11, len(values), len(values))
    for channel in (0, 3, 4, 10):
        raw[0, channel, 0] = values
    raw[0, 7:10, 0] = torch.tensor(golden["rotation_raw"]).T
    maps = activation()(raw)
    close((maps.colour[0, 0] - 0.5) / DC, golden["colour_dc"], atol=2e-6)
    close(maps.opacity[0, 0].sigmoid(), golden["opacity_rendered"])
    close(maps.scaling[0, 0], golden["scaling_log"], atol=4e-6)
    close(maps.offset[0, 0], golden["offset_map"])
    close(maps.offset[0, 0].tanh(), golden["offset_factor_double_tanh"])
    close(maps.rotation[:, 0].T, golden["rotation_as_released"])
    close(activation("wxyz")(raw).rotation[:, 0].T, golden["rotation_intended_real_first"])
    assert (maps.rotation[:, 1, 0] == torch.tensor([0.0, 1.0, 0.0, 0.0])).all(), "a raw 0 is half a turn about x"


def test_the_bound_of_scales_is_the_mean_and_the_unbiased_deviation_of_all_axes() -> None:
    golden = GOLDEN["activations"]["stats_example"]
    found = _activation(torch.tensor(golden["log_scales"]), BakedConfig.model_construct())
    close(found.mean, golden["mean"])
    close(found.largest, golden["max"])


@pytest.mark.parametrize("quaternion", ["zwxy", "wxyz"])
def test_an_inverse_activation_is_undone(raw: Tensor, quaternion: str) -> None:
    chosen = activation(quaternion)
    maps = chosen(0.2 * raw)
    again = chosen(chosen.inverse(maps))
    for name in ("colour", "opacity", "scaling", "offset"):
        close(getattr(again, name), getattr(maps, name), atol=1e-5)
    turned = maps.rotation * torch.where((maps.rotation * again.rotation).sum(0) < 0, -1.0, 1.0)
    close(again.rotation, turned, atol=1e-5)


def test_the_quaternion_of_an_axis_angle_is_smooth_through_zero() -> None:
    tiny = torch.tensor([[0.0, 0.0, 0.0], [1e-5, 0.0, 0.0], [2 * math.pi, 0.0, 0.0]], requires_grad=True)
    found = axis_angle_quat(tiny)
    close(found, [[1, 0, 0, 0], [1, 5e-6, 0, 0], [-1, 0, 0, 0]])
    found.sum().backward()
    assert bool(torch.isfinite(tiny.grad).all())


def test_look_up_is_bilinear_with_corners_at_zero_and_one(raw: Tensor) -> None:
    golden = GOLDEN["lookup"]
    uv = torch.tensor(golden["uv"], dtype=torch.float32)
    look = Look.at(uv, 8)
    rows, columns = torch.arange(8.0)[:, None] * 10, torch.arange(8.0)
    close(look((rows + columns).reshape(-1, 1))[:, 0], golden["linear_map_10row_plus_col"], atol=1e-5)
    flat = raw[0].flatten(1).T
    close(look(flat)[:, 0], golden["raw_map_channel0"], atol=1e-5)
    close(look(flat)[:, 4], golden["raw_map_channel4"], atol=1e-5)
    maps = activation()(raw)
    close(maps.look_up(look).rotation, golden["rotation_quat_released_interpolated_after_activation"], atol=1e-5)
    upside_down = Maps.unpack(maps.pack().flip(1))
    close(upside_down.look_up(Look.at(uv, 8, "v_down")).dc, maps.look_up(look).dc, atol=1e-5)


def hashed(shape: torch.Size) -> Tensor:
    """The sheet's fill, in [-1, 1)."""
    i = torch.arange(math.prod(shape), dtype=torch.int64)
    return ((i * 2654435761) % 2**32 / 2**31 - 1).view(shape).double()


@torch.no_grad()
def filled(network: nn.Module) -> nn.Module:
    """A network with the sheet's weights and input."""
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            module.weight.copy_(hashed(module.weight.shape) * math.sqrt(6 / module.weight[0].numel()))
        if isinstance(module, nn.BatchNorm2d):
            module.weight.copy_(1 + 0.1 * hashed(module.weight.shape))
        if isinstance(module, nn.Conv2d | nn.BatchNorm2d) and module.bias is not None:
            module.bias.copy_(0.1 * hashed(module.bias.shape))
    network.noise.copy_(hashed(network.noise.shape))
    return network


def told(found: Tensor) -> list[float]:
    half, quarter = found.shape[2] // 2, found.shape[3] // 4
    return [
        *(float(found.mean()), float(found.std(unbiased=False))),
        *(float(found[0, 0, 0, 0]), float(found[0, 5, half, quarter]), float(found[0, 10, -1, -1])),
    ]


@pytest.mark.slow
@torch.no_grad()
def test_the_unet_is_that_of_the_released_code() -> None:
    network = filled(UNet(64, torch.Generator()).double())
    parameters = list(network.parameters())
    assert (len(parameters), sum(p.numel() for p in parameters)) == (56, 17_268_235)
    fresh = [0.005852206, 0.1732610, 0.1766669, -0.09559166, -0.1710505]
    assert told(network.eval()()) == pytest.approx(fresh, abs=2e-7)
    assert told(network.train()()) == pytest.approx(
        [0.005228661, 0.5580255, 0.3215365, -0.1765919, 0.01372980], abs=3e-6
    )
    after = [0.005855750, 0.1754099, 0.1691981, -0.1044965, -0.1581735]
    assert told(network.eval()()) == pytest.approx(after, abs=3e-6)


@pytest.mark.slow
@torch.no_grad()
def test_the_decoder_is_that_of_the_released_code() -> None:
    network = filled(DecodeOnly(256, torch.Generator()).double())
    parameters = list(network.parameters())
    assert (len(parameters), sum(p.numel() for p in parameters)) == (32, 4_713_195)
    fresh = [0.01373726, 0.09596200, 0.1150275, 0.04651006, -0.01586964]
    assert told(network.eval()()) == pytest.approx(fresh, abs=2e-7)
    trained = [0.01495127, 0.5088113, 0.1109959, 0.4079128, 0.001393418]
    assert told(network.train()()) == pytest.approx(trained, abs=3e-6)


@pytest.mark.slow
@torch.no_grad()
def test_the_unet_at_512_texels_is_that_of_the_released_code() -> None:
    found = told(filled(UNet(512, torch.Generator())).train()())
    assert found == pytest.approx([0.00592905, 0.5720247, 0.3414517, -0.0324812, 0.0019086], abs=5e-5)


def test_a_plain_texture_has_one_number_per_texel_and_channel() -> None:
    network = PlainTexture(512, torch.Generator())
    assert sum(p.numel() for p in network.parameters()) == 2_883_584
    assert network().shape == (1, 11, 512, 512) and network().abs().max() <= 1


class Stand(nn.Module):
    """A parent whose mesh is the sheet's eight triangles, posed."""

    def __init__(self, posed: Tensor) -> None:
        super().__init__()
        self.posed = posed
        self.table = GaussianTable({"dc": torch.zeros(1, 3)})
        self.head = SimpleNamespace(base=posed, faces=torch.arange(24).view(8, 3))

    def carrier(self, params: object) -> Tensor:
        return self.posed[None]

    def surface(self) -> SimpleNamespace:
        return SimpleNamespace(residual=None)


def baked(raw: Tensor, second_tanh: bool = True, quaternion: str = "zwxy", offset: Any = None) -> tuple[Any, Any]:
    """What the maps say, with another offset where one is given, and the Gaussians on the posed mesh."""
    golden = GOLDEN["baked"]
    posed = torch.tensor(golden["posed_triangles"]).view(24, 3)
    config = BakedConfig.model_construct(size=16, second_tanh=second_tanh)
    avatar = BakedAvatar(Stand(posed), config, torch.device("cpu"))
    avatar.canonical.copy_(torch.tensor(golden["canonical_triangles_jaw0p2_mean_expr"]).view(24, 3))
    avatar.bound.fill_(0.05)
    avatar.put_places(Places(torch.arange(8), torch.tensor(golden["bary"])))
    uv = torch.tensor(golden["uv"])
    found = activation(quaternion)(raw).look_up(Look.at(uv, 8))
    found = found if offset is None else replace(found, offset=offset)
    surface = avatar.at(found, uv)
    return found, avatar.posed(None, surface)[0]


def same_turn(quats: Tensor, expected: Any) -> None:
    """Unit quaternions are equal but for their sign."""
    aligned = (quat_normalise(quats) * torch.tensor(expected)).sum(-1).abs()
    close(aligned, torch.ones(len(quats)), atol=1e-6)


def test_a_baked_avatar_sends_to_the_rasterizer_what_the_released_code_does(raw: Tensor) -> None:
    golden = GOLDEN["baked"]
    found, gaussians = baked(raw)
    decoded, expected = golden["decoded"], golden["as_released"]
    for name, value in (("dc", "color"), ("opacity", "opacity"), ("scaling", "scaling"), ("rotation", "rotation")):
        close(getattr(found, name), decoded[value], atol=5e-6)
    close(found.offset, torch.tensor(decoded["offset"]).flatten(), atol=5e-6)
    close(found.scaling.exp(), golden["scale_for_loss"], rtol=5e-6)
    close(gaussians.means[0], expected["means"], atol=5e-8, rtol=0)
    close(gaussians.scales[0], expected["scales"], rtol=1e-5)
    same_turn(gaussians.quats[0], expected["rotations"])
    close(gaussians.opacities, torch.tensor(expected["opacities"]).flatten())
    close(DC * gaussians.colours[:, 0] + 0.5, expected["colour"], atol=2e-6)


def test_each_quirk_of_the_baked_avatar_can_be_put_right(raw: Tensor) -> None:
    golden = GOLDEN["baked"]
    still = baked(raw, offset=torch.zeros(8))[1].means[0]
    close(still, golden["means_without_offset"], atol=2e-8, rtol=0)
    twice, (found, once) = baked(raw)[1].means[0] - still, baked(raw, second_tanh=False)
    close((once.means[0] - still)[7], twice[7] * found.offset[7] / found.offset[7].tanh(), atol=3e-8, rtol=0)
    # The sheet's single tanh leaves out the other one: that of the map.
    alone = Look.at(torch.tensor(golden["uv"]), 8)(raw[0].flatten(1).T)[:, 10]
    close(baked(raw, offset=alone)[1].means[0], golden["means_if_single_tanh"], atol=5e-8, rtol=0)
    same_turn(baked(raw, quaternion="wxyz")[1].quats[0], golden["intended_rotation_order"]["rotations"])


def test_losses_are_those_of_the_released_code(raw: Tensor) -> None:
    axes = torch.tensor([[-7.0, -6, -5], [-8, -5.5, -5], [-6, -6, -6]])
    assert float(scale_ratio(axes, 9.0)) == pytest.approx(3.695179, rel=1e-6)
    assert float(rotation_loss(baked(raw)[0].rotation, "yw")) == pytest.approx(4.693970, rel=1e-5)
    zero = activation()(torch.zeros(1, 11, 2, 2)).rotation.flatten(1).T
    assert float(rotation_loss(zero, "yw")) == pytest.approx(math.pi**2, rel=1e-6)
    right = activation("wxyz")(torch.zeros(1, 11, 2, 2, requires_grad=True)).rotation.flatten(1).T
    loss = rotation_loss(right, "angle")
    assert float(loss.detach()) == 0.0
    loss.backward()
