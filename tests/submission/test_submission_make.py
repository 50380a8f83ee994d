"""From trained cells to a zip: what is rendered, what is kept, what a kill leaves, and what is refused."""

from __future__ import annotations

import io
import os
import shutil
import signal
import subprocess
import sys
import time
import zipfile
from collections import Counter
from pathlib import Path

import av
import numpy as np
import pytest
import torch

from headbench.harness.errors import BenchError, DataError
from headbench.harness.files import read_json, sha256_of, write_json
from headbench.harness.plugins.submissions import VideoSlot
from headbench.submission import Choice, Order, make_submission, read_ledger, task_of, write_zip
from headbench.submission.videos import complete, make_video, marker


def quiet(line: str) -> None:
    return None


@pytest.fixture
def run(trained, tmp_path: Path) -> Path:
    """A run of its own, with the cells of `trained`."""
    copy = tmp_path / "run"
    copy.mkdir()
    for name in ("plan.json", "cells"):
        (copy / name).symlink_to(trained / name)
    return copy


@pytest.fixture
def drawn(run: Path, made) -> Path:
    """The same with the videos and the zip of `made`, as if it had been made there."""
    shutil.copytree(next(parent for parent in made.zip.parents if parent.name == "submissions"), run / "submissions")
    return run


def videos(run: Path) -> dict[str, int]:
    """Complete videos of a run and when they were written."""
    return {
        str(path.relative_to(run)): path.stat().st_mtime_ns
        for path in run.glob("submissions/**/*.mp4")
        if marker(path).is_file()
    }


def test_the_doctor_finds_nothing_in_a_zip_of_the_official_layout(made) -> None:
    assert made.findings == []
    with zipfile.ZipFile(made.zip) as archive:
        assert archive.testzip() is None
        names = archive.namelist()
        assert {info.compress_type for info in archive.infolist()} == {zipfile.ZIP_STORED}
    people, sequences, cameras = ("007", "011"), ("FREE", "EMO+joy"), ("100", "200")
    assert sorted(names) == sorted(f"{p}/{s}/cam_{c}.mp4" for p in people for s in sequences for c in cameras)


def test_a_video_has_the_size_rate_and_pixels_of_the_task_and_shows_what_the_avatar_shows(made, toys, stage) -> None:
    from headbench_stage.puppet import draw

    reader = task_of(toys, "stage")[1]
    view = next(v for v in reader.hidden(stage / "stage" / "007", {}) if (v.sequence, v.camera_id) == ("FREE", "200"))
    with zipfile.ZipFile(made.zip) as archive:
        content = archive.read("007/FREE/cam_200.mp4")
    with av.open(io.BytesIO(content)) as container:
        stream = container.streams.video[0]
        assert (stream.codec_context.name, stream.codec_context.pix_fmt) == ("h264", "yuv420p")
        assert stream.average_rate * 10 == 243
        shown = np.stack([frame.to_ndarray(format="rgb24") for frame in container.decode(stream)])
    assert shown.shape == (32, 64, 64, 3)
    assert view.camera.width == 32, "rendered in the task's size, though the data is smaller"
    camera = view.camera.resized(64, 64)
    for row in (0, 17, 31):
        expected = draw(view.params.rows(slice(row, row + 1)), camera, torch.ones(1, 3))[0][0] * 255
        error = (torch.from_numpy(shown[row]).permute(2, 0, 1) - expected).square().mean()
        assert 10 * torch.log10(255**2 / error) > 30


def test_the_record_says_where_everything_comes_from(made, trained) -> None:
    record = read_json(made.record)
    assert made.record.name == "submission.json" and made.record.parent == made.zip.parent
    assert record["zip"] == {
        "name": "submission.zip",
        "sha256": sha256_of(made.zip),
        "bytes": made.zip.stat().st_size,
    }
    assert (record["task"], record["method"], record["preset"]) == ("toy_avatar", "Puppet", "demo")
    assert (record["tracking"], record["dataset"], record["seed"]) == ("v2", "stage", 0)
    assert set(record["code"]) == {"commit", "dirty"}
    for subject in ("007", "011"):
        cell = record["cells"][subject]
        folder = trained / "cells" / cell["path"]
        assert cell["weights"] == sha256_of(folder / "stages" / "train" / cell["checkpoint"] / "model.safetensors")
        assert cell["code"] == read_json(folder / "provenance.json")["code"]
    with zipfile.ZipFile(made.zip) as archive:
        for member, video in record["videos"].items():
            info = archive.getinfo(member)
            assert (video["frames"], video["bytes"]) == (32, info.file_size)
            assert 32 < video["encoding"]["worst"] <= video["encoding"]["mean"] < 60
    assert record["doctor"] == []
    assert "not what the benchmark scores" in record["proxy"]["what"]


@pytest.mark.slow
def test_local_scores_go_into_the_record(trained, toys, tmp_path: Path) -> None:
    from headbench.metrics import FrameScore, Scores, load_protocol, write_scores

    run = tmp_path / "run"
    shutil.copytree(trained, run, ignore=shutil.ignore_patterns("submissions"))
    for number, cell in enumerate(sorted((run / "cells").glob("*/*/*/seed0"))):
        frames = [FrameScore(k, {"psnr": v + number, "ssim": 0.8}) for k, v in (("a", 20.0), ("b", 22.0))]
        scores = cell / "scores" / "headbench@1.jsonl"
        write_scores(scores, Scores.of(load_protocol("headbench@1"), frames))
        write_json(scores.with_suffix(".json"), {"scores": sha256_of(scores)})
    record = read_json(make_submission(Order(run, "stage", device="cpu"), toys, quiet).record)
    assert [cell["scores"]["headbench@1"]["psnr"] for cell in record["cells"].values()] == [21.0, 22.0]
    proxy = record["proxy"]["protocols"]["headbench@1"]
    assert proxy["psnr"] == 21.5 and proxy["lpips_alex"] is None and "lpips/alex" not in proxy
    assert record["proxy"]["protocols"]["headbench@1"]["test_time_tracking"] is False
    assert record["proxy"]["protocols"]["headbench@1"]["hash"] == load_protocol("headbench@1").hash


@pytest.mark.slow
def test_what_is_complete_is_kept_and_what_is_not_is_made_again(drawn: Path, toys) -> None:
    run = drawn
    order = Order(run, "stage", device="cpu")
    first = videos(run)
    assert len(first) == 8
    names = sorted(first)
    (run / names[0]).unlink()
    marker(run / names[1]).unlink()
    damaged = bytearray((run / names[2]).read_bytes())
    damaged[-1] ^= 1
    (run / names[2]).write_bytes(damaged)
    (run / names[3]).with_name(".cam_100.mp4.12345678.part").write_bytes(b"half")
    lines: list[str] = []
    made = make_submission(order, toys, lines.append)
    assert made.findings == []
    second = videos(run)
    assert [name for name in names if second[name] != first[name]] == names[:3]
    assert not list(run.glob("submissions/**/*.part"))
    assert sum("there already" in line for line in lines) == 2


def test_the_same_videos_give_the_same_zip(made, tmp_path: Path) -> None:
    folder = made.zip.parent / "videos"
    members = {str(path.relative_to(folder)): path for path in sorted(folder.rglob("*.mp4"))}
    digests = set()
    for name in ("a.zip", "b.zip"):
        write_zip(tmp_path / name, members)
        digests.add(sha256_of(tmp_path / name))
        time.sleep(0.01)
    assert len(digests) == 1


@pytest.mark.slow
def test_other_tracking_makes_all_videos_of_that_person_again(drawn: Path, person, toys, tmp_path) -> None:
    run = drawn
    first = videos(run)
    assert len(first) == 8
    root = tmp_path / "data"
    person(root, "007")
    person(root, "011", size=48)
    made = make_submission(Order(run, "stage", data_root=root, device="cpu"), toys, quiet)
    second = videos(run)
    assert made.findings == []
    assert Counter(name.split("videos/")[1][:3] for name in first if first[name] != second[name]) == {"011": 4}


KILLED = """
import itertools, sys, time
from pathlib import Path
import torch
from headbench_stage.puppet import Slow
from headbench.harness.plugins import registry
from headbench.submission import Choice, Order, make_submission
torch.set_num_threads(1)
order = Order(Path(sys.argv[1]), "stage", Choice("Slow"), device="cpu")
said, drawn, render = itertools.count(1), itertools.count(1), Slow.render
def stand(*given):
    if next(drawn) == 10:
        print("drawing", flush=True)
        time.sleep(600)
    return render(*given)
def say(line):
    print(line, flush=True)
    if next(said) == 3:
        Slow.render = stand
make_submission(order, registry(), say)
"""
"""Stands still in the middle of the fourth video."""


@pytest.mark.slow
def test_a_kill_at_any_moment_loses_at_most_one_video(train, stage, toys, toy_site: Path, tmp_path: Path) -> None:
    run = train(tmp_path / "run", stage, "Slow")
    environment = os.environ | {"PYTHONPATH": str(toy_site), "HEADBENCH_HOME": str(tmp_path / "home")}
    command = [sys.executable, "-P", "-c", KILLED, str(run)]
    begun = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True)
    for _ in range(3):
        assert "frames" in begun.stdout.readline()
    assert begun.stdout.readline() == "drawing\n"
    begun.send_signal(signal.SIGKILL)
    begun.wait()
    begun.stdout.close()
    first = videos(run)
    assert len(first) == 3 and not list(run.rglob("*.zip"))
    done = make_submission(Order(run, "stage", Choice("Slow"), device="cpu"), toys, quiet)
    second = videos(run)
    assert done.findings == [] and len(second) == 8
    assert {name: second[name] for name in first} == first


def test_a_value_that_is_no_number_is_named_before_it_is_encoded(train, stage, toys, tmp_path: Path) -> None:
    run = train(tmp_path / "run", stage, "Torn", seeds=(0,))
    with pytest.raises(BenchError, match=r"camera \d+, frame \S+_\d{5}: the render has values that are not finite"):
        make_submission(Order(run, "stage", device="cpu"), toys, quiet)
    assert not list(run.glob("submissions/**/*.part")) and not list(run.rglob("*.zip"))
    assert all(marker(path).is_file() for path in run.glob("submissions/**/*.mp4"))
    assert read_ledger() == []


@pytest.mark.slow
def test_a_run_that_trained_several_things_asks_for_one(train, stage, toys, tmp_path: Path) -> None:
    run = train(tmp_path / "run", stage, "Puppet", "Torn", "Still")
    with pytest.raises(BenchError, match="2 trainings that could be submitted: Puppet demo seed 0; Torn demo seed 0"):
        make_submission(Order(run, "stage"), toys, quiet)
    with pytest.raises(BenchError, match=r"Unknown method 'Pupet'. Did you mean 'Puppet'"):
        make_submission(Order(run, "stage", Choice("Pupet")), toys, quiet)
    with pytest.raises(BenchError, match="has nothing that fits what was asked for; it has Puppet demo seed 0"):
        make_submission(Order(run, "stage", Choice(seed=3)), toys, quiet)
    made = make_submission(Order(run, "stage", Choice("still"), device="cpu"), toys, quiet)
    kinds = {finding.message.partition(":")[0] for finding in made.findings}
    assert kinds == {"order"} or "constant" in kinds, "a head that stays where it is does not pass"
    assert read_json(made.record)["doctor"] != [] and read_ledger()[-1].errors == len(made.findings)


def test_a_person_without_a_finished_cell_is_named(train, person, toys, tmp_path: Path) -> None:
    root = tmp_path / "data"
    person(root, "007")
    run = train(tmp_path / "run", root, "Puppet")
    with pytest.raises(BenchError, match=r"no finished cell of 011 \(not in this run\); toy benchmark v1 wants all 2"):
        make_submission(Order(run, "stage"), toys, quiet)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"dataset": "insta"}, "Dataset insta has no benchmark that takes submissions"),
        ({"dataset": "backstage"}, "Dataset backstage has no benchmark that takes submissions"),
        ({"dataset": "stag"}, "Unknown dataset 'stag'. Did you mean"),
        ({"out": Path("x.mp4")}, "a submission is a zip"),
    ],
)
def test_what_cannot_be_submitted(trained, toys, arguments: dict, message: str) -> None:
    with pytest.raises(BenchError, match=message):
        make_submission(Order(**({"run": trained, "dataset": "stage", "device": "cpu"} | arguments)), toys, quiet)


def test_a_run_of_other_data_is_refused(toys, tmp_path: Path) -> None:
    (tmp_path / "plan.json").write_text('{"cells": []}')
    with pytest.raises(BenchError, match="has no cells of dataset stage"):
        make_submission(Order(tmp_path, "stage"), toys, quiet)


def test_old_tracking_is_refused(trained, toys, person, tmp_path: Path) -> None:
    for name in ("007", "011"):
        person(tmp_path, name, tracking="v1")
    with pytest.raises(DataError, match="toy benchmark v1 wants v2, FREE has v1"):
        make_submission(Order(trained, "stage", data_root=tmp_path, device="cpu"), toys, quiet)


def test_an_encoder_that_fails_ends_the_drawing(toys, tmp_path: Path) -> None:
    task = task_of(toys, "stage")[2]

    def chunks():
        yield np.zeros((8, 64, 64, 3), np.uint8)
        while True:
            yield np.zeros((8, 32, 64, 3), np.uint8)
            assert time.monotonic() < deadline, "the drawing went on"

    deadline = time.monotonic() + 20
    with pytest.raises(BenchError, match=r"image 8 has shape \(32, 64, 3\)"):
        make_video(tmp_path / "a.mp4", chunks(), task, {})
    assert list(tmp_path.iterdir()) == []
    assert complete(tmp_path / "a.mp4", {}) is None


def test_the_benchmark_of_nersemble_is_registered_and_wants_80_videos(toys) -> None:
    _, _, task = task_of(toys, "nersemble")
    assert (task.name, task.width, task.height, task.fps, task.crf) == ("mono_flame_avatar", 512, 512, 24.3, 14)
    assert (task.tracking, task.quota, task.background) == ("flame2023_tracking_v2", 10, "white")
    assert len(task.videos) == len({slot.member for slot in task.videos}) == 80
    assert task.videos[0] == VideoSlot("393/FREE/cam_222200037.mp4", "393", "FREE", "222200037")
