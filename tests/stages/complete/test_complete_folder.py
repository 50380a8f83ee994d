"""The prior `folder` and the views on disk: what is read, and what is refused."""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from headbench.harness.errors import BenchError
from headbench.harness.run.config import apply_settings, parse_setting
from headbench.harness.view_prior import PseudoView
from headbench.stages.complete.cameras import camera_at, orbit_pose
from headbench.stages.complete.checks import check_views
from headbench.stages.complete.config import CompleteConfig, prior_options
from headbench.stages.complete.seen import eye_of
from headbench.stages.complete.stage import Complete
from headbench.stages.complete.storage import read_views, write_views

VERTICES = torch.tensor([[0.0, 0.1, 0.0], [0.0, -0.1, 0.0], [0.05, 0.0, 0.1], [-0.05, 0.0, -0.1]])


def _view(name: str = "a", yaw: float = 30.0, size: int = 24, **changes: Any) -> PseudoView:
    pose = orbit_pose(yaw, 5.0, 1.0)
    K = np.array([[2.0 * size, 0, size / 2], [0, 2.0 * size, size / 2], [0, 0, 1]])
    matte = torch.zeros(1, size, size)
    matte[:, 6:18, 6:18] = 1
    values = {"image": torch.rand(3, size, size), "matte": matte, "confidence": torch.full((1, size, size), 0.5)}
    camera = camera_at(pose[:3, :3], pose[:3, 3], K, size, size)
    return PseudoView(name, **{**values, "camera": camera, **changes})


def test_views_come_back_from_the_disk(tmp_path: Path) -> None:
    views = [_view("a"), _view("b", 200.0, expression="neutral")]
    write_views(tmp_path / "views", views)
    for view, found in zip(views, read_views(tmp_path / "views"), strict=True):
        assert found.name == view.name and found.expression == view.expression
        for part in ("image", "matte", "confidence"):
            assert torch.allclose(getattr(found, part), getattr(view, part), atol=0.5 / 255 + 1e-6)
        assert torch.allclose(found.camera.w2c, view.camera.w2c, atol=1e-6)
        assert torch.equal(found.camera.K, view.camera.K)


def test_the_document_of_instas_script_is_read(true_views: Path) -> None:
    views = read_views(true_views)
    assert len(views) == 6 and {view.expression for view in views} == {"neutral"}
    eyes = torch.stack([eye_of(view.camera) for view in views])
    assert float(eyes[0, 2]) > 0.8 > -0.8 > float(eyes[3, 2])
    assert all(0.1 < float(view.matte.mean()) < 0.5 and float(view.confidence.min()) == 1 for view in views)


def test_a_picture_without_alpha_gets_its_matte_from_a_plain_background(true_views: Path, tmp_path: Path) -> None:
    shutil.copytree(true_views, tmp_path / "plain")
    matted = read_views(tmp_path / "plain")[0]
    path = tmp_path / "plain" / "0.png"
    image = Image.open(path)
    Image.alpha_composite(Image.new("RGBA", image.size, (0, 255, 0, 255)), image).convert("RGB").save(path)
    found = read_views(tmp_path / "plain")[0]
    assert float(((found.matte > 0.5) ^ (matted.matte > 0.5)).float().mean()) < 0.04
    noise = np.random.default_rng(0).integers(0, 255, (48, 48, 3)).astype(np.uint8)
    Image.fromarray(noise).save(path)
    with pytest.raises(BenchError, match=r"0\.png: found a picture without alpha whose background is not plain"):
        read_views(tmp_path / "plain")


def _broken(folder: Path, change: Callable[[dict[str, Any]], None]) -> Path:
    path = folder / "transforms.json"
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))
    return folder


@pytest.mark.tried("hostile files", "a folder of views with a damaged document", "one sentence that names the frame")
@pytest.mark.parametrize(
    ("change", "text"),
    [
        (lambda c: c.update(frames=[]), "transforms.json: expected an object with a list `frames`, found none"),
        (lambda c: c["frames"].insert(1, 5), "frame 1: expected an object, found 5"),
        (lambda c: c["frames"][0].pop("file_path"), "frame 0: expected a text `file_path`, found none"),
        (lambda c: c["frames"][0].update(file_path="../x.png"), "`file_path` inside the folder, found '../x.png'"),
        (lambda c: c["frames"][0].update(file_path="x.png"), "x.png"),
        (lambda c: c["frames"][2].update(transform_matrix=[1]), "frame 2: transform_matrix: expected 4 x 4 numbers"),
        (
            lambda c: c["frames"][2]["transform_matrix"][0].__setitem__(0, math.nan),
            "finite numbers, found NaN",
        ),
        (lambda c: c["frames"][2]["transform_matrix"][0].__setitem__(0, 9.0), "expected a rotation, found"),
        (lambda c: c.pop("fl_x"), "expected `fl_x` (pixels) or `camera_angle_x` (radians), found neither"),
        (lambda c: c.update(fl_x=-3), "expected sizes and focal lengths above 0"),
        (lambda c: c.update(h=999), "expected a picture of 48 x 999 pixels, found 48 x 48"),
        (lambda c: c.update(expression="grin"), "expected `expression` canonical or neutral, found 'grin'"),
    ],
)
def test_a_damaged_document_is_refused(change: Any, text: str, true_views: Path, tmp_path: Path) -> None:
    folder = _broken(Path(shutil.copytree(true_views, tmp_path / "views")), change)
    with pytest.raises(BenchError) as found:
        read_views(folder)
    assert text in str(found.value) and "\n" not in str(found.value.args[0])


@pytest.mark.tried("hostile files", "views that are no views of the head", "one sentence that names the view")
@pytest.mark.parametrize(
    ("views", "text"),
    [
        ([], "expected at least 1 view, found none"),
        ([_view("a"), _view("a")], "expected each name once, found 'a' again"),
        ([_view("../a")], "view '../a'"),
        ([_view(), _view("b", size=25)], "expected 24 x 24 pixels as the first view has, found 25 x 25"),
        ([_view(image=torch.full((3, 24, 24), math.nan))], "image: expected finite numbers, found NaN or infinity"),
        ([_view(image=torch.full((3, 24, 24), 2.0))], "image: expected values from 0 to 1, found 2 to 2"),
        ([_view(matte=torch.zeros(1, 24, 24))], "expected a matte over 5% to 80% of the view, found 0.0%"),
        ([_view(confidence=torch.zeros(1, 24, 23))], "confidence: expected shape (1, 24, 24), found (1, 24, 23)"),
    ],
)
def test_views_that_are_none_are_refused(views: list[PseudoView], text: str) -> None:
    with pytest.raises(BenchError, match="view prior mine: ") as found:
        check_views(views, VERTICES, "mine")
    assert text in str(found.value)


def test_cameras_that_do_not_look_at_the_head_are_refused() -> None:
    pose = orbit_pose(0.0, 0.0, 1.0)
    K = np.array([[48.0, 0, 12], [0, 48.0, 12], [0, 0, 1]])
    away = camera_at(pose[:3, :3] @ np.diag([-1.0, 1.0, -1.0]), pose[:3, 3], K, 24, 24)
    with pytest.raises(BenchError, match=r"looks at the head, found the head 1\.0\d m behind it"):
        check_views([_view(camera=away)], VERTICES, "mine")
    beside = camera_at(pose[:3, :3], pose[:3, 3] + np.array([0.9, 0.0, 0.0]), K, 24, 24)
    with pytest.raises(BenchError, match="found the head's centre at pixel"):
        check_views([_view(camera=beside)], VERTICES, "mine")


@pytest.mark.tried("wrong command lines", "options of the stage complete that do not fit", "one sentence and a remedy")
@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"prior": "miror"}, "Did you mean 'mirror'"),
        ({"prior": "folder"}, "view prior folder reads a folder of yours, and none is named"),
        ({"source": Path("x")}, "view prior mirror reads nothing of yours, found source x"),
        ({"prior": "folder", "source": Path(__file__)}, "view prior folder reads a folder, found a file"),
        ({"prior": "external", "source": Path(__file__).parent}, "view prior external reads a file, found a folder"),
        ({"prior_set": {"level": 1}}, "view prior mirror: Unknown key 'level'. Did you mean 'levels'?"),
        ({"azimuths": (300, 20)}, "azimuths: expected two rising angles from 0 to 360 degrees"),
    ],
)
def test_options_that_do_not_fit_are_refused(options: dict[str, Any], text: str) -> None:
    from headbench.harness.validation import validate

    with pytest.raises(BenchError) as found:
        validate(CompleteConfig, options, "stage complete")
    assert text in str(found.value)


@pytest.mark.slow
def test_views_outside_the_azimuths_are_named(
    parents: Callable[..., Any], complete: Callable[..., Any], true_views: Path
) -> None:
    instance = complete(parents(), prior="folder", source=true_views, looks=1, azimuths=(10.0, 50.0))
    with pytest.raises(BenchError, match="expected a view between azimuths 10 and 50 degrees, found views at 0, 60"):
        instance.run()
    assert not list(instance.work.folder.glob("checkpoint-*"))


def test_settings_that_help_names_are_taken(true_views: Path) -> None:
    here = true_views
    for settings in (
        ["complete.prior=folder", f"complete.source={here}"],
        ["complete.azimuths=[0,360]"],
        [
            "complete.prior=external",
            f"complete.source={here / 'transforms.json'}",
            "complete.prior_set.front_psnr=0",
            "complete.prior_set.overlap=0",
            "complete.prior_set.interpreter=/path/to/python",
            "complete.prior_set.budget=7200",
        ],
    ):
        found: CompleteConfig = apply_settings(Complete, {}, [parse_setting(text) for text in settings])
        prior_options(found)
    assert found.prior == "external" and prior_options(found).budget == 7200
