"""Presets: what they say, and that the harness finds them."""

from typing import Any

import pydantic
import pytest

from headbench.harness.plugins.specs import MethodSpec
from headbench.methods.plugin import FATEAVATAR, GAUSSIANAVATARS, NEAREST_FRAME, register_methods


def test_the_plugin_registers_methods_of_which_one_is_a_baseline() -> None:
    found: list[MethodSpec] = []
    register_methods(found.append)
    names = [s.name for s in found]
    assert names == [*sorted(names[:-1]), "nearest-frame"]
    assert set(names) >= {"FateAvatar", "FlashAvatar", "GaussianAvatars"}
    assert [s.name for s in found if s.baseline] == ["nearest-frame"]
    assert all(s.summary and s.licence for s in found)
    assert "arXiv:2411.15604" in FATEAVATAR.citation
    assert "arXiv:2312.02069" in GAUSSIANAVATARS.citation


@pytest.mark.parametrize("which", ["official", "fateavatar", "fixed", "demo"])
@pytest.mark.parametrize("name", ["FateAvatar", "GaussianAvatars"])
def test_every_preset_is_valid_and_sets_one_budget(preset: Any, name: str, which: str) -> None:
    train = preset(name, which).train
    assert (train.steps is None) != (train.epochs is None)
    assert train.background == "white"
    assert train.batch == 1


def test_official_and_fateavatar_are_one_for_fateavatar(preset: Any) -> None:
    assert preset("FateAvatar", "official") == preset("FateAvatar", "fateavatar")


def test_every_preset_of_nearest_frame_is_the_one_that_trains_nothing(preset: Any) -> None:
    assert len(set(NEAREST_FRAME.presets.values())) == 1
    assert set(NEAREST_FRAME.presets) >= {NEAREST_FRAME.default_preset, "official", "fateavatar", "fixed", "demo"}
    assert preset("nearest-frame", "default").train.steps == 0


def test_an_unknown_option_is_an_error(preset: Any) -> None:
    with pytest.raises(pydantic.ValidationError, match="max_pionts"):
        preset("FateAvatar", "official", max_pionts=3)


def test_official_fateavatar_has_the_released_numbers(preset: Any) -> None:
    config = preset("FateAvatar", "official")
    assert config.train.epochs == 10
    assert config.num_points == 256**2
    assert config.topology() == "mouth_closed"
    rates = config.rates.model_dump()
    expected = {"opacity": 0.05, "offset": 0.0016, "dc": 0.0025, "rotation": 0.001, "scaling": 0.005}
    assert rates == {**expected, "delta_expression": 1e-5, "delta_pose": 1e-5, "delta_vertex": 1e-4}
    assert config.weights.model_dump() == {
        "rgb": 1.0,
        "dssim": 0.0,
        "vgg": 0.1,
        "scale": 0.1,
        "laplacian": 1e5,
        "flame": 0.0,
    }
    assert (config.densify_every, config.densify_count, config.prune_every, config.reset_every) == (
        3000,
        1000,
        2000,
        60000,
    )
    assert (config.max_points, config.min_opacity, config.eps, config.scale_threshold) == (200_000, 0.005, 1e-8, 9.0)
    assert (config.offset_normal, config.offset_bound, config.densify_weight) == ("raw", 0.05, "accumulated")
    assert (config.canonical_jaw, config.initial_opacity, config.child_scale, config.reset_opacity) == (
        0.2,
        0.1,
        0.75,
        0.01,
    )
    assert (config.train.resolution, config.rgb_loss, config.barycentrics) == (512, "l1", "rand_over_sum")
    assert config.fill and config.resize_scale and config.delta_blendshapes and config.delta_vertex
    assert (config.cover_faces, config.maintain_share, config.renormalise) == ("none", 1.0, False)
    assert not config.train.finetune.rates


def repairs(preset: Any, name: str) -> dict[str, Any]:
    """What `fixed` says otherwise than `official`."""
    official, fixed = (preset(name, which).model_dump() for which in ("official", "fixed"))
    return {option: fixed[option] for option in official if official[option] != fixed[option]}


def test_fixed_fateavatar_differs_in_the_repairs_alone(preset: Any) -> None:
    assert repairs(preset, "FateAvatar") == {
        "barycentrics": "area_uniform",
        "cover_faces": "seen",
        "offset_normal": "unit",
        "offset_bound": 0.02,
        "densify_weight": "average",
        "maintain_share": 0.9,
        "renormalise": True,
        "eyelids": True,
    }


def test_fixed_gaussianavatars_differs_in_the_repairs_alone(preset: Any) -> None:
    found = repairs(preset, "GaussianAvatars")
    official = preset("GaussianAvatars", "official").model_dump()["train"]
    assert found.pop("train") == {**official, "update_last": True}
    assert found == {
        "extent": 1.0,
        "split_offset": "local",
        "max_radius": 0.0,
        "guard": "keep_one",
        "maintain_share": 0.9,
        "eyelids": True,
    }


def test_vgg_is_needed_only_where_its_weight_is_above_zero(preset: Any) -> None:
    assert preset("FateAvatar", "official").needs() == {"vgg16"}
    assert preset("FateAvatar", "demo").needs() == frozenset()
    assert preset("FateAvatar", "official", weights={"vgg": 0.0}).needs() == frozenset()
    assert preset("GaussianAvatars", "official").needs() == frozenset()


def test_official_gaussianavatars_has_the_released_numbers(preset: Any) -> None:
    config = preset("GaussianAvatars", "official")
    assert config.train.steps == 600_000
    assert config.topology() == "teeth"
    assert config.rates.model_dump() == {
        "position": 0.005,
        "position_final": 0.00005,
        "dc": 0.0025,
        "rest": 0.000125,
        "opacity": 0.05,
        "scaling": 0.017,
        "rotation": 0.001,
    }
    tuned = config.train.finetune
    assert tuned.optimizer == "dense"
    assert dict(tuned.rates) == {
        "expression": 1e-3,
        **dict.fromkeys(("root", "neck", "jaw", "eye_left", "eye_right"), 1e-5),
        "translation": 1e-6,
    }
    assert config.eps == tuned.eps == 1e-15
    assert config.weights.model_dump() == {"l1": 0.8, "dssim": 0.2, "position": 0.01, "scale": 1.0}
    assert (config.train.batch, config.train.resolution, config.train.background) == (1, None, "white")
    assert (config.sh_degree, config.sh_every, config.initial_opacity) == (3, 1000, 0.1)
    assert (config.position_threshold, config.scale_threshold) == (1.0, 0.6)
    assert not config.position_metric and not config.scale_metric
    assert (config.position_steps, config.position_times_extent, config.extent) == (600_000, True, "cameras")
    assert (config.densify_from, config.densify_until, config.densify_every) == (10_000, 600_000, 2000)
    assert (config.gradient_threshold, config.dense_share, config.min_opacity) == (2e-4, 0.01, 0.005)
    assert (config.size_prune_from, config.max_size_share, config.max_radius) == (60_000, 0.1, 20.0)
    assert (config.reset_every, config.reset_opacity, config.max_points) == (60_000, 0.01, None)


def test_the_port_of_gaussianavatars_differs_where_its_code_does(preset: Any) -> None:
    official, port = (preset("GaussianAvatars", which).model_dump() for which in ("official", "fateavatar"))
    different = {name: port[name] for name in official if official[name] != port[name]}
    train = different.pop("train")
    assert (train["epochs"], train["steps"], train["batch"], train["resolution"]) == (10, None, 1, 512)
    assert train["finetune"]["rates"] == {}
    assert different == {
        "head_topology": "open",
        "use_static_offset": False,
        "sh_rises": "after_step",
        "eps": 1e-8,
        "position_times_extent": False,
        "position_rate_set": "after_step",
        "extent": 2.0,
        "regularise": "all",
        "densify_from": 0,
        "gradient_threshold": 1e-4,
        "size_space": "local",
        "split_offset": "local",
        "white_reset": False,
    }


@pytest.mark.parametrize("name", ["FateAvatar", "FlashAvatar", "GaussianAvatars", "SplattingAvatar"])
def test_eyelids_move_the_mesh_where_they_do_in_the_original_and_in_the_repaired_presets(
    preset: Any, name: str
) -> None:
    followed = {which: preset(name, which).eyelids for which in ("official", "fateavatar", "fixed", "demo")}
    # FlashAvatar's own code has the tracker's lids; FateAvatar's harness and the other authors' code have none.
    assert followed == {"official": name == "FlashAvatar", "fateavatar": False, "fixed": True, "demo": True}
