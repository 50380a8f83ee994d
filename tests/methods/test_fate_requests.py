"""The built-in requests of docs/fate.md: every setting fits, and says what FATE's harness does."""

from pathlib import Path
from typing import Any

import pytest

from headbench.datasets.imavatar.options import ImavatarOptions
from headbench.datasets.insta.options import InstaOptions
from headbench.harness.plugins import Registry
from headbench.harness.plugins.checks import preset_values
from headbench.harness.run.config import apply_settings, parse_setting
from headbench.harness.run.request import read_request
from headbench.metrics import load_protocol

FIVE = ["FateAvatar", "FlashAvatar", "GaussianAvatars", "MonoGaussianAvatar", "SplattingAvatar"]
TUNED = ("expression", "root", "neck", "jaw", "eye_left", "eye_right")


def asked(name: str) -> tuple[dict[str, Any], dict[str, Any], Any]:
    """Method -> configuration, option of the dataset's reader -> value, and the request."""
    request = read_request(Path(name), {"data_root": Path("D")})
    settings = [parse_setting(text) for text in request.settings]
    registry = Registry()
    configs = {}
    for method in request.methods:
        spec = registry.methods()[method]
        values = preset_values(spec, request.preset[0], registry.owner(spec))
        own = tuple(setting for setting in settings if setting.owner == method)
        configs[method] = apply_settings(registry.load_method(method), values, own)
    (dataset,) = request.datasets
    options = {setting.path: setting.value for setting in settings if setting.owner == dataset}
    assert {setting.owner for setting in settings} <= {*request.methods, dataset}
    return configs, options, request


@pytest.mark.parametrize(
    ("name", "epochs", "protocol"),
    [
        ("fate-insta", [10, 20, 10, 100, 10], "fateavatar@1"),
        ("fate-imavatar", [50, 50, 50, 100, 50], "fateavatar-tracked@1"),
    ],
)
def test_methods_train_as_long_as_there_without_eyelids(name: str, epochs: list[int], protocol: str) -> None:
    configs, _, request = asked(name)
    assert list(configs) == FIVE and [config.train.epochs for config in configs.values()] == epochs
    assert not any(getattr(config, "eyelids", False) for config in configs.values())
    assert request.protocol == [protocol] and request.seeds == [42] and load_protocol(protocol)


def test_insta_data_are_read_as_there_and_not_refined() -> None:
    configs, options, _ = asked("fate-insta")
    assert InstaOptions.parse(options, "insta") == InstaOptions(eyes="fateavatar", fov="fateavatar")
    assert not any(config.train.finetune.rates for config in configs.values())


def test_data_in_imavatar_s_layout_are_read_and_refined_as_there() -> None:
    configs, options, _ = asked("fate-imavatar")
    assert ImavatarOptions.parse(options, "imavatar") == ImavatarOptions(camera="fateavatar", matte="matted")
    for config in configs.values():
        tuned = config.train.finetune
        assert tuned.optimizer == "sparse" and tuned.rates == dict.fromkeys(TUNED, 5e-4)
    assert configs["MonoGaussianAvatar"].world_units == 4
