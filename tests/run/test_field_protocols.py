"""`bench run` and `bench score` with the protocols of the field, on data that have what they need and on others."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from headbench.datasets.synthetic import write_synthetic
from headbench.harness.files import read_json
from headbench.metrics import load_protocol, protocol_names, read_scores
from headbench.reports import build_table


def table_of(run: Path, name: str) -> dict[str, str | float]:
    """Label of each metric's column -> its value in the only row, or the reason why there is none."""
    table = build_table(run, name)
    (row,) = table.rows
    return {
        column.label: value.reason if value.mean is None else value.mean
        for column, value in zip(table.columns, row.values, strict=True)
    }


@pytest.mark.slow
def test_floats_are_rendered_once_and_scored_again_and_what_data_lack_is_one_sentence(bench, faces, tmp_path) -> None:
    asked = "headbench@1,fateavatar@1,imavatar@1,monogaussianavatar-no-cloth@1"
    shutil.rmtree(faces / "discs/ben")
    run = ["run", "--methods", "Average", "--datasets", "discs", "--data-root", faces, "--no-report"]
    done = bench(*run, "--out", "out", "--device", "cpu", "--protocol", asked)
    assert done.code == 0, done
    (cell,) = (tmp_path / "out/cells").glob("*/discs/anna/seed0")
    keys = sorted(path.name for path in (cell / "renders").iterdir())
    assert keys[:2] == ["train-white", "train-white-float"] and keys[2].startswith("train-white-tracked-")
    names = {path.suffix for path in (cell / "renders/train-white-float").iterdir()}
    assert names == {".png", ".safetensors", ".json", ".txt"}
    assert read_json(cell / "renders/train-white-float/render.json")["floats"] is True
    assert "floats" not in read_json(cell / "renders/train-white/render.json")
    numbers = table_of(tmp_path / "out", "fateavatar@1")
    assert numbers["PSNR"] > 5 and numbers["LPIPS-alex"].startswith("n/a (weights missing")
    assert read_scores(cell / "scores/fateavatar@1.jsonl").added_frames == 1e-6
    for name, words in (
        ("imavatar@1", "n/a (region landmark-hull needs landmarks; the data have none)"),
        ("monogaussianavatar-no-cloth@1", "n/a (region no-cloth needs the mask cloth; the data have mouth)"),
    ):
        found = table_of(tmp_path / "out", name)
        assert {found[label] for label in ("PSNR", "SSIM", "LPIPS-alex")} == {words}

    # The same floats serve other protocols; and what is stored is what was scored.
    before = {path: path.stat().st_mtime_ns for path in (cell / "renders").rglob("*.safetensors")}
    done = bench("score", "out", "--device", "cpu", "--protocol", "splattingavatar@1,gaussianavatars-train@1")
    assert done.code == 0, done
    assert {path: path.stat().st_mtime_ns for path in before} == before
    assert table_of(tmp_path / "out", "splattingavatar@1")["PSNR"] == pytest.approx(numbers["PSNR"], abs=1e-3)
    done = bench("verify", "out")
    assert done.code == 0, done
    first = next(iter(before))
    first.write_bytes(first.read_bytes()[:-1] + b"\0")
    done = bench("verify", "out")
    assert done.code == 2 and f"frame {first.stem}" in done.out and first.name in done.out


@pytest.fixture(scope="module")
def dressed(tmp_path_factory) -> Path:
    """A data root with one synthetic subject in IMAvatar's layout, which has landmarks and a collar."""
    root = tmp_path_factory.mktemp("dressed")
    write_synthetic(root, "imavatar", 1, 6, 64, 1, lambda line: None, workers=1)
    return root


@pytest.mark.slow
def test_every_protocol_scores_data_that_have_what_it_needs(bench, dressed, tmp_path) -> None:
    names = [name for name in protocol_names() if "around" not in name and "regions" not in name]
    run = ["run", "--methods", "nearest-frame", "--datasets", "imavatar", "--data-root", dressed, "--no-report"]
    done = bench(*run, "--out", "out", "--device", "cpu", "--protocol", ",".join(names))
    assert done.code == 0, done
    found = {name: table_of(tmp_path / "out", name) for name in names}
    assert all(numbers["PSNR"] > 5 and 0 < numbers["SSIM"] < 1 for numbers in found.values())
    assert len({round(numbers["PSNR"], 4) for numbers in found.values()}) >= 5
    assert found["pointavatar-no-cloth@1"] == found["monogaussianavatar-no-cloth@1"]
    # The same renders as a folder of somebody's have the same scores, frame by frame.
    (cell,) = (tmp_path / "out/cells").glob("*/*/*/*")
    folders: dict[str, list[str]] = {}
    for name in names:
        folders.setdefault(load_protocol(name).render_key, []).append(name)
    for key, asked in folders.items():
        truth = ("--truth", "imavatar/synth00", "--data-root", dressed, "--device", "cpu")
        line = ("--renders", cell / "renders" / key, *truth, "--protocol", ",".join(asked), "--out", tmp_path / "again")
        assert bench("score", *line).code == 0
        for name in asked:
            of_run, again = (read_scores(at / f"{name}.jsonl") for at in (cell / "scores", tmp_path / "again"))
            assert again.frames == of_run.frames and of_run.frames
    # Without the face parser's classes, and without landmarks, one sentence each.
    for place in (dressed / "imavatar/synth00").glob("*/semantic"):
        shutil.rmtree(place)
    assert bench(*run, "--out", "bare", "--device", "cpu", "--protocol", "pointavatar-no-cloth@1").code == 0
    reason = "n/a (region no-cloth needs the mask cloth; the data have mouth)"
    assert table_of(tmp_path / "bare", "pointavatar-no-cloth@1")["PSNR"] == reason
