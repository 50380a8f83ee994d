"""`bench reenact` from the command line: pictures, videos, sheet and records, and what it refuses."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image

from headbench.datasets.insta.reader import InstaReader
from headbench.harness.image import read_rgb
from headbench.harness.session import Session

FAST = ("--device", "cpu", "--rasterizer", "numba")


def below(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


@pytest.mark.slow
def test_one_driver_and_one_source_give_pictures_a_video_a_sheet_and_a_record(
    bench, checkpoints, people, tmp_path: Path
) -> None:
    root, name, subject = people("imavatar", 6)
    stage, out = checkpoints("insta"), tmp_path / "out"
    code, said, error = bench(
        "reenact", stage, "--driver", f"imavatar/{name}", "--data-root", root, "--limit", 3, "--out", out, *FAST
    )
    assert code == 0, error
    ids = [frame.id for frame in subject.test[:3]]
    place = f"imavatar-{name}-test"
    pair = f"{place}/GaussianAvatars-insta-synth00"
    files = [*(f"{pair}/{each}.png" for each in ids), f"{pair}/reenact.json", f"{place}/reenact.mp4"]
    assert below(out) == sorted([*files, "reenact.json", "sheet.png"])
    assert f"3 images, 1 video and sheet.png in {out}" in said
    assert "note: imavatar/synth00:test drives GaussianAvatars-insta-synth00: expression padded with zeros" in said
    assert "eyelids stay open: the driver was tracked without them" in said
    with av.open(str(out / place / "reenact.mp4")) as video:
        frames = [frame.to_ndarray(format="rgb24") for frame in video.decode(video=0)]
        assert video.streams.video[0].average_rate == 25
    assert len(frames) == 3 and frames[0].shape == (48, 96, 3), "driver | result"
    result = read_rgb(out / pair / f"{ids[0]}.png").astype(float)
    assert np.abs(frames[0][:, 48:] - result).mean() < 8
    record = json.loads((out / pair / "reenact.json").read_text())
    assert record["motion"] == {"from": "root", "to": "camera"}
    assert record["coefficients"] == {"driver": 52, "source": 100} and record["options"]["expression"] == "relative"
    assert [frame["id"] for frame in record["frames"]] == ids
    tracked, driven = record["frames"][0]["driver"], record["frames"][0]["source"]
    # INSTA's form is the motion itself.
    np.testing.assert_allclose(driven["w2c"][:3], record["frames"][0]["head_to_camera"], atol=1e-6)
    assert any(tracked["root"]) and not any(driven["root"]) and driven["jaw"] == tracked["jaw"]
    shift = np.array(driven["expression"][:52]) - tracked["expression"]
    means = np.array(record["means"]["source"]) - record["means"]["driver"]
    np.testing.assert_allclose(shift, means[:52], atol=1e-6)
    # Again into the same place: the earlier result is replaced.
    again = ("--driver", f"imavatar/{name}", "--data-root", root, "--limit", 1, "--out", out, *FAST)
    assert bench("reenact", stage, *again)[0] == 0
    assert f"{pair}/{ids[0]}.png" in below(out) and f"{pair}/{ids[1]}.png" not in below(out)


def test_several_sources_and_drivers_give_a_contact_sheet_and_detours(
    bench, checkpoints, people, tmp_path: Path
) -> None:
    """A cell without Gaussians among them, options by hand, and the loss of a way through another avatar."""
    root, _, _ = people("insta")
    other = people("imavatar", 6)[0]
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "insta").symlink_to(root / "insta")
    (tmp_path / "data" / "imavatar").symlink_to(other / "imavatar")
    sources = checkpoints("insta"), checkpoints("imavatar", "nearest-frame", 6)
    drivers = ("--driver", "insta/synth00:train", "--driver", "imavatar/synth00:test")
    choices = ("--pose", "relative", "--camera", "source", "--eyes", "source", "--smooth", 3, "--background", "black")
    line = ("reenact", *sources, *drivers, "--data-root", tmp_path / "data", "--limit", 2, *choices, *FAST)
    code, _, error = bench(*line, "--detour")
    assert code == 1 and "name a folder for them with --out" in error
    code, said, error = bench(*line, "--detour", "--out", tmp_path / "out")
    assert code == 0, error
    summary = json.loads((tmp_path / "out" / "reenact.json").read_text())
    pairs = {entry["folder"]: entry for entry in summary["pairs"]}
    assert sorted(pairs) == [
        "imavatar-synth00-test/GaussianAvatars-insta-synth00",
        "imavatar-synth00-test/nearest-frame-imavatar-synth00",
        "insta-synth00-train/GaussianAvatars-insta-synth00",
        "insta-synth00-train/nearest-frame-imavatar-synth00",
    ]
    notes = pairs["insta-synth00-train/nearest-frame-imavatar-synth00"]["notes"]
    assert "nearest-frame has no Gaussians: how its pictures follow head and camera is up to the method" in notes
    sheet = np.asarray(Image.open(tmp_path / "out" / "sheet.png"))
    assert sheet.shape == (16 + 4 * (16 + 192 + 4), 3 * (192 + 4), 3)
    detours = pairs["insta-synth00-train/GaussianAvatars-insta-synth00"]["detours"]
    loss = detours["nearest-frame-imavatar-synth00"]
    # 100 coefficients of which 52 are used went through 52, and came back whole.
    assert loss["parameters"]["expression_largest"] < 1e-6 and loss["parameters"]["vertices_largest_mm"] < 1e-2
    assert loss["parameters"]["head_degrees"] < 1e-3 and loss["images"]["frames"] == 2
    assert loss["images"]["psnr_lowest"] is None or loss["images"]["psnr_lowest"] > 45
    assert "by way of nearest-frame-imavatar-synth00: expression" in said
    assert pairs["insta-synth00-train/nearest-frame-imavatar-synth00"]["detours"] == {}


def test_without_a_place_the_result_lies_beside_the_checkpoint(bench, checkpoints, people) -> None:
    root, name, subject = people("insta")
    stage = checkpoints("insta")
    line = ("reenact", stage, "--driver", f"insta/{name}", "--data-root", root, "--limit", 1, *FAST)
    assert bench(*line)[0] == 0
    target = stage / f"driven-by-insta-{name}-test"
    assert (target / f"insta-{name}-test" / "GaussianAvatars-insta-synth00" / f"{subject.test[0].id}.png").is_file()


@pytest.mark.tried(
    "wrong command lines",
    "drivers for `bench reenact` that are not there: dataset, subject, split, frames; places that hold other files",
    "one line each with what is near, and nothing is written",
)
def test_what_cannot_drive_is_said_in_one_line_and_nothing_is_written(
    bench, checkpoints, people, tmp_path: Path
) -> None:
    root, stage = people("insta")[0], checkpoints("insta")
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "note.txt").write_text("mine")
    (tmp_path / "file").touch()
    before = sorted(stage.rglob("*"))
    cases = [
        ("insta", (), "--driver 'insta': expected DATASET/SUBJECT"),
        ("inst/synth00", (), "Unknown dataset 'inst'. Did you mean 'insta'"),
        ("insta/synth0", (), "Unknown subject of insta 'synth0'. Did you mean 'synth00'?"),
        ("insta/synth00:tset", (), "Unknown split 'tset'. Did you mean 'test'?"),
        ("vhap/synth00", (), "vhap"),
        ("insta/synth00", ("--out", tmp_path / "file"), "expected a folder to write into, found a file"),
        ("insta/synth00", ("--out", tmp_path / "file" / "below"), "is no folder"),
        ("insta/synth00", ("--out", tmp_path / "mine"), "expected an empty folder or an earlier result"),
        ("insta/synth00", ("--out", "/proc/new"), "/proc/new cannot be written"),
        ("insta/synth00", ("--detour", "--out", tmp_path / "new"), "--detour needs two SOURCEs"),
        ("insta/synth00", ("--set", "imavatar.matte=mask", "--out", tmp_path / "new"), "only options of insta"),
        ("insta/synth00", ("--set", "insta.nosuch=1", "--out", tmp_path / "new"), "nosuch"),
        ("insta/synth00", ("--smooth", "0"), "--smooth"),
    ]
    for driver, more, words in cases:
        code, out, error = bench("reenact", stage, "--driver", driver, "--data-root", root, *more, *FAST)
        assert code == 1 and words in error and out == "", (driver, more, error)
        assert "Traceback" not in error
    code, _, error = bench("reenact", stage, "--driver", "insta/synth00", "--data-root", tmp_path / "none", *FAST)
    assert code == 1 and "none" in error
    code, _, error = bench("reenact", tmp_path, "--driver", "insta/synth00", "--data-root", root, *FAST)
    assert code == 1 and "is no checkpoint and holds none" in error
    assert sorted(stage.rglob("*")) == before
    assert below(tmp_path) == ["file", "mine/note.txt"]
    line = ("--driver", "insta/synth00", "--data-root", root, "--limit", 1, "--out", tmp_path / "another")
    assert bench("reenact", stage, *line, *FAST)[0] == 0


@pytest.mark.tried(
    "damaged inputs",
    "a driver of another head model, and one without a frame in the split",
    "one line each",
)
def test_drivers_of_another_head_or_without_frames_are_refused(
    bench, checkpoints, people, tmp_path: Path, monkeypatch
) -> None:
    root, stage, read = people("insta")[0], checkpoints("insta"), InstaReader.read
    line = ("reenact", stage, "--driver", "insta/synth00", "--data-root", root, "--out", tmp_path / "out", *FAST)
    monkeypatch.setattr(InstaReader, "read", lambda *given: replace(read(*given), test=()))
    code, _, error = bench(*line)
    assert code == 1 and "--driver insta/synth00: expected frames in the split test of" in error
    assert "help: --driver insta/synth00:train has 18" in error
    trained = ("--driver", "insta/synth00:train", "--data-root", root, "--limit", 1, "--out", tmp_path / "trained")
    assert bench("reenact", stage, *trained, *FAST)[0] == 0
    monkeypatch.setattr(InstaReader, "read", lambda *given: replace(read(*given), test=(), train=()))
    code, _, error = bench(*line)
    assert code == 1 and "expected frames in the split test of" in error and "help" not in error
    monkeypatch.setattr(InstaReader, "read", read)
    other = tmp_path / "other"
    shutil.copytree(root, other, copy_function=lambda a, b: Path(b).symlink_to(a))
    (other / "insta" / "synth00" / "head_model.json").unlink()
    (other / "insta" / "synth00" / "head_model.json").write_text('{"tag": "flame2020"}')
    code, _, error = bench(*line[:5], other, *line[6:])
    found = "driver insta/synth00:test is tracked with head model flame2020, the source is of openhead"
    assert code == 1 and found in error and "help: choose a driver tracked with openhead" in error
    assert not (tmp_path / "out").exists()


@pytest.mark.tried("damaged inputs", "an avatar that renders NaN", "the frame is named, and nothing half-written stays")
def test_a_render_that_fails_leaves_nothing(bench, checkpoints, people, tmp_path: Path, monkeypatch) -> None:
    draw, calls = Session._draw, []

    def fails_later(self, *given):
        image, finite = draw(self, *given)
        calls.append(1)
        return image, finite & (len(calls) < 3)

    monkeypatch.setattr(Session, "_draw", fails_later)
    root, _, subject = people("insta")
    line = ("--driver", "insta/synth00", "--data-root", root, "--out", tmp_path / "out", *FAST)
    code, _, error = bench("reenact", checkpoints("insta"), *line)
    assert code == 1 and f"frame {subject.test[2].id}: the render has values that are not finite" in error
    assert list(tmp_path.iterdir()) == []


def test_the_option_of_before_names_the_command_of_now(bench, checkpoints, people) -> None:
    stage = checkpoints("insta")
    code, _, error = bench("render", stage, "--driver", "data/insta/synth00", *FAST)
    assert code == 1 and "what --driver, --dataset and --limit did is `bench reenact`" in error
    assert f"help: bench reenact {stage} --driver DATASET/SUBJECT --data-root FOLDER" in error
    line = ("--driver", "insta/synth00", "--data-root", people("insta")[0], "--limit", 1)
    assert bench("reenact", stage, *line, *FAST)[0] == 0
