"""The size of a whole report: six methods, three subjects, two seeds. docs/report.md says what it cost."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from headbench.harness.cli.data import data as data_command
from headbench.harness.plugins import registry
from headbench.harness.run.data import Manifest
from headbench.reports import write_report
from headbench.results import load

METHODS = ("FateAvatar", "FlashAvatar", "GaussianAvatars", "MonoGaussianAvatar", "SplattingAvatar", "nearest-frame")
SUBJECTS = ("synth00", "synth01", "synth02")


@pytest.mark.slow
def test_a_run_of_36_cells_is_reported_in_all_formats_within_25_mb(new_run: Any, tmp_path: Path) -> None:
    line = ["synth", "--layout", "insta", "--subjects", "1", "--frames", "40", "--size", "128", str(tmp_path / "data")]
    done = CliRunner().invoke(data_command, line)
    assert done.exit_code == 0, done.output
    first = tmp_path / "data" / "insta" / SUBJECTS[0]
    for name in SUBJECTS[1:]:
        shutil.copytree(first, first.with_name(name))
    frames = [
        Path(frame["file_path"]).stem for frame in json.loads((first / "transforms_test.json").read_text())["frames"]
    ]
    read = registry().load_dataset("insta").read
    marks = {name: dict(Manifest.of(read(first.with_name(name), {})).fingerprint) for name in SUBJECTS}
    folder, noise = new_run("whole"), np.random.default_rng(0)
    for method in METHODS:
        # Noise is the hardest to compress: real renders take a fraction of this.
        pictures = [noise.integers(0, 256, (128, 128, 3), dtype=np.uint8) for _ in frames]
        for subject in SUBJECTS:
            for seed in (0, 1):
                psnr = [20.0 + seed + value for value in noise.random(len(frames))]
                cell = folder.result(method, subject, psnr=psnr, ids=frames, seed=seed)
                _render(cell, frames, pictures, first.with_name(subject), marks[subject])
    report = write_report(folder.path)
    page = report / "index.html"
    text = page.read_text(encoding="utf-8")
    assert page.stat().st_size < 25e6 and "Remarks" not in text
    assert text.count('type="application/json" id="pictures-') == len(SUBJECTS)
    data = json.loads(text.partition('id="data">')[2].partition("</script>")[0])
    assert [{source["seed"] for source in scene["sources"]} for scene in data["scenes"]] == [{None, 0, 1}] * 3
    assert {len(curve["lines"]) for scene in data["scenes"] for curve in scene["curves"]} == {2 * len(METHODS)}
    names = {path.name for path in report.iterdir()}
    assert {f"headbench@1.{suffix}" for suffix in ("md", "tex", "csv", "json")} <= names
    figures = {path.name for path in (report / "figures").iterdir()}
    assert {"comparison-insta.pdf", "comparison-insta-errors.png", "headbench@1-quality-fps.pdf"} <= figures
    assert sum(name.endswith(".mp4") for name in figures) == 2 * len(METHODS) * len(SUBJECTS)
    assert text.count("· seed 1:") == len(METHODS) * len(SUBJECTS), "links to the pictures of the other seed"
    assert [path.name for path in load(folder.path).write(tmp_path / "long")] == [
        "frames.csv",
        "cells.csv",
        "curves.csv",
    ]


def _render(cell: Path, frames: list[str], pictures: list[Any], data: Path, fingerprint: dict[str, str]) -> None:
    """Write the renders of a cell, and its job."""
    renders = cell / "renders" / "train-white"
    renders.mkdir(parents=True)
    lines = []
    for frame, pixels in zip(frames, pictures, strict=True):
        path = renders / f"{frame}.png"
        Image.fromarray(pixels).save(path, compress_level=0)
        lines.append(f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {path.name}\n")
    (renders / "sha256.txt").write_text("".join(lines), encoding="utf-8")
    (renders / "render.json").write_text(json.dumps({"background": "white"}), encoding="utf-8")
    record = json.loads((cell / "cell.json").read_text(encoding="utf-8"))
    key = {name: record[name] for name in ("method", "preset", "variant", "dataset", "subject", "seed")}
    job = {"cell": key, "config": {}, "config_hash": "", "data": str(data), "data_options": {}, "limit": None}
    job |= {"protocols": ["headbench@1"], "device": "cpu", "rasterizer": "auto", "deterministic": False}
    job |= {"tensorboard": False, "fingerprint": fingerprint, "argv": []}
    (cell / "job.json").write_text(json.dumps(job), encoding="utf-8")
