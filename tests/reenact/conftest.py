"""One person and one performance in four layouts, with discs in place of pictures, and untrained avatars of them."""

from __future__ import annotations

import functools
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from discs import drawn_as_discs
from isolation import once

from headbench.datasets.nersemble.benchmark import TRAIN_SERIAL
from headbench.datasets.nersemble.hidden import benchmark_test
from headbench.datasets.synthetic import write_synthetic
from headbench.harness.cli.main import main
from headbench.harness.options import Execution
from headbench.harness.plugins import registry
from headbench.harness.session import Session
from headbench.harness.train import LoadedPortrait
from headbench.harness.train.checkpoint import save_checkpoint
from headbench.harness.train.setup import prepare
from headbench.harness.trained import CheckpointState, Machine
from headbench.harness.types import Frame
from headbench.testing.small import small_config

LAYOUTS = ("insta", "imavatar", "vhap", "nersemble")
FRAMES, SIZE = 22, 48


def write_people(out: Path, layout: str, seed: int) -> None:
    """Write a subject of the layout into the data root `out`."""
    with drawn_as_discs():
        write_synthetic(out, layout, 1, FRAMES, SIZE, seed, lambda line: None, workers=1, orbit=1)


@pytest.fixture(scope="session")
def people(tmp_path_factory):
    """people(layout, seed) -> (data root, subject's name, subject): the person and performance of the seed."""

    @functools.cache
    def make(layout: str, seed: int = 5):
        root = once(tmp_path_factory, f"people-{layout}{seed}", lambda out: write_people(out, layout, seed))
        reader = registry().load_dataset(layout)
        name, folder = next(iter(reader.subjects(root).items()))
        return root, name, reader.read(folder, {})

    return make


@pytest.fixture(scope="session")
def untrained(people):
    """untrained(layout, method, seed) -> an untrained portrait of that person, its colours drawn at random.

    Spherical harmonics are drawn, too: a camera that moves in place of the head would be seen.
    """

    @functools.cache
    def make(layout: str, method: str = "GaussianAvatars", seed: int = 5) -> LoadedPortrait:
        kind, subject = registry().load_method(method), people(layout, seed)[2]
        config = small_config(registry().method(method), kind)
        parts = prepare(kind, config, subject, Execution(device="cpu"))
        generator = torch.Generator().manual_seed(7)
        table = getattr(parts.portrait, "table", None)
        with torch.no_grad():
            for name in {"dc", "rest"} & {*(table.names() if table is not None else ())}:
                table[name].copy_(0.5 * torch.randn(table[name].shape, generator=generator))
        if hasattr(parts.portrait, "degree"):
            parts.portrait.degree.now = config.sh_degree
            parts.portrait.degree.active.fill_(config.sh_degree)
        about = {"method": method, "preset": "tiny", "variant": "", "dataset": layout, "subject": subject.name}
        return LoadedPortrait(parts.portrait.eval(), parts.identity, config, about, 0)

    return make


@pytest.fixture(scope="session")
def avatars(untrained):
    """avatars(layout, method, seed) -> a session of that portrait."""
    return functools.cache(lambda *which: Session(untrained(*which), torch.device("cpu"), "numba"))


@pytest.fixture(scope="session")
def drive(people):
    """drive(layout, split, seed) -> the driver, as `bench reenact` reads it.

    The split `all` of nersemble has the benchmark's hidden sequences, too: together they are the whole performance.
    """
    from headbench.reenact import read_driver

    @functools.cache
    def make(layout: str, split: str = "all", seed: int = 5):
        root, name, _ = people(layout, seed)
        driver = read_driver(f"{layout}/{name}:{split}", root, registry(), {})
        if layout != "nersemble" or split != "all":
            return driver
        folder = registry().load_dataset(layout).subjects(root)[name]
        hidden = [
            Frame(ids, view.camera, view.params.rows(slice(k, k + 1)), lambda: None, view.sequence)
            for view in benchmark_test(folder)
            if view.camera_id == TRAIN_SERIAL
            for k, ids in enumerate(view.frame_ids)
        ]
        return replace(driver, frames=(*driver.frames, *hidden))

    return make


@pytest.fixture(scope="session")
def images():
    """images(session, params, camera) -> renders (T, 3, H, W) uint8."""

    def render(session: Session, params, camera) -> torch.Tensor:
        rows = [slice(k, k + 1) for k in range(len(camera.w2c))]
        return torch.cat([session.render(params.rows(row), camera.rows(row)) for row in rows])

    return render


@pytest.fixture(scope="session")
def decibels():
    """decibels(a, b) -> the lowest PSNR of any frame of two batches of uint8 pictures, at most 120."""

    def lowest(one: torch.Tensor, two: torch.Tensor) -> float:
        error = (one.double() - two.double()).square().mean(dim=(1, 2, 3)) / 255**2
        return float(-10 * error.clamp_min(1e-12).log10().max())

    return lowest


@pytest.fixture(scope="session")
def checkpoints(untrained, tmp_path_factory):
    """checkpoints(layout, method, seed, frames) -> folder of a stage with a checkpoint of that portrait.

    frames: refined parameters of training frames by field, with ``timesteps``.
    """

    def make(layout: str, method: str = "GaussianAvatars", seed: int = 5, frames=None) -> Path:
        made = untrained(layout, method, seed)
        folder = tmp_path_factory.mktemp("stage") / "train"
        values = made.config.model_dump(mode="json")
        state = CheckpointState(0, made.about, values, 0.0, 0, {}, machine=Machine("cpu", "numba", 0))
        save_checkpoint(folder, made.portrait, made.identity, {}, state, frames=frames)
        return folder

    return make


@pytest.fixture
def bench(monkeypatch, capsys):
    """Runs `bench` in this process -> (exit code, standard output, standard error)."""

    def call(*arguments: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["bench", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            main()
        printed = capsys.readouterr()
        return int(ended.value.code or 0), printed.out, printed.err

    return call
