"""FlashAvatar and SplattingAvatar as released and as ported: resumed on a CPU, also with tracking that is refined."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from headbench.harness.plugins import registry
from headbench.harness.plugins.checks import preset_values
from headbench.harness.splat import make_rasterizer
from headbench.harness.train import TrainOptions, latest_checkpoint, load_portrait, train_stage
from headbench.harness.types import Subject

STEPS = 7
FLASH = {"uv_size": 20, "hidden": 8, "layers": 2, "octaves": 4, "weights": {"lpips": 0.0}, "offset_bound": 0.02}
SPLATTING = {
    "num_points": 300,
    "max_points": 330,
    "walk_every": 2,
    "weights": {"lpips": 0.0},
    "densify_from": 2,
    "densify_every": 2,
    "gradient_threshold": 1e-6,
    "extent": 0.4,
    "reset_every": 5,
}
TRACKING: dict[str, Any] = {"optimizer": "sparse", "rates": dict.fromkeys(("expression", "root", "neck", "jaw"), 5e-4)}
"""The port's on IMavatar data."""


class Killed(Exception):
    """In place of a signal."""


def trained(
    folder: Path, subject: Subject, method: str, which: str, changes: dict[str, Any], killed_after: int | None = None
) -> Path:
    """The last checkpoint; with `killed_after`, of a run that was cut off after that step and then resumed."""
    kind = registry().load_method(method)
    values = preset_values(registry().method(method), which)
    finetune = TRACKING if which == "fateavatar" else values["train"].get("finetune", {})
    train = {**values["train"], "epochs": None, "steps": STEPS, "resolution": None, "finetune": finetune}
    config = kind.config_type.model_validate({**values, **changes, "train": train})
    options = TrainOptions(device="cpu", checkpoint_every=3, log_every=1, preview_every=1000, deterministic=True)
    about = {"method": method, "preset": which, "variant": "", "dataset": "none", "subject": "made"}

    def watch(entry: dict[str, Any]) -> None:
        if killed_after is not None and entry["step"] > killed_after:
            raise Killed

    if killed_after is not None:
        with pytest.raises(Killed):
            train_stage(folder, about, kind, config, subject, options, watch)
        cut = latest_checkpoint(folder)
        assert cut is not None and cut.name == "checkpoint-3"
    train_stage(folder, about, kind, config, subject, options)
    found = latest_checkpoint(folder)
    assert found is not None and found.name == f"checkpoint-{STEPS}"
    return found


@pytest.mark.parametrize("which", ["official", "fateavatar"])
@pytest.mark.parametrize(("method", "changes"), [("FlashAvatar", FLASH), ("SplattingAvatar", SPLATTING)])
def test_a_resumed_run_of_a_preset_ends_as_one_that_was_left_alone(
    method: str, changes: dict[str, Any], which: str, made_subject: Callable[..., Subject], tmp_path: Path
) -> None:
    subject = made_subject(frames=3)
    if method == "FlashAvatar":
        changes = {**changes, **({"sh_every": 2} if which != "fateavatar" else {})}
    whole = trained(tmp_path / "whole", subject, method, which, changes)
    parts = trained(tmp_path / "parts", subject, method, which, changes, killed_after=4)
    names = sorted(path.name for path in whole.iterdir() if path.suffix == ".safetensors")
    assert {"model.safetensors", "optimizer.safetensors"} <= set(names)
    for name in names:
        assert (whole / name).read_bytes() == (parts / name).read_bytes(), name
    white, draw = torch.ones(1, 3), make_rasterizer("numba", "cpu")
    if which == "fateavatar":
        refined = load_file(whole / "optimizer.safetensors")
        for name in TRACKING["rates"]:
            tracked = torch.cat([getattr(frame.params, name) for frame in subject.train])
            assert not torch.equal(refined[f"finetune/tables.{name}"], tracked), f"{name} is not refined"
    if method == "SplattingAvatar":
        assert load_portrait(whole).portrait.count() == 2 * changes["num_points"], "all grew once, up to the limit"
    frame = subject.test[0]
    with torch.no_grad():
        images = [
            load_portrait(path).portrait.render(frame.params, frame.camera, white, draw) for path in (whole, parts)
        ]
    assert torch.equal(*images)
    assert float(images[0].std()) > 0.01
