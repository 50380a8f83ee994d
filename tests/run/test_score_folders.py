"""`bench score --renders`: pictures of strangers, the same numbers as those of a run, and what cannot be compared."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

from headbench.harness.image.video import write_video
from headbench.harness.types import Pixels
from headbench.metrics import read_scores
from headbench.reports.regions import draw_region_figures
from headbench.reports.renders import Subjects
from headbench.results import read_run

LABEL = "fateavatar-8bit@1"


def save(path: Path, pixels: Pixels, alpha: bool = True) -> Path:
    planes = torch.cat([pixels.colour, pixels.alpha]) if alpha else pixels.colour
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(planes.permute(1, 2, 0).numpy()).save(path)
    return path


def grey(path: Path, level: int | tuple[int, ...], size: tuple[int, int] = (16, 16), mode: str = "RGB") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new(mode, size, level if isinstance(level, tuple) or mode in "L1P" else (level,) * 3).save(path)
    return path


@pytest.fixture
def score(bench: Callable[..., Any]) -> Callable[..., Any]:
    return lambda *more: bench("score", "--device", "cpu", *more)


def test_folders_give_the_scores_of_a_run_and_all_says_what_cannot_be_scored(
    bench: Callable[..., Any], score: Callable[..., Any], faces: Path, registry: Any, tmp_path: Path
) -> None:
    done = bench(
        "run", "--methods", "average", "--datasets", "discs[anna]", "--data-root", faces, "--preset", "demo",
        "--device", "cpu", "--rasterizer", "torch", "--protocol", f"headbench@1,{LABEL},fateavatar@1",
        "--no-report", "--out", "out",
    )  # fmt: skip
    assert done.code == 0, done.out + done.err
    (cell,) = (tmp_path / "out").glob("cells/*/*/*/*")
    renders = cell / "renders" / "train-white"
    subject = registry.load_dataset("discs").read(faces / "discs" / "anna", {})
    for frame in subject.test:
        save(tmp_path / "rgba" / f"truth_{int(frame.id)}.png", frame.pixels())
        save(tmp_path / "rgb" / f"{frame.id}.png", frame.pixels(), alpha=False)
        Image.fromarray(frame.pixels().alpha[0].numpy()).save(tmp_path / "rgb" / ".." / f"matte{frame.id}.png")
    (tmp_path / "mattes").mkdir()
    for path in tmp_path.glob("matte*.png"):
        path.rename(tmp_path / "mattes" / path.name)
    ways = {
        "rgba": ("--truth", "rgba"),
        "mattes": ("--truth", "rgb", "--alpha", "mattes"),
        "subject": ("--truth", "discs/anna", "--data-root", faces),
    }
    for name, given in ways.items():
        done = score("--renders", renders, *given, "--protocol", f"headbench@1,{LABEL}", "--out", name)
        assert done.code == 0 and "3 frames of" in done.out, done.out + done.err
        assert f"joined by {'frame number' if name == 'rgba' else 'equal names'}" in done.out
        for label in ("headbench@1", LABEL):
            of_run = read_scores(cell / "scores" / f"{label}.jsonl")
            found = read_scores(tmp_path / name / f"{label}.jsonl")
            assert [frame.values for frame in found.frames] == [frame.values for frame in of_run.frames]
            document = json.loads((tmp_path / name / f"{label}.json").read_text())
            assert document["metrics"]["psnr"]["mean"] == of_run.mean("psnr") and document["hash"] == of_run.hash
            assert document["metrics"]["lpips/alex"]["reason"].startswith("n/a (weights missing")
            rows = list(csv.DictReader((tmp_path / name / f"{label}.csv").open()))
            assert [float(row["ssim"]) for row in rows] == [frame.values["ssim"] for frame in of_run.frames]
            assert [row["render"] for row in rows] == [frame.id for frame in of_run.frames]

    floats = "fateavatar@1"
    assert score("--renders", f"{renders}-float", "--truth", "rgba", "--protocol", floats, "--out", "rgba").code == 0
    found, of_run = read_scores(tmp_path / "rgba" / f"{floats}.jsonl"), read_scores(cell / "scores" / f"{floats}.jsonl")
    assert [frame.values for frame in found.frames] == [frame.values for frame in of_run.frames]

    # Regions need a head, which a subject has and a folder has not; a report shows where they lie.
    regions = "headbench-regions@2"
    assert bench("score", "out", "--device", "cpu", "--protocol", regions).code == 0
    done = score("--renders", renders, *ways["subject"], "--protocol", regions, "--out", "subject")
    found, of_run = (
        read_scores(tmp_path / "subject" / f"{regions}.jsonl"),
        read_scores(cell / "scores" / f"{regions}.jsonl"),
    )
    assert [frame.values for frame in found.frames] == [frame.values for frame in of_run.frames]
    assert any("psnr-region/face" in frame.values for frame in found.frames)
    done = score("--renders", renders, "--truth", "rgba", "--protocol", regions)
    shown = " ".join(done.out.split())
    assert "PSNR cloth ↑ n/a (needs the tracked head; the data have none)" in shown and "Flicker" in shown
    drawn, remarks = draw_region_figures(read_run(tmp_path / "out").results, tmp_path, Subjects(registry))
    assert remarks == [] and [(figure.group, figure.caption) for figure in drawn] == [
        ("discs / anna", "regions that are scored")
    ]
    sheet = Image.open(drawn[0].grid)
    assert sheet.width == 3 * 2 * 24 * (256 // 24) and len(sheet.getcolors(1 << 24) or ()) > 6

    done = score("--renders", renders, "--truth", "rgba", "--protocol", "all")
    assert done.code == 0, done.err
    grey(tmp_path / "small" / f"{subject.test[0].id}.png", 9)
    assert "help: render in the truth's size" in score("--renders", "small", *ways["subject"]).err
    assert "headbench-around@1: not scored: it scores all-around views, which a dataset's subject has" in done.out
    assert "fateavatar-tracked-8bit@1: not scored: it is for renders of tracked test frames" in done.out
    assert "note: " in done.out and "2 other entries are not read: render.json, sha256.txt" in done.out

    done = bench("score", "out", "--device", "cpu", "--protocol", "all")
    assert done.code == 0, done.err
    assert f"{LABEL} is up to date" in done.out
    assert "headbench-around@1 not scored: the data have no all-around views" in done.out
    assert "fateavatar-tracked-8bit@1 not scored: no renders are stored in renders/train-white-tracked-" in done.out
    assert "bench run" in done.out and "--protocol fateavatar-tracked-8bit@1" in done.out


def test_alpha_of_renders_is_composited_and_what_has_no_partner_is_said(
    score: Callable[..., Any], tmp_path: Path
) -> None:
    for k in range(3):
        grey(tmp_path / "r" / f"{k}.png", (100, 100, 100, 255 if k else 0), mode="RGBA")
        grey(tmp_path / "t" / f"f{k + 1}.png", (90, 100, 110, 255), mode="RGBA")
        grey(tmp_path / "o" / f"{k}.png", 0)
    grey(tmp_path / "t" / "f9.png", (0, 0, 0, 0), mode="RGBA")
    done = score("--renders", "r", "--truth", "t", "--protocol", LABEL, "--out", "s")
    assert done.code == 0, done.err
    document = json.loads((tmp_path / "s" / f"{LABEL}.json").read_text())
    assert [frame["frame"] for frame in document["frames"]] == ["f1", "f2"]
    assert [frame["psnr"] for frame in document["frames"]] == [
        pytest.approx(-10 * np.log10(200 / 3 / 255**2), abs=1e-5)
    ] * 2
    assert (document["renders_alone"], document["truth_alone"]) == (["0"], ["f3", "f9"])
    assert "1 renders without ground truth, not scored: 0" in done.out
    assert "2 pictures of the ground truth without render, not scored: f3, f9" in done.out
    # Renders on black, where the protocol composites the uncovered truth on white.
    grey(tmp_path / "t" / "f9.png", (0, 0, 0, 0), mode="RGBA").rename(tmp_path / "t" / "f0.png")
    done = score("--renders", "o", "--truth", "t", "--protocol", LABEL)
    assert "0.png is black where the ground truth covers nothing, and fateavatar-8bit@1 composites on white" in done.out
    # Without alpha, pictures are compared as they are.
    done = score("--renders", "o", "--truth", "o", "--protocol", LABEL)
    assert "∞ dB" in done.out and "the ground truth has no alpha: pictures are compared as they are" in done.out


def test_floats_beside_pictures_are_scored_where_a_protocol_asks_for_them(
    score: Callable[..., Any], tmp_path: Path
) -> None:
    good(tmp_path)
    for k in range(3):
        save_file({"image": torch.full((3, 16, 16), 90 / 255 + 0.125 * (k + 1))}, tmp_path / "r" / f"{k}.safetensors")
    done = score("--renders", "r", "--truth", "t", "--protocol", "all", "--out", "s")
    assert done.code == 0, done.err
    frames = json.loads((tmp_path / "s" / "fateavatar@1.json").read_text())["frames"]
    assert [frame["psnr"] for frame in frames] == [
        pytest.approx(-20 * np.log10(0.125 * k), abs=1e-5) for k in (1, 2, 3)
    ]
    assert json.loads((tmp_path / "s" / "headbench@1.json").read_text())["frames"][0]["psnr"] < 30  # the pictures
    assert "imavatar@1: not scored: region landmark-hull needs landmarks; the data have none" in done.out
    # Each line of each protocol is there, though numbers repeat; notes stand once.
    assert done.out.count("PSNR ↑") == len([*(tmp_path / "s").glob("*.csv")]) > 4
    (tmp_path / "r" / "1.safetensors").unlink()
    done = score("--renders", "r", "--truth", "t", "--protocol", "fateavatar@1")
    assert done.code == 1 and "r has no .safetensors of 1, as it has of other frames." in done.err
    for path in (tmp_path / "r").glob("*.png"):
        path.unlink()
    done = score("--renders", "r", "--truth", "t")
    assert done.code == 1 and "it scores pictures of 8 bit, and the renders are floats alone" in done.err
    done = score("--renders", "r", "--truth", "t", "--protocol", "fateavatar@1")
    assert done.code == 0 and "2 frames of r" in done.out and "note: 1 pictures of the ground truth" in done.out


def test_folders_that_count_from_another_frame_on_are_noticed(score: Callable[..., Any], tmp_path: Path) -> None:
    """A square that moves, rendered with an error; numbered from 0 in one place and from 1 in the other."""
    for k in range(13):
        picture = np.full((32, 32, 3), 250, np.uint8)
        picture[8:24, 2 * k : 2 * k + 8] = (40, 90, 200)
        for folder, name, off in (("t", k, 0), ("same", k, 9), ("late", k + 1, 9)):
            (tmp_path / folder).mkdir(exist_ok=True)
            Image.fromarray(picture - np.uint8(off)).save(tmp_path / folder / f"{name:02d}.png")
        Image.fromarray(np.full((32, 32, 3), 100, np.uint8)).save(tmp_path / "t" / ".." / f"still{k:02d}.png")
    said = "note: renders fit the frame before theirs better (8 of 8 that were tried)"
    assert said in score("--renders", "late", "--truth", "t", "--protocol", LABEL).out
    assert "fit the frame" not in score("--renders", "same", "--truth", "t", "--protocol", LABEL).out
    (tmp_path / "still").mkdir()
    for path in tmp_path.glob("still*.png"):
        path.rename(tmp_path / "still" / path.name)
    assert "fit the frame" not in score("--renders", "still", "--truth", "t", "--protocol", LABEL).out


def test_two_videos_are_joined_from_their_first_images_on(score: Callable[..., Any], tmp_path: Path) -> None:
    images = [np.full((16, 16, 3), 60 + 20 * k, np.uint8) for k in range(3)]
    write_video(tmp_path / "a.mp4", images, 25, quality="1")
    write_video(tmp_path / "b.mp4", [*images, images[0]], 25, quality="1")
    done = score("--renders", "a.mp4", "--truth", "b.mp4", "--protocol", LABEL)
    assert done.code == 0 and "3 frames of a.mp4 against b.mp4" in done.out, done.err
    assert "1 pictures of the ground truth without render, not scored: 000003" in done.out
    assert "images per second" not in done.out
    # A third video says what the person covers: here nothing, where the renders' grey meets white.
    write_video(tmp_path / "alpha.mp4", [np.zeros((16, 16, 3), np.uint8)] * 4, 25, quality="1")
    write_video(tmp_path / "slow.mp4", images, 12, quality="1")
    done = score("--renders", "slow.mp4", "--truth", "b.mp4", "--alpha", "alpha.mp4", "--protocol", LABEL, "--out", "s")
    assert done.code == 0 and "slow.mp4 has 12 images per second and b.mp4 has 25: they are compared by" in done.out
    frames = json.loads((tmp_path / "s" / f"{LABEL}.json").read_text())["frames"]
    assert [frame["psnr"] for frame in frames] == [
        pytest.approx(-20 * np.log10((195 - 20 * k) / 255), abs=0.2) for k in range(3)
    ]
    write_video(tmp_path / "wide.mp4", [np.zeros((16, 32, 3), np.uint8)] * 3, 25, quality="1")
    done = score("--renders", "a.mp4", "--truth", "wide.mp4")
    assert done.code == 1 and "is 16 x 16 pixels, its ground truth 000000 of wide.mp4 is 32 x 16 (3 pairs" in done.err
    grey(tmp_path / "t" / "0.png", 3)
    done = score("--renders", "a.mp4", "--truth", "t")
    assert done.code == 1 and "a.mp4 is a file and t is none: expected folders of pictures, or videos alone" in done.err
    assert "help: ffmpeg -i a.mp4 FOLDER/%06d.png" in done.err
    (tmp_path / "c.mp4").write_bytes((tmp_path / "a.mp4").read_bytes()[:400])
    done = score("--renders", "c.mp4", "--truth", "b.mp4")
    assert done.code == 1 and "c.mp4: expected a video, found" in done.err


def good(folder: Path) -> tuple[str, ...]:
    for k in range(3):
        grey(folder / "r" / f"{k}.png", 100)
        grey(folder / "t" / f"{k}.png", (90, 90, 90, 255), mode="RGBA")
    return "--renders", "r", "--truth", "t"


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:50])


ODD: dict[str, tuple[Callable[[Path], object], tuple[str, ...], str]] = {
    "no pair": (
        lambda at: [path.rename(path.with_name(f"1{path.name}")) for path in (at / "r").iterdir()],
        (),
        "r and t have no frame number in common: 10, 11, 12 against 0, 1, 2.",
    ),
    "other sizes": (
        lambda at: grey(at / "r" / "1.png", 3, (16, 18)),
        (),
        "The render 1 of r is 16 x 18 pixels, its ground truth 1 of t is 16 x 16.",
    ),
    "alpha in renders alone": (
        lambda at: [
            grey(at / "t" / f"{k}.png", 3) and grey(at / "r" / f"{k}.png", (1, 2, 3, 4), mode="RGBA") for k in range(3)
        ],
        (),
        "The renders of r have alpha and the ground truth of t has none",
    ),
    "alpha in some": (
        lambda at: grey(at / "t" / "1.png", 3),
        (),
        "t/1.png has no alpha and t/0.png has: expected all pictures of a folder alike.",
    ),
    "a cut picture": (lambda at: cut(at / "r" / "1.png"), (), "r/1.png cannot be read: found a PNG that is cut"),
    "no picture": (
        lambda at: (at / "r" / "1.png").write_text("x"),
        (),
        "r/1.png: expected a picture, found 1 bytes that",
    ),
    "grey pictures": (
        lambda at: grey(at / "r" / "2.png", 3, mode="L"),
        (),
        "r/2.png: expected 8-bit RGB or RGBA, found mode L.",
    ),
    "an empty folder": (
        lambda at: [path.unlink() for path in (at / "r").iterdir()],
        (),
        "r: expected pictures (.png, .jpg, .jpeg), found nothing.",
    ),
    "alpha twice": (
        lambda at: grey(at / "a" / "1.png", 3),
        ("--alpha", "a"),
        "t has alpha of its own, and --alpha names",
    ),
    "alpha for some": (
        lambda at: [grey(at / "t" / f"{k}.png", 3) for k in range(3)] and grey(at / "a" / "1.png", 3, mode="L"),
        ("--alpha", "a"),
        "a has no alpha for 0 of t (2 of 3 frames lack it).",
    ),
    "no folder": (lambda at: None, ("--renders", "gone"), "gone: expected a folder of pictures, found nothing."),
    "no truth": (lambda at: None, ("--truth", "nobody/x"), "--truth nobody/x: there is no such folder or video"),
    "no root": (lambda at: None, ("--truth", "discs/anna"), "nobody knows where its data are"),
    "a root for a folder": (
        lambda at: None,
        ("--data-root", "."),
        "--data-root is for a subject of a dataset, and t is a folder",
    ),
    "floats asked for": (
        lambda at: None,
        ("--protocol", "fateavatar@1"),
        "fateavatar@1 cannot score this: it scores float renders (.safetensors with a tensor image)",
    ),
    "landmarks asked for": (
        lambda at: None,
        ("--protocol", "imavatar@1"),
        "imavatar@1 cannot score this: region landmark-hull needs landmarks; the data have none.",
    ),
    "other views": (
        lambda at: None,
        ("--protocol", "headbench-around@1"),
        "headbench-around@1 cannot score this: it scores all-",
    ),
}


@pytest.mark.parametrize(
    "odd",
    [
        pytest.param(
            name,
            marks=pytest.mark.tried(
                "damaged inputs", f"`bench score --renders` with {name}", "one sentence; nothing is written", "nothing"
            ),
        )
        for name in ODD
    ],
)
def test_what_cannot_be_compared_is_said_in_one_sentence(score: Callable[..., Any], tmp_path: Path, odd: str) -> None:
    line = good(tmp_path)
    spoil, more, said = ODD[odd]
    spoil(tmp_path)
    done = score(*line, *more, "--out", "s")
    assert done.code == 1 and done.err.count("error: ") == 1 and "Traceback" not in done.err
    assert said in done.err, done.err
    assert not (tmp_path / "s").exists()


def test_what_help_names_leads_on(score: Callable[..., Any], faces: Path, tmp_path: Path) -> None:
    good(tmp_path)
    for k in range(6, 9):
        grey(tmp_path / "a" / f"{k - 6}.png", 255, mode="L")
        grey(tmp_path / "rgb" / f"{k - 6}.png", 80)
        grey(tmp_path / "disc" / f"{k:05d}.png", 90, (24, 24))
    done = score("--renders", "t", "--truth", "rgb")
    assert "help: name the ground truth's mattes with --alpha FOLDER" in done.err
    assert score("--renders", "t", "--truth", "rgb", "--alpha", "a").code == 0
    done = score("--renders", "r", "--truth", "t", "--alpha", "a")
    assert "help: leave out --alpha" in done.err
    assert score("--renders", "r", "--truth", "t").code == 0
    done = score("--renders", "disc", "--truth", "discs/anna")
    assert "help: --truth discs/anna --data-root FOLDER" in done.err
    assert score("--renders", "disc", "--truth", "discs/anna", "--data-root", faces).code == 0
    done = score("--renders", "disc", "--truth", "discs/anna", "--data-root", faces, "--set", "discs.radios=3")
    assert "Unknown option of discs 'radios'. Did you mean 'radius'?" in done.err
    assert (
        score("--renders", "disc", "--truth", "discs/anna", "--data-root", faces, "--set", "discs.radius=3").code == 0
    )


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ((), "Name a RUN, or pictures: --renders FOLDER --truth FOLDER."),
        (("--renders", "r"), "--renders needs --truth"),
        (("out", "--alpha", "r"), "--alpha goes with --renders, not with a run."),
        (("out", "--set", "a.b=1"), "--set goes with --renders, not with a run."),
    ],
)
def test_a_line_that_names_half_of_it_is_refused(score: Callable[..., Any], line: tuple[str, ...], said: str) -> None:
    done = score(*line)
    assert done.code == 1 and said in done.err
