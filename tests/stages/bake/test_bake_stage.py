"""The stage ``bake``: from a parent to a portrait that loads alone."""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from headbench.harness.avatar import FineTuneConfig
from headbench.harness.errors import BenchError
from headbench.harness.files import read_json
from headbench.harness.splat import make_rasterizer
from headbench.harness.staged import StageRecord, write_stage
from headbench.harness.tensors import read_tensors
from headbench.harness.train import LoadedPortrait, load_portrait
from headbench.harness.types import Subject
from headbench.harness.view_prior import PseudoView
from headbench.stages.bake import BakeConfig
from headbench.stages.bake.begin import begin
from headbench.stages.bake.maps import Attributes
from headbench.stages.bake.sources import refined_frames, view_store
from headbench.stages.complete.storage import write_views

from .conftest import FIXED, PLAIN, SIDE, Bake

SURFACES = ("FateAvatar", "FlashAvatar", "SplattingAvatar", "GaussianAvatars")
Parent = Callable[..., LoadedPortrait]
Baker = Callable[..., Bake]


@torch.no_grad()
def shown(portrait: Any, subject: Subject, index: int = 3) -> Tensor:
    frame = subject.train[index]
    return portrait.render(frame.params, frame.camera, torch.ones(1, 3), make_rasterizer("torch", torch.device("cpu")))


def rows_of(made: Bake) -> list[dict[str, Any]]:
    lines = [json.loads(line) for line in (made.work.folder / "metrics.jsonl").read_text().splitlines()]
    return [{key: value for key, value in line.items() if key != "rate"} for line in lines]


@pytest.mark.parametrize(
    "method", [pytest.param(m, marks=pytest.mark.slow) if m == "SplattingAvatar" else m for m in SURFACES]
)
def test_a_bake_of_each_method_on_a_surface_loads_alone(
    parent: Parent, bake: Baker, subject: Subject, method: str
) -> None:
    above = parent(method)
    before, count = shown(above.portrait, subject), above.portrait.count()
    made = bake(above, {**FIXED, "steps": 0})
    summary = made.run()
    assert summary.gaussians == count
    loaded = load_portrait(made.checkpoint)
    after = shown(loaded.portrait, subject)
    assert torch.equal(after, shown(made.result, subject))
    # Maps that nobody trained are means of the parent's Gaussians: not the same picture, but far from an empty one.
    assert (after - before).abs().mean() < 0.6 * (1 - before).abs().mean()
    surface, again = loaded.portrait.surface(), load_portrait(made.checkpoint).portrait.surface()
    assert all(
        torch.equal(getattr(surface, n), getattr(again, n)) for n in ("face_index", "bary", "uv", "offset", "dc")
    )


@pytest.mark.slow
def test_training_lowers_the_loss_and_maps_are_kept(parent: Parent, bake: Baker) -> None:
    made = bake(parent(), {**FIXED, "steps": 12, "rates": {"colour": 0.1}}, log_every=4)
    made.run()
    log = rows_of(made)
    assert [line["step"] for line in log] == [4, 8, 12] and set(log[0]) >= {"rgb", "scale", "gaussians"}
    assert log[-1]["rgb"] < log[0]["rgb"]
    about = read_json(made.work.folder / "maps" / "maps.json")
    assert about["size"] == 64 and set(about["maps"]) == {"colour", "opacity", "scaling", "rotation", "offset"}


@pytest.mark.tried("faults in runs", "a bake that ends in the middle, and is run again")
@pytest.mark.parametrize(
    "network",
    ["texture", pytest.param("decode_only", marks=pytest.mark.slow), pytest.param("unet", marks=pytest.mark.slow)],
)
def test_a_bake_that_was_interrupted_ends_equal_to_the_bit(parent: Parent, bake: Baker, network: str) -> None:
    options = {**FIXED, "network": network, "size": 32, "steps": 5, "start": "random"}

    def die(now: Any) -> None:
        if now.get("step") == 4:
            raise KeyboardInterrupt

    calm = bake(parent(), options, "calm", checkpoint_every=2, log_every=1)
    calm.run()
    with pytest.raises(KeyboardInterrupt):
        bake(parent(), options, progress=die, checkpoint_every=2, log_every=1).run()
    torch.manual_seed(77)
    again = bake(parent(), options, checkpoint_every=2, log_every=1)
    assert [path.name for path in again.work.folder.glob("checkpoint-*")] == ["checkpoint-2"]
    again.run()
    for name in ("model.safetensors", "optimizer.safetensors"):
        assert (again.checkpoint / name).read_bytes() == (calm.checkpoint / name).read_bytes()
    assert rows_of(again) == rows_of(calm)


@pytest.mark.parametrize("network", ["decode_only", pytest.param("unet", marks=pytest.mark.slow)])
def test_networks_train_and_are_exported_as_they_are_asked_to(parent: Parent, network: str, bake: Baker) -> None:
    found = []
    for mode in ("train", "eval"):
        options = {**FIXED, "network": network, "size": 32, "steps": 2, "start": "random", "export_norm": mode}
        made = bake(parent(), options, mode)
        made.run()
        found.append(load_portrait(made.checkpoint).portrait.maps.pack())
    assert all(bool(torch.isfinite(each).all()) for each in found) and not torch.equal(*found)


def test_the_residual_of_a_network_is_kept_or_left_out(parent: Parent, bake: Baker, subject: Subject) -> None:
    def bakes(residual: bool) -> Any:
        above = parent("FlashAvatar", last_layer="default")
        with torch.no_grad():
            for weight in above.portrait.network.parameters():
                weight.add_(0.3 * torch.randn(weight.shape, generator=torch.Generator().manual_seed(5)))
        made = bake(above, {**FIXED, "steps": 0, "residual": residual}, f"residual-{residual}")
        made.run()
        return load_portrait(made.checkpoint).portrait

    first, other = subject.train[0].params, subject.train[3].params
    spoken = replace(first, expression=other.expression)
    with_it, without = bakes(True), bakes(False)
    moved = (with_it.gaussians(spoken).means - with_it.gaussians(first).means).norm(dim=-1)
    still = (without.gaussians(spoken).means - without.gaussians(first).means).norm(dim=-1)
    assert with_it.surface().residual is not None and without.surface().residual is None
    assert (moved - still).abs().max() > 1e-3


def test_points_are_sampled_evenly_at_load_and_are_the_same_again(parent: Parent, bake: Baker) -> None:
    made = bake(parent(), {**FIXED, "steps": 0, "points": 3000, "cover": "all"})
    assert made.run().gaussians == 3000
    one, two = (load_portrait(made.checkpoint).portrait for _ in range(2))
    assert torch.equal(one.bary, two.bary) and one.count() == 3000
    corners = one.canonical[one.head.faces]
    area = torch.linalg.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]).norm(dim=-1)
    shares = torch.bincount(one.face_index, minlength=len(area)) / 3000 - area / area.sum()
    assert shares.abs().max() <= 1.01 / 3000
    two.resample(800, "uv")
    uv = two.places()[2]
    flat = two.head.uvs[two.head.uv_faces]
    first, second = flat[:, 1] - flat[:, 0], flat[:, 2] - flat[:, 0]
    area = (first[:, 0] * second[:, 1] - first[:, 1] * second[:, 0]).abs()
    shares = torch.bincount(two.face_index, minlength=len(area)) / 800 - area / area.sum()
    assert two.count() == len(uv) == 800 and shares.abs().max() <= 1.01 / 800
    # What is missing is covered by growth, in the mean.
    grown = (two.surface().log_scales - one.surface().log_scales.mean(0)).mean()
    assert float(grown) == pytest.approx(0.5 * math.log(3000 / 800), rel=0.4)


def test_closer_gaussians_take_as_much_light_together_and_farther_ones_cover_as_much() -> None:
    found = Attributes(
        *(torch.zeros(3, 3), torch.tensor([2.0, -3.0, 0.5]), torch.zeros(3, 3)),
        *(torch.zeros(3, 4), torch.zeros(3)),
    )
    four_times = found.for_density(torch.full((3,), -math.log(4.0)))
    through = (1 - four_times.opacity.sigmoid()) ** 4
    torch.testing.assert_close(through, 1 - found.opacity.sigmoid())
    assert torch.equal(four_times.scaling, found.scaling)
    fewer = found.for_density(torch.tensor([0.0, math.log(4.0), 0.0]))
    assert torch.equal(fewer.opacity, found.opacity)
    torch.testing.assert_close(fewer.scaling.exp()[:, 0], torch.tensor([1.0, 2.0, 1.0]))


def test_places_of_the_released_code_are_doubled_and_those_put_right_are_not(parent: Parent) -> None:
    from headbench.stages.bake import BakedConfig, BakeStage

    def counted(**options: Any) -> tuple[int, int]:
        above = parent(num_points=256, cover_faces="none", barycentrics="rand_over_sum", densify_every=0)
        config = BakeConfig.model_validate({**PLAIN, "added_points": 256, "size": 32, **options})
        values = BakedConfig.model_validate(BakeStage.portrait_config(above, config))
        baked = begin(above, values, 0, torch.device("cpu")).baked
        both = torch.cat([baked.face_index[:, None], baked.bary], dim=1)
        return len(both), len(torch.unique(both, dim=0))

    places, different = counted()
    assert places == 512 and different < 512, "each UV place of the parent is there twice"
    assert counted(doubled=False) == (different, different)


def test_one_stage_trains_corrections_anew(parent: Parent, bake: Baker) -> None:
    above = parent()
    with torch.no_grad():
        above.portrait.delta_vertex.fill_(0.5)
    options = {**PLAIN, "training": "one_stage", "size": 32, "steps": 3, "added_points": 400, "offset_normal": "unit"}
    made = bake(above, options)
    made.run()
    loaded = load_portrait(made.checkpoint).portrait
    found = loaded.body.delta_vertex
    assert 0 < found.abs().max() < 0.01 and loaded.count() == 400


def test_two_stages_leave_corrections_as_they_are(parent: Parent, bake: Baker) -> None:
    above = parent()
    with torch.no_grad():
        above.portrait.delta_vertex.normal_(0, 1e-3)
    kept = above.portrait.delta_vertex.detach().clone()
    made = bake(above, {**FIXED, "steps": 2})
    made.run()
    assert torch.equal(load_portrait(made.checkpoint).portrait.body.delta_vertex, kept)


@pytest.mark.slow
def test_the_maps_before_the_last_step_and_after_it_differ(parent: Parent, bake: Baker) -> None:
    found = {}
    for export, steps in (("before", 2), ("after", 2), ("after", 1)):
        made = bake(parent(), {**FIXED, "steps": steps, "export": export}, f"{export}-{steps}")
        made.run()
        found[export, steps] = load_portrait(made.checkpoint).portrait.maps.colour
    assert torch.equal(found["before", 2], found["after", 1])
    assert not torch.equal(found["before", 2], found["after", 2])


def test_frames_take_what_the_parent_refined(subject: Subject) -> None:
    refined = {"timesteps": torch.tensor([1, 2]), "expression": torch.ones(2, 4), "camera_t": torch.full((2, 3), 7.0)}
    found = refined_frames(subject.train, refined)
    assert [float(frame.params.expression[0, 0]) for frame in found] == pytest.approx([0.0, 1.0, 1.0, 0.6])
    assert float(found[1].camera.w2c[0, 0, 3]) == 7.0 and float(found[0].camera.w2c[0, 0, 3]) == 0.0
    assert refined_frames(subject.train, {}) == subject.train


@pytest.mark.tried("wrong command lines", "options of a bake that do not go together")
@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"offset_bound": None}, "a number in 1/m goes with offset_normal: raw"),
        ({"training": "one_stage", "start": "parent"}, "start: random goes with"),
        ({"size": 16}, "at least 32 goes with network: unet"),
        ({"size": 100}, "size"),
        ({"points": 3}, "points"),
        ({"rates": {"color": 0.1}}, "colour"),
    ],
)
def test_options_that_do_not_fit_are_named(options: dict[str, Any], words: str) -> None:
    from headbench.harness.validation import validate

    with pytest.raises(BenchError, match="stage train/bake") as caught:
        validate(BakeConfig, options, "stage train/bake")
    assert words in str(caught.value)


@pytest.mark.slow
def test_tracking_that_restarts_is_trained_with_the_maps(parent: Parent, bake: Baker, subject: Subject) -> None:
    def tracked() -> LoadedPortrait:
        above = parent()
        train = above.config.train.model_copy(update={"finetune": FineTuneConfig(rates={"expression": 1e-3})})
        return replace(above, config=above.config.model_copy(update={"train": train}))

    def die(now: Any) -> None:
        if now.get("step") == 3:
            raise KeyboardInterrupt

    options = {**FIXED, "tracking": "restart", "steps": 4}
    calm = bake(tracked(), options, "calm", checkpoint_every=2, log_every=1)
    calm.run()
    made = bake(tracked(), options, progress=die, checkpoint_every=2, log_every=1)
    with pytest.raises(KeyboardInterrupt):
        made.run()
    tables = read_tensors(made.checkpoint / "optimizer.safetensors")["finetune/tables.expression"]
    moved = tables - torch.cat([frame.params.expression for frame in subject.train])
    assert (moved.abs().amax(1) > 0).sum() >= 2 and moved.abs().max() < 0.01
    again = bake(tracked(), options, checkpoint_every=2, log_every=1)
    again.run()
    assert rows_of(again) == rows_of(calm)


def test_a_tracked_subject_keeps_its_parent_s_refinement(parent: Parent) -> None:
    from headbench.stages.bake.stage import _train_config

    above = parent()
    train = above.config.train.model_copy(update={"finetune": FineTuneConfig(rates={"expression": 1e-3})})
    above = replace(above, config=above.config.model_copy(update={"train": train}))
    found = _train_config(above, BakeConfig(epochs=3))
    assert found.finetune == train.finetune and found.epochs == 3 and found.steps is None and found.resolution == 32


@pytest.mark.slow
def test_after_a_completion_every_frame_is_preceded_by_a_view(
    parent: Parent, bake: Baker, subject: Subject, tmp_path: Path
) -> None:
    frame = subject.train[0]
    whole = torch.ones(1, SIDE, SIDE)
    colour = torch.tensor([0.0, 0.0, 1.0]).view(3, 1, 1).expand(3, SIDE, SIDE)
    turned = frame.camera.w2c.clone()
    turned[:, 0, 0], turned[:, 2, 2] = -1.0, 1.0  # from behind
    cameras = {"front": frame.camera, "back": replace(frame.camera, w2c=turned)}
    views = [PseudoView(name, colour, whole, whole, camera) for name, camera in cameras.items()]
    folder = tmp_path / "complete"
    folder.mkdir()
    write_views(folder / "views", views)
    write_stage(folder, StageRecord("train/complete", "method:FateAvatar", {"azimuths": [90.0, 270.0]}, {}))

    def completed() -> LoadedPortrait:
        above = replace(parent(), path=folder / "checkpoint-1")
        vars(above)["frames"] = {}  # of a checkpoint that is not there
        return above

    store, rows = view_store(completed(), torch.device("cpu"))
    assert store.ids(rows) == ("view-back",) and view_store(parent(), torch.device("cpu")) is None
    made = bake(completed(), {**FIXED, "steps": 3, "view_background": "run"}, log_every=1)
    made.run()
    with_views = rows_of(made)
    assert [line["step"] for line in with_views] == [1, 2, 3, 4, 5, 6]
    alone = bake(parent(), {**FIXED, "steps": 3}, "alone", log_every=1)
    alone.run()
    shorter = bake(completed(), {**FIXED, "steps": 4, "alone": 0.5}, "shorter", log_every=1)
    shorter.run()
    assert rows_of(shorter)[-1]["step"] == 6, "two pairs, then two frames alone"
    # The odd steps are those on the view, whose target is blue all over.
    assert with_views[0]["rgb"] > 1.5 * rows_of(alone)[0]["rgb"]
    found = [load_portrait(each.checkpoint).portrait.maps.colour for each in (made, alone)]
    assert not torch.equal(*found)
    shutil.rmtree(folder / "views")
    with pytest.raises(BenchError, match="views"):
        bake(completed(), {**FIXED, "steps": 1}, "gone").run()
