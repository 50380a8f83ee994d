"""A run folder of checkpoint format 1: no hashes, no seals, no stage.json, four literal scores a frame."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from safetensors.torch import load_file, save_file

from headbench.harness.files import read_json, sha256_of, write_json
from headbench.harness.layout import CellFolder
from headbench.harness.staged import read_stage
from headbench.harness.trained import WEIGHTS
from headbench.harness.way import Way
from headbench.metrics.stored import read_scores

ANNA = ("--datasets", "discs[anna]", "--out", "out", "--rasterizer", "torch", "--no-report")
CELL = Path("out/cells/blobs-demo/discs/anna/seed0")
TRAINED = CELL / "stages" / "train"
SCORES = CELL / "scores" / "headbench@1.jsonl"
EXECUTION = ("device", "rasterizer", "checkpoint_every", "deterministic", "tensorboard")
STATE = ("step", "about", "config", "seconds", "seed", "identity")
NUMBERS = {"psnr": "psnr", "ssim": "ssim", "lpips_alex": "lpips/alex", "lpips_vgg": "lpips/vgg"}


def _rewritten(path: Path, change: Callable[[dict], dict]) -> None:
    values = change(read_json(path))
    write_json(path, {key: value for key, value in values.items() if key != "seal"})


def _without(*names: str) -> Callable[[dict], dict]:
    return lambda values: {key: value for key, value in values.items() if key not in names}


def _flat_job(values: dict) -> dict:
    options = {name: values["execution"][name] for name in EXECUTION}
    return _without("execution", "resources", "stages")(values) | options


def _four_scores() -> None:
    """The file of scores with a literal field a metric, and its marker."""
    header, *rows = [json.loads(line) for line in SCORES.read_text().splitlines()]
    reasons = {old: header["absent"][new]["text"] for old, new in NUMBERS.items() if new in header["absent"]}
    named = ("protocol", "version", "hash", "render_key", "weights", "versions", "device", "frames")
    lines = [{name: header[name] for name in named} | {"reasons": reasons}]
    lines += [{"id": row["id"]} | {old: row["scores"].get(new) for old, new in NUMBERS.items()} for row in rows]
    SCORES.write_text("".join(json.dumps(line) + "\n" for line in lines))
    _rewritten(SCORES.with_suffix(".json"), lambda values: values | {"scores": sha256_of(SCORES)})


def _make_old() -> None:
    """Take from the run's folder what the version before did not write, and write the rest as it did."""
    _rewritten(CELL / "cell.json", _without("stages"))
    _rewritten(CELL / "job.json", _flat_job)
    _rewritten(Path("out/plan.json"), _without("asked"))
    for name in ("provenance.json", "speed.json", "renders/train-white/render.json"):
        _rewritten(CELL / name, dict)
    if (TRAINED / "summary.json").is_file():
        _rewritten(TRAINED / "summary.json", dict)
    (TRAINED / "stage.json").unlink()
    for state in TRAINED.glob("checkpoint-*/state.json"):
        _rewritten(state, lambda values: {"format": 1} | {name: values[name] for name in STATE})
    _four_scores()


def _digests(*ends: str) -> dict[str, str]:
    files = (path for path in sorted(CELL.rglob("*")) if path.name.endswith(ends))
    return {str(path): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


@pytest.fixture
def old(bench, blobs: Path, faces: Path):
    """What runs the same command in `tmp_path` again; it has trained 12 steps there, and all of it is made old."""

    def run():
        return bench("run", "--methods", "blobs", "--data-root", faces, *ANNA, "--checkpoint-every", 6, site=blobs)

    done = run()
    assert done.code == 0, done
    _make_old()
    assert {path.name for path in TRAINED.iterdir() if path.is_dir()} >= {"checkpoint-6", "checkpoint-12"}
    for path in CELL.rglob("*.json"):
        text = path.read_text()
        assert "seal" not in text and ("sha256" not in text or path.parent.name == "discs"), path
    return run


@pytest.mark.slow
def test_a_finished_run_of_before_is_read_by_every_command_and_changed_by_none(old, bench):
    before = _digests(".png", ".safetensors", ".jsonl", "state.json", "summary.json", "speed.json")
    scored = read_scores(SCORES)
    assert [frame.id for frame in scored.frames] == ["00006", "00007", "00008"]
    assert all(frame.values["psnr"] > 0 for frame in scored.frames) and {*scored.absent} == {"lpips/alex", "lpips/vgg"}
    status = bench("status", "out")
    assert status.code == 0 and "1 done" in status.out, status
    report = bench("report", "out")
    assert report.code == 0 and f"{scored.mean('psnr'):.2f}" in report.out and "weights missing" in report.out, report
    verified = bench("verify", "out")
    assert verified.code == 0 and "an older version kept no hashes of it" in verified.out + verified.err, verified
    assert "3 frames scored again: all is as it was written" in verified.out, verified
    again = bench("score", "out", "--protocol", "headbench@1")
    assert again.code == 0 and "lacks" not in again.err, again
    shown = bench("render", CELL, "--frames", 2, "--out", "orbit", "--rasterizer", "torch")
    assert shown.code == 0 and len(list(Path("orbit").glob("*.png"))) == 2, shown
    done = old()
    assert done.code == 0 and "1 done" in done.out, done
    after = _digests(".png", ".safetensors", ".jsonl", "state.json", "summary.json", "speed.json")
    assert after == before


@pytest.mark.slow
def test_an_old_run_whose_scores_are_gone_is_scored_the_same_again(old, bench):
    before = read_scores(SCORES)
    shutil.rmtree(SCORES.parent)
    done = bench("score", "out", "--protocol", "headbench@1")
    assert done.code == 0, done
    after = read_scores(SCORES)
    assert [frame.values for frame in after.frames] == [frame.values for frame in before.frames]


@pytest.mark.slow
@pytest.mark.tried(
    "faults in runs",
    "a run of the version before, interrupted in training and begun again by this one",
    "training goes on from its checkpoint to the same weights and scores",
)
def test_an_unfinished_run_of_before_goes_on_to_the_same_end(old, bench):
    weights, before = sha256_of(TRAINED / "checkpoint-12" / WEIGHTS[0]), read_scores(SCORES)
    kept = sha256_of(TRAINED / "checkpoint-6" / WEIGHTS[0])
    shutil.rmtree(TRAINED / "checkpoint-12")
    for name in ("scores", "renders"):
        shutil.rmtree(CELL / name)
    for path in (TRAINED / "summary.json", CELL / "speed.json"):
        path.unlink()
    _rewritten(
        CELL / "cell.json", lambda values: values | {"state": "interrupted", "reason": "stopped", "finished": ""}
    )
    done = old()
    assert done.code == 0 and "1 done" in done.out, done
    assert sha256_of(TRAINED / "checkpoint-12" / WEIGHTS[0]) == weights
    assert sha256_of(TRAINED / "checkpoint-6" / WEIGHTS[0]) == kept
    assert [frame.values for frame in read_scores(SCORES).frames] == [frame.values for frame in before.frames]
    assert read_json(TRAINED / "checkpoint-12" / "state.json")["format"] == 2


@pytest.mark.slow
@pytest.mark.tried("faults in runs", "weights of the version before, cut in half", "they are trained again")
def test_cut_weights_of_before_are_seen_though_nothing_has_hashed_them(old, bench):
    path = TRAINED / "checkpoint-12" / WEIGHTS[0]
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    done = old()
    assert done.code == 0, done
    assert path.read_bytes() == whole


@pytest.fixture
def old_average(bench, faces: Path, installed_tints: Path):
    """As `old`, of a method that the stages of headbench-tints fit; the command takes more options."""

    def run(*more):
        asked = ("run", "--methods", "average", "--data-root", faces, *ANNA, "--protocol", "none")
        return bench(*asked, *more, site=installed_tints)

    done = run()
    assert done.code == 0, done
    trained = Path("out/cells/average-demo/discs/anna/seed0/stages/train")
    (trained / "stage.json").unlink()
    _rewritten(trained / "summary.json", dict)
    (state,) = trained.glob("checkpoint-*/state.json")
    _rewritten(state, lambda values: {"format": 1} | {name: values[name] for name in STATE})
    return run, state.parent


@pytest.mark.slow
def test_a_stage_made_from_a_checkpoint_of_before_knows_what_it_was_made_from(old_average):
    run, checkpoint = old_average
    asked = ("--stages", "train,train/tint:red")
    done = run(*asked)
    assert done.code == 0, done
    made = read_stage(CellFolder(checkpoint.parents[2]).stage(Way.parse("train/tint:red")).folder)
    assert made is not None
    assert {made.inputs[f"train's {name}"] for name in WEIGHTS} == {sha256_of(checkpoint / name) for name in WEIGHTS}
    assert "stale" not in run(*asked).out
    tensors = load_file(checkpoint / WEIGHTS[0])
    save_file(tensors | {"portrait/colour": tensors["portrait/colour"] * 0.5}, checkpoint / WEIGHTS[0])
    again = run(*asked)
    assert again.code == 0 and "stage train/tint:red is stale: train's model.safetensors changed" in again.out, again
