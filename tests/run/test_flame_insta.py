"""Subjects tracked with FLAME, in every preparation of INSTA's layout, go from their folder to the table.

The head has FLAME's sizes and file format but nothing of its content; no folder has a head_model.json.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from headbench.datasets.insta.reader import InstaReader
from headbench.harness.files import read_json
from headbench.harness.options import Execution
from headbench.harness.plugins import registry as find_registry
from headbench.harness.plugins.checks import preset_values
from headbench.harness.run import State, cell_folder, read_cells
from headbench.harness.run.config import apply_settings, parse_setting
from headbench.harness.train.setup import prepare
from headbench.harness.types import HeadParams

FRAMES = range(9)
METHODS = ("FateAvatar", "GaussianAvatars", "nearest-frame")
CAP = "mouth cap of 30 faces built over the lip boundary"


def patched(author: Any) -> None:
    """INSTA's script as FateAvatar's authors patched it: text files of all coefficients."""


def stock(author: Any) -> None:
    """INSTA as published dumps the expression alone."""
    author.frame_files()
    author.remove("flame/eyes", "flame/jaw", "flame/shape", "flame/eyelids")


def tracker(author: Any) -> None:
    """No text files and no face parsing."""
    author.frame_files()
    author.remove("flame", "parsing")


def matted(author: Any) -> None:
    """Before INSTA's last step: soft alpha."""
    (author.folder / "images").rename(author.folder / "matted")


def plain_images(author: Any) -> None:
    """FlashAvatar's folders: JPEGs of the video beside their mattes."""
    author.remove("images")
    for place in ("imgs", "alpha"):
        (author.folder / place).mkdir()
    for frame in FRAMES:
        Image.fromarray(author.image(frame)[..., :3]).save(author.folder / f"imgs/{frame:05d}.jpg", quality=95)
        Image.fromarray(author.image(frame)[..., 3]).save(author.folder / f"alpha/{frame:05d}.jpg", quality=95)


def separate_alpha(author: Any) -> None:
    """images/ without their fourth channel."""
    (author.folder / "alpha").mkdir()
    for frame in FRAMES:
        Image.fromarray(author.image(frame)[..., :3]).save(author.folder / f"images/{frame:05d}.png")
        Image.fromarray(author.image(frame)[..., 3]).save(author.folder / f"alpha/{frame:05d}.png")


VARIANTS: dict[str, tuple[Callable[[Any], None], str, str]] = {
    "patched": (patched, "insta/fate", ""),
    "stock": (stock, "insta/original", "jaw, eyes, eyelids, shape read from checkpoint/*.frame (no text files)"),
    "tracker": (tracker, "insta/tracker", "mouth masks projected from the head mesh (parsing/ has not all of them)"),
    "matted": (matted, "insta/fate-matted", "no images/: images read from matted/ (soft alpha, clothing removed)"),
    "imgs": (plain_images, "insta/fate-imgs", "no images/: images read from imgs/ with alpha/ (clothing not removed)"),
    "alpha": (separate_alpha, "insta/fate", "alpha of 9 of 9 images read from alpha/ (images are RGB)"),
}
"""subject -> how its folder is made from a patched one, what the reader calls it, what the table says of it"""


@pytest.fixture
def home(flame_home: Path) -> Path:
    """Where `bench` finds the synthetic FLAME."""
    return flame_home


@pytest.fixture
def subjects(insta_format: ModuleType, tmp_path: Path) -> Path:
    """A data root with a subject of every variant."""
    for name, (change, _, _) in VARIANTS.items():
        author = insta_format.Author(tmp_path / "D" / "insta" / name)
        author.write()
        change(author)
        assert not (author.folder / "head_model.json").exists()
    return tmp_path / "D"


def run(bench: Callable[..., Any], root: Path, methods: Sequence[str], names: Sequence[str], out: Path) -> None:
    """Every method on every subject, and what the table says of them."""
    settings = []
    for method in set(methods) - {"nearest-frame"}:
        settings += ["--set", f"{method.lower()}.train.steps=3", "--set", f"{method.lower()}.train.resolution=32"]
    done = bench(
        "run", "--methods", ",".join(methods), "--datasets", f"insta[{','.join(names)}]", "--data-root", root,
        "--preset", "demo", "--device", "cpu", "--label", "short", "--out", out, *settings, "--no-report",
    )  # fmt: skip
    assert done.code == 0, done
    records = read_cells(out)
    assert {(r.cell.method, r.cell.subject, r.state) for r in records} == {
        (method, name, State.DONE) for method in methods for name in names
    }
    assert bench("report", out, "--no-figures").code == 0
    table = read_json(out / "report" / "headbench@1.json")
    shown = {(row["method"], row["subject"]): row for row in table["rows"] if row["kind"] == "subject"}
    assert shown.keys() == {(method, name) for method in methods for name in names}
    for (method, name), row in shown.items():
        assert row["state"] == "done" and np.isfinite(row["values"]["psnr"]["mean"])
        notes = [table["notes"][number - 1] for number in row["notes"]]
        assert any(VARIANTS[name][2] in note for note in notes), (method, name, notes)
        assert (CAP in notes) == (method == "FateAvatar")
    for record in records:
        folder = cell_folder(out, record.cell)
        assert sorted(p.stem for p in (folder / "renders" / "train-white").glob("*.png")) == ["00006", "00007", "00008"]
        summary = read_json(folder / "stages" / "train" / "summary.json")
        assert summary["steps"] == (0 if record.cell.method == "nearest-frame" else 3)


@pytest.mark.slow
def test_methods_run_on_what_the_flame_tracker_left_alone(bench, subjects: Path, tmp_path: Path) -> None:
    run(bench, subjects, METHODS, ["tracker"], tmp_path / "out")


@pytest.mark.slow
def test_every_method_runs_on_every_variant(bench, subjects: Path, tmp_path: Path) -> None:
    run(bench, subjects, METHODS, list(VARIANTS), tmp_path / "out")


@pytest.mark.parametrize("name", VARIANTS)
def test_every_variant_is_flame_2020_and_tells_its_name(subjects: Path, name: str) -> None:
    subject = InstaReader().read(subjects / "insta" / name, {})
    assert subject.head == "flame2020" and subject.variant == VARIANTS[name][1]
    assert any(VARIANTS[name][2] in note for note in subject.notes)
    # One number of each kind, whatever file it came from.
    params = subject.train[5].params
    assert params.jaw[0, 0] == pytest.approx(0.25, abs=1e-5)
    assert params.eyelids is not None
    assert params.eyelids[0].tolist() == pytest.approx([0.2, 0.4], abs=1e-6)
    assert subject.shape[0, :3].tolist() == [0.5, -0.25, 0.125]


@pytest.mark.parametrize(
    ("method", "preset", "topology", "vertices", "faces"),
    [
        ("GaussianAvatars", "official", "teeth", 5143, 10144),
        pytest.param("GaussianAvatars", "official", "open", 5023, 9976, marks=pytest.mark.slow),
        pytest.param("FateAvatar", "demo", "mouth_closed", 5023, 10006, marks=pytest.mark.slow),
    ],
)
def test_avatars_are_made_and_driven_on_flame(
    flame_home: Path, subjects: Path, method: str, preset: str, topology: str, vertices: int, faces: int
) -> None:
    spec = find_registry().method(method)
    kind = find_registry().load_method(method)
    chosen = [parse_setting(f"{method.lower()}.head_topology={topology}")]
    config = apply_settings(kind, preset_values(spec, preset), chosen)
    subject = InstaReader().read(subjects / "insta" / "patched", {})
    parts = prepare(kind, config, subject, Execution(device="cpu"))
    assert (CAP in parts.notes) == (topology == "mouth_closed")
    with torch.no_grad():
        drive = parts.portrait.drive(HeadParams.join([frame.params for frame in subject.test[:2]]))
    assert drive.vertices.shape == (2, vertices, 3)
    assert len(parts.portrait.head.faces) == faces
    means = drive.gaussians.means.numpy()
    assert means.shape[0] == 2 and np.isfinite(means).all()
    assert np.abs(means[0] - means[1]).max() > 1e-3
    if method == "GaussianAvatars":
        centroids = drive.vertices[:, parts.portrait.head.faces].mean(dim=2)
        np.testing.assert_allclose(means, centroids.numpy(), atol=1e-6)
