"""Every method as released and as ported, on a CPU: cut off, resumed, and the same to the last bit."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from headbench.harness.options import Execution
from headbench.harness.plugins import registry
from headbench.harness.plugins.checks import preset_values
from headbench.harness.splat import make_rasterizer
from headbench.harness.train import latest_checkpoint, load_portrait, train_stage
from headbench.harness.types import Subject
from headbench.methods.monogaussianavatar.schedule import points, radius

SMALL: dict[str, dict[str, Any]] = {
    "FateAvatar": {
        "num_points": 400,
        "weights": {"vgg": 0.0},
        "densify_every": 3,
        "densify_count": 20,
        "prune_every": 4,
        "reset_every": 7,
    },
    "FlashAvatar": {
        "uv_size": 20,
        "hidden": 8,
        "layers": 2,
        "octaves": 4,
        "weights": {"lpips": 0.0},
        "offset_bound": 0.02,
        "sh_every": 2,
    },
    "GaussianAvatars": {
        "densify_from": 2,
        "densify_every": 3,
        "gradient_threshold": 1e-5,
        "sh_every": 3,
        "reset_every": 7,
    },
    "MonoGaussianAvatar": {
        "start_points": 50,
        "splat_radius": 0.08,
        "weights": {"vgg": 0.0},
        "growth": [{"epoch": 1, "points": 80, "shrink": 0.75}, {"epoch": 2, "points": 120, "shrink": 0.75}],
        "network": {"deformer_width": 8, "geometry_width": 44, "correction_width": 4},
    },
    "SplattingAvatar": {
        "num_points": 300,
        "max_points": 330,
        "walk_every": 2,
        "weights": {"lpips": 0.0},
        "densify_from": 2,
        "densify_every": 2,
        "gradient_threshold": 1e-6,
        "extent": 0.4,
        "reset_every": 5,
    },
}
"""All that a method does now and then it does before the checkpoint and after it."""
CASES = [
    ("FateAvatar", "official"),
    *((method, which) for method in ("FlashAvatar", "GaussianAvatars") for which in ("official", "fateavatar")),
    *(("MonoGaussianAvatar", which) for which in ("official", "fateavatar", "fixed")),
    *(("SplattingAvatar", which) for which in ("official", "fateavatar")),
]
EPOCHS, STEPS, CHECKPOINT, CUT = 4, 8, 4, 6
"""MonoGaussianAvatar counts epochs."""
RUNGS = [{"epoch": 1, "images": 2}, {"epoch": 2, "images": 1}]
TRACKING = {"optimizer": "sparse", "rates": dict.fromkeys(("expression", "root", "neck", "jaw"), 5e-4)}
"""The ports' on IMavatar data."""


def configured(method: str, which: str) -> Any:
    """A preset in small."""
    kind = registry().load_method(method)
    values, changes = preset_values(registry().method(method), which), SMALL[method]
    finetune = TRACKING if which == "fateavatar" else {**values["train"].get("finetune", {}), "start_epoch": 2}
    train = {**values["train"], "epochs": None, "steps": STEPS, "resolution": None, "finetune": finetune}
    if method == "MonoGaussianAvatar":
        rungs = {} if which == "fateavatar" else {"batch": RUNGS}
        train = {**train, "epochs": EPOCHS, "steps": None, **rungs}
        merged = {name: {**values.get(name, {}), **given} for name, given in changes.items() if isinstance(given, dict)}
        changes = {**changes, **merged, "edit_every": min(values.get("edit_every", 1), 2)}
    return kind.config_type.model_validate({**values, **changes, "train": train})


@pytest.mark.parametrize(("method", "which"), CASES)
def test_a_resumed_run_of_a_preset_ends_as_one_that_was_left_alone(
    method: str, which: str, made_subject: Callable[..., Subject], tmp_path: Path
) -> None:
    subject, config = made_subject(frames=3), configured(method, which)
    kind = registry().load_method(method)
    about = {"method": method, "preset": which, "variant": "", "dataset": "none", "subject": "made"}
    options = Execution(device="cpu", checkpoint_every=CHECKPOINT, log_every=1, preview_every=1000, deterministic=True)

    def watch(entry: dict[str, Any]) -> None:
        # What a power cut within this step would leave.
        if entry["step"] == CUT:
            shutil.copytree(tmp_path / "whole", tmp_path / "cut")

    train_stage(tmp_path / "whole", about, kind, config, subject, options, watch)
    found = latest_checkpoint(tmp_path / "cut")
    assert found is not None and found.name == f"checkpoint-{CHECKPOINT}"
    steps: list[int] = []
    train_stage(tmp_path / "cut", about, kind, config, subject, options, lambda entry: steps.append(entry["step"]))
    whole, resumed = (latest_checkpoint(tmp_path / name) for name in ("whole", "cut"))
    assert whole is not None and resumed is not None and whole.name == resumed.name
    assert steps[0] == CHECKPOINT + 1 and whole.name == f"checkpoint-{steps[-1]}"
    names = sorted(path.name for path in whole.iterdir() if path.suffix == ".safetensors")
    rates = config.train.finetune.rates
    assert names == [*(["frames.safetensors"] if rates else []), "model.safetensors", "optimizer.safetensors"]
    for name in names:
        assert (whole / name).read_bytes() == (resumed / name).read_bytes(), name

    refined = load_file(whole / "optimizer.safetensors")
    for name in config.train.finetune.rates:
        tracked = torch.cat([getattr(frame.params, name) for frame in subject.train])
        assert not torch.equal(refined[f"finetune/tables.{name}"], tracked), f"{name} is not refined"
        assert torch.equal(load_portrait(whole).frames[name], refined[f"finetune/tables.{name}"]), "beside the model"
    frame, draw = subject.test[0], make_rasterizer("numba", "cpu")
    portraits = [load_portrait(path).portrait for path in (whole, resumed)]
    with torch.no_grad():
        images = [p.render(frame.params, frame.camera, torch.ones(1, 3), draw) for p in portraits]
    assert torch.equal(*images)
    assert float(images[0].std()) > 0.01
    count = portraits[0].count()
    if method == "GaussianAvatars":
        assert count > len(portraits[0].head.faces), "some were cloned or split"
    if method == "SplattingAvatar":
        assert count == 2 * config.num_points, "all grew once, up to the limit"
    if method == "MonoGaussianAvatar":
        # The port edits once more after its last epoch, whose new points are shown untrained.
        epochs = EPOCHS if which == "fateavatar" else {"official": 3, "fixed": 2}[which]
        assert count == points(config, epochs) == 120
        assert float(portraits[0].radius) == pytest.approx(radius(config, epochs))
