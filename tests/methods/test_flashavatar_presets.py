"""What FlashAvatar's presets say."""

from typing import Any

import pytest

from headbench.harness.train.frames import BACKGROUNDS


def test_official_has_the_numbers_of_the_authors_repository(preset: Any) -> None:
    config = preset("FlashAvatar", "official")
    train = config.train
    assert (train.steps, train.epochs, train.batch, train.resolution) == (150_000, None, 1, 512)
    assert BACKGROUNDS[train.background] == (0.0, 1.0, 0.0)
    assert not train.update_last
    assert train.finetune.rates == {}
    assert config.topology() == "mouth_closed"
    assert (config.uv_size, config.octaves, config.layers, config.hidden) == (128, 8, 6, 256)
    assert config.weights.model_dump() == {"huber": 1.0, "mouth": 40.0, "lpips": 0.05}
    assert (config.huber_delta, config.lpips_after) == (0.1, 15_000)
    assert (config.sh_degree, config.sh_every) == (3, 500)
    assert config.rates.model_dump() == {
        "dc": 2.5e-3,
        "rest": 1.25e-4,
        "opacity": 5e-2,
        "scaling": 5e-3,
        "rotation": 1e-3,
        "network": 1e-4,
    }
    assert config.needs() == {"mouth", "lpips-vgg"}


def changed(preset: Any, which: str) -> dict[str, Any]:
    """What a preset says otherwise than the official one."""
    official, other = (preset("FlashAvatar", name).model_dump() for name in ("official", which))
    return {name: other[name] for name in official if official[name] != other[name]}


def test_the_port_differs_where_its_code_does(preset: Any) -> None:
    different = changed(preset, "fateavatar")
    train = different.pop("train")
    assert (train["epochs"], train["steps"], train["background"]) == (20, None, "white")
    assert train["update_last"]
    assert train["finetune"]["rates"] == {}
    assert different == {
        "uv_cull": True,
        "neck_boundary": "keep",
        "encode": "template",
        "encode_centre": (0.0, 1.47, -0.021),
        "rotations": "axis_angle",
        "eyelids": False,
        "detach_codes": False,
        "initial_scale": "mean_distance",
        "sh_degree": 0,
        "eps": 1e-8,
        "head_mask": "none",
    }


def test_fixed_differs_in_the_repairs_alone(preset: Any) -> None:
    different = changed(preset, "fixed")
    train = different.pop("train")
    assert (train["background"], train["update_last"]) == ("white", True)
    assert different == {
        "last_layer": "zero",
        "offset_bound": 0.1,
        "offset_frame": "head",
        "scale_change": "factor",
    }


@pytest.mark.parametrize("which", ["official", "fateavatar", "fixed", "demo"])
def test_every_preset_is_valid_and_sets_one_budget(preset: Any, which: str) -> None:
    train = preset("FlashAvatar", which).train
    assert (train.steps is None) != (train.epochs is None)
    assert train.batch == 1


def test_the_demo_needs_no_network(preset: Any) -> None:
    assert preset("FlashAvatar", "demo").needs() == {"mouth"}
