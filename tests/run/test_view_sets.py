"""A second set of views in a run: rendered and scored apart, verified, done again when it changes, and missed aloud."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path

import pytest
from PIL import Image

from headbench.datasets.synthetic import write_synthetic
from headbench.harness.files import read_json
from headbench.reports import build_table
from headbench.reports.figures import draw_figures

BOTH = ("--protocol", "headbench@1,headbench-around@1")
NAME = "headbench-around@1"


@pytest.fixture(scope="module")
def written(tmp_path_factory) -> Path:
    """A data root with one subject of 5 frames of 32 x 32 and views of 16 x 16, which are at their smallest."""
    out = tmp_path_factory.mktemp("views")
    write_synthetic(out, "insta", 1, 5, 32, 1, lambda line: None, workers=1, orbit=1, around=True)
    return out


@pytest.fixture
def data(written, tmp_path) -> Path:
    """Two subjects, of which plain has no views from all around."""
    root = tmp_path / "data"
    shutil.copytree(written, root)
    shutil.copytree(root / "insta/synth00", root / "insta/plain")
    shutil.rmtree(root / "insta/plain/truth/around")
    return root


@pytest.fixture
def run(bench, data):
    """run(*more): `bench run` of the baseline on both subjects, by both protocols."""
    common = ("--methods", "nearest-frame", "--datasets", "insta", "--data-root", data, "--preset", "demo")
    return lambda: bench("run", *common, "--device", "cpu", "--limit", 3, "--out", "out", "--no-report", *BOTH)


def cell(root: Path, subject: str) -> Path:
    return root / "out/cells/nearest-frame-demo-limit3/insta" / subject / "seed0"


def repaint(subject: Path) -> None:
    """Another picture of the first view, listed as if it had been so from the start."""
    path = subject / "truth/around/views.json"
    content = json.loads(path.read_text())
    picture = path.parent / content["frames"][0]["image"]
    with Image.open(picture) as image:
        image.transpose(Image.Transpose.FLIP_LEFT_RIGHT).save(picture)
    content["frames"][0]["sha256"] = hashlib.sha256(picture.read_bytes()).hexdigest()
    path.write_text(json.dumps(content))


@pytest.mark.slow
def test_views_are_a_second_set_of_renders_and_scores_that_follow_their_data(bench, run, data, tmp_path) -> None:
    done = run()
    assert done.code == 0, done
    synth, plain = cell(tmp_path, "synth00"), cell(tmp_path, "plain")
    assert sorted(path.name for path in (synth / "renders").iterdir()) == ["train-white", "train-white-all-around"]
    assert [path.name for path in (plain / "renders").iterdir()] == ["train-white"]
    pictures = sorted((synth / "renders/train-white-all-around").glob("*.png"))
    # A limit holds for the views, too.
    assert [path.stem for path in pictures] == ["az000-up", "az120-up", "az240-up"]
    note = read_json(synth / "renders/train-white-all-around/render.json")
    digest = hashlib.sha256((data / "insta/synth00/truth/around/views.json").read_bytes()).hexdigest()
    assert (note["views"], note["viewed"]) == ("all-around", digest)
    assert not {"views", "viewed"} & set(read_json(synth / "renders/train-white/render.json"))
    check_table(tmp_path / "out")
    figures, remarks = draw_figures(tmp_path / "out", tmp_path / "figures")
    assert remarks == [] and [figure.caption.endswith("all-around views") for figure in figures].count(True) == 1
    assert len({figure.grid for figure in figures}) == 3 and all(figure.grid.is_file() for figure in figures)

    # Nothing is left to do, and all is as it was written.
    verified = bench("verify", "out")
    assert verified.code == 0 and "5 frames scored again: all is as it was written" in verified.out, verified
    scored = bench("score", "out", "--protocol", NAME)
    assert scored.code == 0 and scored.out.count("is up to date") == 2

    # A damaged render of a view is named.
    pictures[1].write_bytes(pictures[2].read_bytes())
    broken = bench("verify", "out")
    assert broken.code == 2 and f"frame {pictures[1].stem}" in broken.out and "train-white-all-around" in broken.out

    # Views that changed are rendered and scored again; nothing is trained, and test frames stay as they are.
    before = json.loads((synth / "scores" / f"{NAME}.jsonl").read_text().splitlines()[1])
    trained, tested = synth / "stages/train/summary.json", synth / "scores/headbench@1.json"
    kept = {path: path.stat().st_mtime_ns for path in (trained, tested)}
    repaint(data / "insta/synth00")
    shutil.copytree(data / "insta/synth00/truth/around", data / "insta/plain/truth/around")
    refused = bench("score", "out", "--protocol", NAME, "--force")
    assert refused.code == 2 and "shows all-around views that have changed since" in refused.err, refused
    unsure = bench("verify", "out")
    assert unsure.out.count("since the all-around views of the data are others now") == 2, unsure
    again = run()
    assert again.code == 0 and "the all-around views of the data have changed since" in again.out, again
    after = json.loads((synth / "scores" / f"{NAME}.jsonl").read_text().splitlines()[1])
    assert after["id"] == before["id"] and after["scores"] != before["scores"]
    assert {path: path.stat().st_mtime_ns for path in kept} == kept
    # The subject that had none has them now.
    assert len(list((plain / "renders/train-white-all-around").glob("*.png"))) == 3
    assert bench("verify", "out").code == 0

    # And where views are taken away, scores by them are stale.
    shutil.rmtree(data / "insta/plain/truth/around")
    assert run().code == 0 and bench("verify", "out").code == 0
    check_table(tmp_path / "out")


def check_table(run: Path) -> None:
    """One subject has numbers, the other the reason, and there is no mean over one of two."""
    table = build_table(run, NAME)
    labels = [column.label for column in table.columns[:4]]
    assert labels == ["PSNR visible", "PSNR hidden", "PSNR all", "SSIM"]
    rows = {row.where(): row for row in table.rows}
    assert all(value.mean is not None for value in rows["synth00"].values[:4])
    assert {value.reason for value in rows["plain"].values[:4]} == {"n/a (no all-around views)"}
    assert all(value.reason for value in rows["mean"].values[:4])
    usual = build_table(run, "headbench@1")
    assert all(row.values[0].mean is not None for row in usual.rows)
