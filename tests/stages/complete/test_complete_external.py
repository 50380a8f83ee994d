"""The prior `external`: what a program is given, and what becomes of one that fails, hangs or gives wrong views."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from waiting import until

from headbench.harness.errors import BenchError
from headbench.harness.execution.system import start_of
from headbench.harness.head import load_head
from headbench.harness.splat import make_rasterizer
from headbench.harness.types import Subject, TrainView
from headbench.harness.view_prior import PseudoView, ViewWork
from headbench.stages.complete.cameras import NOMINAL, SCALE, camera_of_label
from headbench.stages.complete.config import CompleteConfig
from headbench.stages.complete.points import alignment_of
from headbench.stages.complete.priors import program
from headbench.stages.complete.priors.external import External, ExternalConfig
from headbench.stages.complete.seen import hits_of
from headbench.stages.complete.stage import wanted_cameras
from headbench.stages.complete.training import view_params

PLAYING = Path(__file__).parent / "playing.py"
SIZE = 32


@pytest.fixture
def play(parents: Callable[..., Any], sample: Subject, tmp_path: Path) -> Callable[..., list[PseudoView]]:
    """(what the program does, options) -> the views that come of it; the portrait is an opaque head."""

    def run(how: str, **options: Any) -> list[PseudoView]:
        loaded = parents()
        with torch.no_grad():
            loaded.portrait.table["opacity"].fill_(6.0)
            params = view_params(loaded.identity, "canonical")
            vertices = loaded.portrait.carrier(params)[0]
        head = alignment_of(loaded.portrait.head, vertices)
        config = {"interpreter": sys.executable, "size": SIZE, "inputs": 3, "budget": 60.0, "overlap": 0.0, **options}
        cpu = torch.device("cpu")
        work = ViewWork(
            parent=loaded,
            data=TrainView(sample.train, 48, 48),
            params=params,
            vertices=vertices,
            rasterizer=make_rasterizer("numba", cpu),
            config=ExternalConfig.model_validate({**config, "arguments": (how,)}),
            source=PLAYING,
            scratch=tmp_path,
            cameras=wanted_cameras(CompleteConfig(), loaded, head, SIZE),
            seed=3,
            device=cpu,
            progress=lambda now: None,
        )
        return list(External().make(work))

    return run


@pytest.mark.slow
def test_a_program_gets_crops_with_labels_and_gives_views(play: Callable[..., Any], tmp_path: Path) -> None:
    views = play("labels", generator="spherehead")
    assert len(views) == 24 and views[0].image.shape == (3, SIZE, SIZE)
    job = json.loads((tmp_path / "external" / "job.json").read_text())
    assert (job["schema"], job["prior"], job["seed"], job["size"]) == (1, "spherehead", 3, SIZE)
    assert [round(each["yaw"]) for each in job["inputs"]] == [0, 30, -30]
    assert [view["name"] for view in job["views"]] == [view.name for view in views]
    assert np.linalg.norm(np.array(job["inputs"][0]["label"])[[3, 7, 11]]) == pytest.approx(NOMINAL)
    labels = json.loads((tmp_path / "external" / "in" / "dataset.json").read_text())["labels"]
    assert [name for name, label in labels if len(label) == 25] == ["0000.png", "0001.png", "0002.png"]
    own = tmp_path / "external" / "in" / "0001"
    assert json.loads((own / "dataset.json").read_text())["labels"] == [labels[1]] and (own / "0001.png").is_file()
    # The camera that the program names is 2.7 units, or 1.158 m, before the generator's origin.
    place = -views[5].camera.w2c[0, :3, :3].T @ views[5].camera.w2c[0, :3, 3]
    assert np.linalg.norm(place.numpy() - job["head"]["origin"]) == pytest.approx(NOMINAL / SCALE, abs=1e-4)


@pytest.mark.slow
def test_the_crop_shows_the_head_where_its_label_says(play: Callable[..., Any], tmp_path: Path) -> None:
    play("labels")
    job = json.loads((tmp_path / "external" / "job.json").read_text())
    head = load_head("openhead", "mouth_closed")
    alignment = alignment_of(head, head.template)  # type: ignore[arg-type]
    for each in job["inputs"]:
        camera = camera_of_label(each["label"], alignment, SIZE)
        mesh = (hits_of(head.template, head.faces, camera).face_index >= 0).reshape(SIZE, SIZE).numpy()
        mask = np.asarray(Image.open(tmp_path / "external" / each["mask"])) > 127
        assert (mesh & mask).sum() / (mesh | mask).sum() > 0.6


@pytest.mark.tried("faults in runs", "a program for views that fails", "one sentence; no views stay")
@pytest.mark.parametrize(
    ("how", "text"),
    [
        ("fails", "playing.py: expected exit code 0, found exit code 3; it said last: no weights at /nowhere."),
        ("few", "playing.py: expected 24 views in out/image, found 5; the first that is missing is 0005.png."),
        ("nan", "0000.npy: expected finite numbers, found NaN or infinity"),
        ("far", "cameras.json: expected [name, 25 finite numbers], found"),
        ("small", "0000.png: expected 32 x 32 pixels as job.json asks, found 16 x 16"),
        ("silent", "report.json: found no such file"),
        ("gives up", "playing.py: expected status done in out/report.json, found 'out of memory'."),
        ("other", "to be like the portrait to 18 dB, found"),
    ],
)
def test_a_program_that_fails_is_reported(how: str, text: str, play: Callable[..., Any]) -> None:
    with pytest.raises(BenchError) as found:
        play(how)
    assert text in str(found.value), str(found.value)
    assert "\n" not in str(found.value.args[0])


@pytest.mark.tried("faults in runs", "a program for views that hangs", "it is ended with its children after its time")
def test_a_program_that_hangs_is_ended_with_its_children(
    play: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    noted = tmp_path / "external" / "child"

    class Hangs(subprocess.Popen):
        """Its time is over as soon as it has a child, however long it takes to start."""

        def wait(self, timeout: float | None = None) -> int:
            if timeout != 2.0:
                return super().wait(timeout)
            until(lambda: noted.is_file() and noted.read_text())
            raise subprocess.TimeoutExpired(self.args, timeout)

    monkeypatch.setattr(program, "subprocess", SimpleNamespace(**{**vars(subprocess), "Popen": Hangs}))
    with pytest.raises(BenchError, match="within 2 s, found it still at work; it said last: plays hangs"):
        play("hangs", budget=2.0)
    child = int(noted.read_text())
    until(lambda: not start_of(child))


def test_a_program_that_cannot_be_started_is_named(play: Callable[..., Any]) -> None:
    with pytest.raises(BenchError, match="expected a program that can be started, found one that cannot") as found:
        play("fails", interpreter="/nowhere/python")
    assert "complete.prior_set.interpreter" in found.value.help


def test_a_matte_of_another_head_is_refused(play: Callable[..., Any]) -> None:
    with pytest.raises(BenchError, match=r"view 00\d\d: expected a matte that overlaps the head's mesh by 99%, found"):
        play("labels", overlap=0.99)
