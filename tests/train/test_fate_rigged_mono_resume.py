"""FateAvatar, GaussianAvatars and MonoGaussianAvatar as released and as ported: resumed on a CPU."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from headbench.harness.plugins import registry
from headbench.harness.plugins.checks import preset_values
from headbench.harness.splat import make_rasterizer
from headbench.harness.train import TrainOptions, latest_checkpoint, load_portrait, train_stage
from headbench.harness.types import Subject
from headbench.methods.monogaussianavatar.schedule import points, radius

FATE = {
    "num_points": 400,
    "weights": {"vgg": 0.0},
    "densify_every": 3,
    "densify_count": 20,
    "prune_every": 4,
    "reset_every": 7,
}
GAUSSIANS = {"densify_from": 2, "densify_every": 3, "gradient_threshold": 1e-6, "sh_every": 3, "reset_every": 7}
MONO = {
    "start_points": 50,
    "splat_radius": 0.08,
    "weights": {"vgg": 0.0},
    "growth": [{"epoch": 1, "points": 80, "shrink": 0.75}, {"epoch": 2, "points": 120, "shrink": 0.75}],
    "network": {"deformer_width": 8, "geometry_width": 44, "correction_width": 4},
}
RUNGS = [{"epoch": 1, "images": 3}, {"epoch": 3, "images": 1}]
TRACKING = {"optimizer": "sparse", "rates": dict.fromkeys(("expression", "root", "neck", "jaw"), 5e-4)}
"""The ports' on IMavatar data."""


class Killed(Exception):
    """In place of a signal."""


def configured(method: str, which: str, changes: dict[str, Any]) -> Any:
    """A preset in small: ten steps, or four epochs of MonoGaussianAvatar."""
    kind = registry().load_method(method)
    values = preset_values(registry().method(method), which)
    finetune = TRACKING if which == "fateavatar" else {**values["train"].get("finetune", {}), "start_epoch": 2}
    train = {**values["train"], "epochs": None, "steps": 10, "resolution": None, "finetune": finetune}
    if method == "MonoGaussianAvatar":
        rungs = {} if which == "fateavatar" else {"batch": RUNGS}
        train = {**train, "epochs": 4, "steps": None, **rungs}
        merged = {name: {**values.get(name, {}), **given} for name, given in changes.items() if isinstance(given, dict)}
        changes = {**changes, **merged, "edit_every": min(values.get("edit_every", 1), 2)}
    return kind.config_type.model_validate({**values, **changes, "train": train})


def trained(folder: Path, subject: Subject, about: dict[str, str], config: Any, kill: bool = False) -> Path:
    """The last checkpoint; with `kill`, of a run that was cut off after its sixth step and then resumed."""
    kind = registry().load_method(about["method"])
    options = TrainOptions(device="cpu", checkpoint_every=5, log_every=1, preview_every=1000, deterministic=True)

    def watch(entry: dict[str, Any]) -> None:
        if entry["step"] > 6:
            raise Killed

    if kill:
        with pytest.raises(Killed):
            train_stage(folder, about, kind, config, subject, options, watch)
        cut = latest_checkpoint(folder)
        assert cut is not None and cut.name == "checkpoint-5"
    train_stage(folder, about, kind, config, subject, options)
    found = latest_checkpoint(folder)
    assert found is not None
    return found


@pytest.mark.parametrize(
    ("method", "which", "changes"),
    [
        ("FateAvatar", "official", FATE),
        *(("GaussianAvatars", which, GAUSSIANS) for which in ("official", "fateavatar")),
        *(("MonoGaussianAvatar", which, MONO) for which in ("official", "fateavatar", "fixed")),
    ],
)
def test_a_resumed_run_of_a_preset_ends_as_one_that_was_left_alone(
    method: str, which: str, changes: dict[str, Any], made_subject: Callable[..., Subject], tmp_path: Path
) -> None:
    subject, config = made_subject(), configured(method, which, changes)
    about = {"method": method, "preset": which, "variant": "", "dataset": "none", "subject": "made"}
    whole = trained(tmp_path / "whole", subject, about, config)
    parts = trained(tmp_path / "parts", subject, about, config, kill=True)
    assert whole.name == parts.name
    names = sorted(path.name for path in whole.iterdir() if path.suffix == ".safetensors")
    assert names == ["model.safetensors", "optimizer.safetensors"]
    for name in names:
        assert (whole / name).read_bytes() == (parts / name).read_bytes(), name
    frame, draw = subject.test[0], make_rasterizer("numba", "cpu")
    portraits = [load_portrait(path).portrait for path in (whole, parts)]
    with torch.no_grad():
        images = [p.render(frame.params, frame.camera, torch.ones(1, 3), draw) for p in portraits]
    assert torch.equal(*images)
    assert float(images[0].std()) > 0.01
    if method == "MonoGaussianAvatar":
        # The port edits once more after its last epoch, whose new points are shown untrained.
        epochs = 4 if which == "fateavatar" else {"official": 3, "fixed": 2}[which]
        assert portraits[0].count() == points(config, epochs) == 120
        assert float(portraits[0].radius) == pytest.approx(radius(config, epochs))
