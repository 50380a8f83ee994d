"""What `checked` of a built-in method claims: it trains on a made-up subject in that dataset's layout and draws it."""

import shutil
from pathlib import Path
from typing import Any

import pytest
import torch

from headbench.datasets.plugin import register_datasets
from headbench.datasets.synthetic import write_synthetic
from headbench.harness.cli.list import by_status
from headbench.harness.options import Execution
from headbench.harness.plugins import registry
from headbench.harness.plugins.checks import preset_values
from headbench.harness.plugins.specs import DatasetSpec, MethodSpec
from headbench.harness.splat import make_rasterizer
from headbench.harness.train import latest_checkpoint, load_portrait, train_stage
from headbench.harness.types import Subject
from headbench.methods.plugin import register_methods

SMALL: dict[str, dict[str, Any]] = {
    "FateAvatar": {"num_points": 400},
    "FlashAvatar": {"uv_size": 24, "hidden": 16},
    "GaussianAvatars": {},
    "MonoGaussianAvatar": {"start_points": 50, "growth": [{"epoch": 1, "points": 80, "shrink": 0.75}]},
    "SplattingAvatar": {"num_points": 400},
    "nearest-frame": {},
}
SAME_LAYOUT = {"pointavatar": "imavatar", "4dface": "imavatar"}
STEPS = 2


def specs() -> list[MethodSpec]:
    found: list[MethodSpec] = []
    register_methods(found.append)
    return found


@pytest.fixture(scope="module")
def subjects(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Subject]:
    """Dataset -> a made-up subject of a few frames of 48 x 48, read through its layout."""
    root, found = tmp_path_factory.mktemp("datasets"), {}
    for name in sorted({name for spec in specs() for name in spec.checked}):
        layout = SAME_LAYOUT.get(name, name)
        if not (root / layout).exists():
            frames = 22 if layout == "nersemble" else 6  # its clips need a frame each
            write_synthetic(root, layout, 1, frames, 48, 3, lambda line: None, workers=1)
        if layout != name:
            shutil.copytree(root / layout, root / name)
        reader = registry().load_dataset(name)
        (folder,) = reader.subjects(root / name).values()
        found[name] = reader.read(folder, {})
    return found


@pytest.mark.parametrize(
    ("spec", "dataset"),
    [
        pytest.param(
            spec,
            name,
            id=f"{spec.name}-{name}",
            # IMAvatar's reader under its other names: one method tells that they work.
            marks=pytest.mark.slow if name in SAME_LAYOUT and spec.name != "FateAvatar" else (),
        )
        for spec in specs()
        for name in spec.checked
    ],
)
def test_a_method_trains_where_it_says_so(
    spec: MethodSpec, dataset: str, subjects: dict[str, Subject], tmp_path: Path
) -> None:
    assert spec.checked[dataset] == "made-up data", "nothing else can be checked here"
    subject = subjects[dataset]
    values = {**preset_values(spec, spec.default_preset if spec.baseline else "demo"), **SMALL[spec.name]}
    steps = 0 if spec.baseline else STEPS
    values["train"] = {**values["train"], "steps": steps, "resolution": None}
    portrait_type = registry().load_method(spec.name)
    config = portrait_type.config_type.model_validate(values)
    about = {"method": spec.name, "preset": "demo", "variant": "", "dataset": dataset, "subject": subject.name}
    options = Execution(device="cpu", checkpoint_every=100, preview_every=100)
    summary = train_stage(tmp_path, about, portrait_type, config, subject, options)
    assert summary.steps == steps
    checkpoint = latest_checkpoint(tmp_path)
    assert checkpoint is not None
    frame = (subject.test or subject.train)[-1]
    with torch.no_grad():
        image = load_portrait(checkpoint).portrait.render(
            frame.params, frame.camera, torch.ones(1, 3), make_rasterizer("numba", "cpu")
        )
    assert image.shape == (1, 3, frame.camera.height, frame.camera.width)
    assert bool(torch.isfinite(image).all())
    assert float((image < 0.9).float().mean()) > 0.05, "something is drawn on white"


def test_every_built_in_method_claims_every_built_in_dataset_but_the_untried_one() -> None:
    found: list[DatasetSpec] = []
    register_datasets(found.append)
    for spec in specs():
        assert spec.checked == {dataset.name: "made-up data" for dataset in found if dataset.name != "emotalk3d"}
        assert by_status(spec, found)["not tried"] == ["emotalk3d"]
