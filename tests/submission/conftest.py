"""A synthetic benchmark of 8 videos, a run that was trained for it, and a way to break a good zip."""

from __future__ import annotations

import contextlib
import dataclasses
import io
import json
import shutil
import sys
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from av.video.reformatter import VideoReformatter
from isolation import plugged

from headbench.harness.cli.main import main
from headbench.harness.image.video import write_video
from headbench.harness.plugins import Registry
from headbench.harness.plugins import registry as find_registry
from headbench.harness.run import State, cell_folder, speed
from headbench.harness.run.plan import make_plan, write_plan
from headbench.harness.run.request import RunRequest
from headbench.harness.run.stages import run_stages
from headbench.submission import (
    Made,
    Order,
    Reference,
    check_zip,
    make_submission,
    reference_of,
    task_of,
)
from headbench.submission import check as check_module
from headbench.submission.checks import check_video
from headbench.submission.video_probe import look_at

HERE = Path(__file__).parent
FRAMES = 32


@pytest.fixture(scope="session")
def toy_site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A site folder with the distribution headbench-stage."""
    site = tmp_path_factory.mktemp("stage_site")
    shutil.copytree(HERE / "toys" / "headbench_stage", site / "headbench_stage")
    info = site / "headbench_stage-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: headbench-stage\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[headbench]\nstage = headbench_stage\n")
    return site


@pytest.fixture(scope="module")
def toys(toy_site: Path) -> Iterator[Registry]:
    """The registry of this process, with the toys beside what is built in."""
    with plugged(toy_site):
        yield find_registry()


@pytest.fixture(scope="session")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data root with both people. Read only."""
    root = tmp_path_factory.mktemp("stage_data")
    for name in ("007", "011"):
        write_person(root, name)
    return root


def write_person(root: Path, name: str, **changed: Any) -> None:
    folder = root / "stage" / name
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "person.json").write_text(json.dumps({"frames": FRAMES, "size": 32, "tracking": "v2"} | changed))


@pytest.fixture(scope="session")
def person() -> Callable[..., None]:
    """Writes a person's file: person(root, name, frames=, size=, tracking=)."""
    return write_person


@pytest.fixture(scope="session")
def train(toy_site: Path) -> Callable[..., Path]:
    """Trains methods on people in this process: train(run, data_root, methods, ...) -> the run."""

    def work(run: Path, root: Path, *methods: str, **more: Any) -> Path:
        request = RunRequest(
            methods=methods, datasets=("stage",), data_root=root, out=run, device="cpu", preset=("demo",), **more
        )
        with plugged(toy_site), pytest.MonkeyPatch.context() as patch:
            patch.setattr(speed, "CPU_SECONDS", 0.0)  # else seconds per cell
            toys = find_registry()
            plan = make_plan(request, toys, {})
            for planned in plan.cells:
                folder = cell_folder(run, planned.cell)
                planned.job.write(folder)
                run_stages(folder, planned.job, toys, (), lambda now: None)
                dataclasses.replace(planned.record, state=State.DONE).write(folder)
        write_plan(plan)
        return run

    return work


@pytest.fixture(scope="session")
def trained(train: Callable[..., Path], stage: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run in which Puppet was trained on both people. Read only."""
    return train(tmp_path_factory.mktemp("runs") / "trained", stage, "Puppet")


@pytest.fixture(scope="session")
def made(trained: Path, toy_site: Path, seen: Any, tmp_path_factory: pytest.TempPathFactory) -> Made:
    """The submission of `trained`. Read only."""
    with plugged(toy_site), pytest.MonkeyPatch.context() as patch:
        patch.setattr(check_module, "look_at", seen[0])  # the clinic looks at the same videos
        patch.setenv("HEADBENCH_HOME", str(tmp_path_factory.mktemp("stage_home")))
        return make_submission(Order(trained, "stage", device="cpu"), find_registry(), lambda line: None)


@pytest.fixture(scope="session")
def reference(toy_site: Path, stage: Path) -> Reference:
    """What the toy dataset says of a submission."""
    with plugged(toy_site):
        _, reader, task = task_of(find_registry(), "stage")
        return reference_of(reader, reader.subjects(stage), {}, task)


@dataclass(frozen=True)
class Clinic:
    """A copy of a good zip that is broken in one place, and the doctor's word on it."""

    members: dict[str, bytes]
    folder: Path
    task: Any
    reference: Reference

    def images(self, member: str) -> np.ndarray:
        """(T, H, W, 3) uint8 of a member."""
        with av.open(io.BytesIO(self.members[member])) as container:
            one = VideoReformatter()  # each frame's own would start threads
            return np.stack([one.reformat(frame, format="rgb24").to_ndarray() for frame in container.decode(video=0)])

    def encode(self, member: str, images: Any, rate: str = "24.3", quality: str = "14") -> None:
        """Put other images into a member."""
        path = self.folder / "video.mp4"
        write_video(path, iter(images), Fraction(rate), quality)
        self.members[member] = path.read_bytes()

    def zip(self) -> Path:
        """Write the members as a zip."""
        path = self.folder / "broken.zip"
        with zipfile.ZipFile(path, "w") as archive:
            for name, content in self.members.items():
                archive.writestr(name, content)
        return path

    def errors(self, path: Path | None = None, record: Any = None, **more: Any) -> list[str]:
        """Lines of the doctor's errors."""
        more = {"reference": self.reference} | more
        found = check_zip(path or self.zip(), self.task, record=record, **more)
        return [finding.line() for finding in found if finding.severity == "error"]


@pytest.fixture(scope="session")
def seen() -> tuple[Callable[..., Any], Callable[..., Any]]:
    """`look_at` and `check_video` with a memory: of a zip that is broken in one video seven were seen before."""
    known: dict[tuple[Any, ...], tuple[Any, Any, list[Any]]] = {}

    def check(slot: Any, look: Any, task: Any, reference: Any) -> list[Any]:
        key = (slot, task, id(look), id(reference))
        if key not in known:
            # Holds what was asked, so that no other object gets its identity.
            known[key] = (look, reference, check_video(slot, look, task, reference))
        return list(known[key][2])

    return lru_cache(maxsize=64)(look_at), check


@pytest.fixture
def clinic(
    made: Made, toys: Registry, reference: Reference, seen: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Clinic:
    """The good zip's members, to break."""
    look, judge = seen
    monkeypatch.setattr(check_module, "look_at", look)
    monkeypatch.setattr(check_module, "check_video", judge)
    with zipfile.ZipFile(made.zip) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    return Clinic(members, tmp_path, task_of(toys, "stage")[2], reference)


@dataclass(frozen=True)
class Done:
    """What a command did."""

    code: int
    out: str
    err: str


@pytest.fixture
def bench(toys: Registry, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Done]:
    """Runs `bench` in this process."""

    def call(*arguments: object) -> Done:
        monkeypatch.setattr(sys, "argv", ["bench", *map(str, arguments)])
        out, err = io.StringIO(), io.StringIO()
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err), pytest.raises(SystemExit) as ended:
            main()
        return Done(int(ended.value.code or 0), out.getvalue(), err.getvalue())

    return call
