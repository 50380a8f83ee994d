"""Run folders written by hand, file by file, as a run leaves them."""

from __future__ import annotations

import hashlib
import json
import types
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from isolation import Plug
from PIL import Image

from headbench.harness.plugins import DatasetSpec, Registry, Source, hookimpl

HASH = "ab" * 32
METRICS = ("psnr", "ssim", "lpips/alex", "lpips/vgg")


class RunFolder:
    """A run folder that grows cell by cell."""

    def __init__(self, path: Path, protocols: Sequence[str] = ("headbench@1",), layout: int = 2) -> None:
        self.path = path
        self.layout = layout
        """Of the files of scores; 1 had four fields per frame and no number."""
        self.plan: list[dict[str, Any]] = []
        path.mkdir()
        (path / "run.yaml").write_text(f"methods: [all]\nprotocol: {json.dumps(list(protocols))}\n", encoding="utf-8")
        self._write_plan()

    def cell(
        self,
        method: str,
        subject: str = "anna",
        *,
        preset: str = "demo",
        variant: str = "",
        dataset: str = "insta",
        seed: int = 0,
        state: str = "done",
        reason: str = "",
        notes: Sequence[str] = (),
        baseline: bool = False,
    ) -> Path:
        """A cell with its state; nothing trained yet."""
        first = "-".join(part for part in (method.lower(), preset, variant) if part)
        key = {"method": method, "preset": preset, "variant": variant, "dataset": dataset, "subject": subject}
        where = f"{first}/{dataset}/{subject}/seed{seed}"
        folder = self.path / "cells" / where
        folder.mkdir(parents=True)
        record = {**key, "seed": seed, "state": state, "reason": reason, "notes": list(notes), "baseline": baseline}
        (folder / "cell.json").write_text(json.dumps(record), encoding="utf-8")
        self.plan.append({**key, "seed": seed, "path": where})
        self._write_plan()
        return folder

    def result(
        self,
        method: str,
        subject: str = "anna",
        *,
        psnr: Sequence[float | None] = (30.0,),
        ssim: Sequence[float | None] | None = None,
        lpips: Sequence[float | None] | None = None,
        lpips_reason: str = "",
        protocol: str = "headbench@1",
        digest: str = HASH,
        seconds: float = 90.0,
        fps: float = 100.0,
        gaussians: int = 12345,
        device: str = "CPU (2 threads)",
        train_notes: Sequence[str] = (),
        ids: Sequence[str] | None = None,
        **cell: Any,
    ) -> Path:
        """A finished cell with a score a frame."""
        folder = self.cell(method, subject, **cell)
        columns = {"psnr": psnr, "ssim": ssim or [0.9] * len(psnr), "lpips/alex": lpips or [0.1] * len(psnr)}
        frames = list(ids or [f"{k:05d}" for k in range(len(psnr))])
        self.scores(folder, frames, columns, protocol, digest, {"lpips/alex": lpips_reason} if lpips_reason else {})
        summary = {"steps": 100, "seconds": seconds, "rate": 100 / seconds if seconds else 0.0, "gaussians": gaussians}
        summary |= {"peak_memory_bytes": 0, "device": device, "rasterizer": "numba", "notes": list(train_notes)}
        stage = folder / "stages" / "train"
        stage.mkdir(parents=True)
        (stage / "summary.json").write_text(json.dumps(summary), encoding="utf-8")
        (folder / "speed.json").write_text(json.dumps({"fps": fps, "device": device}), encoding="utf-8")
        return folder

    def scores(
        self,
        folder: Path,
        ids: Sequence[str],
        columns: Mapping[str, Sequence[float | str | None]],
        protocol: str = "headbench@1",
        digest: str = HASH,
        reasons: Mapping[str, str] | None = None,
        weights: Mapping[str, str] | None = None,
    ) -> None:
        """The scores file of a cell by one protocol."""
        name, _, version = protocol.partition("@")
        header = {"protocol": name, "version": int(version), "hash": digest, "render_key": "train-white"}
        header |= {"versions": {}, "device": "cpu", "frames": len(ids)}
        write = self._layout_1 if self.layout == 1 else self._layout_2
        lines = write(header, ids, columns, protocol, reasons or {}, weights or {})
        (folder / "scores").mkdir(exist_ok=True)
        text = "".join(json.dumps(line) + "\n" for line in lines)
        path = folder / "scores" / f"{protocol}.jsonl"
        path.write_text(text, encoding="utf-8")
        self.mark(path)

    @staticmethod
    def _layout_1(
        header: dict[str, Any],
        ids: Sequence[str],
        columns: Mapping[str, Sequence[float | str | None]],
        protocol: str,
        reasons: Mapping[str, str],
        weights: Mapping[str, str],
    ) -> list[dict[str, Any]]:
        def fields(values: Mapping[str, Any]) -> dict[str, Any]:
            return {key.replace("/", "_"): value for key, value in values.items()}

        absent = {key: f"n/a (not part of {protocol})" for key in METRICS if key not in columns}
        lines = [{**header, "weights": fields(weights), "reasons": fields({**absent, **reasons})}]
        for place, frame in enumerate(ids):
            values = {key: columns[key][place] if key in columns else None for key in METRICS}
            lines.append({"id": frame, **fields(values)})
        return lines

    @staticmethod
    def _layout_2(
        header: dict[str, Any],
        ids: Sequence[str],
        columns: Mapping[str, Sequence[float | str | None]],
        protocol: str,
        reasons: Mapping[str, str],
        weights: Mapping[str, str],
    ) -> list[dict[str, Any]]:
        absent = {key: {"kind": "no-weights", "text": text} for key, text in reasons.items()}
        header = {"format": 2, "views": "test", "metrics": list(columns), "sequences": 0, **header}
        lines: list[dict[str, Any]] = [{**header, "weights": dict(weights), "absent": absent}]
        for place, frame in enumerate(ids):
            there = {key: values[place] for key, values in columns.items() if values[place] is not None}
            lines.append({"id": frame, "scores": there})
        return lines

    def mark(self, path: Path) -> None:
        """Write the marker of a file of scores, as its score stage does last."""
        marker = {"scores": hashlib.sha256(path.read_bytes()).hexdigest()}
        path.with_suffix(".json").write_text(json.dumps(marker), encoding="utf-8")

    def _write_plan(self) -> None:
        plan = {"format": 1, "cells": self.plan, "notes": []}
        (self.path / "plan.json").write_text(json.dumps(plan), encoding="utf-8")


@pytest.fixture(scope="session")
def run_folder() -> type[RunFolder]:
    """RunFolder(path): a run folder that grows cell by cell."""
    return RunFolder


@pytest.fixture
def new_run(tmp_path: Path) -> Callable[..., RunFolder]:
    """Makes an empty run folder."""

    def make(name: str = "demo", **options: Any) -> RunFolder:
        return RunFolder(tmp_path / name, **options)

    return make


@pytest.fixture
def layout() -> int:
    """The layout of the files of scores in `run`; tests of other layouts say another."""
    return 2


@pytest.fixture
def repeats() -> int:
    """How often the two frames of a subject in `run` repeat: enough for an interval."""
    return 12


@pytest.fixture
def run(new_run: Callable[..., RunFolder], layout: int, repeats: int) -> RunFolder:
    """Two subjects of 24 frames (twice `repeats`), two methods and a baseline, one seed, all finished."""
    folder = new_run(layout=layout)
    for subject, offset in (("anna", 0.0), ("ben_2", 1.0)):
        fate = {
            "psnr": [28.0 + offset, 30.0 + offset] * repeats,
            "ssim": [0.91, 0.93] * repeats,
            "lpips": [0.08, 0.1] * repeats,
        }
        gaussians = {"psnr": [27.0 + offset, 28.0 + offset] * repeats, "ssim": [0.94, 0.96] * repeats}
        nearest = {"psnr": [20.0 + offset] * 2 * repeats, "lpips": [0.2] * 2 * repeats}
        folder.result("FateAvatar", subject, **fate)
        folder.result("GaussianAvatars", subject, **gaussians, fps=50.0)
        folder.result("nearest-frame", subject, **nearest, seconds=0.0, gaussians=0, fps=900.0, baseline=True)
    return folder


TOY_READER = '''
"""A dataset of RGBA images in one folder."""
import numpy as np
import torch
from PIL import Image
from headbench.harness.plugins import DatasetReader
from headbench.harness.types import Camera, Frame, HeadParams, Pixels, Subject


def frame(path):
    zeros = torch.zeros(1, 3)
    params = HeadParams("openhead", torch.zeros(1, 4), zeros, zeros, zeros, zeros, zeros, zeros)
    camera = Camera(torch.eye(4)[None], torch.eye(3)[None], 32, 32)

    def pixels():
        image = torch.from_numpy(np.array(Image.open(path).convert("RGBA"))).permute(2, 0, 1)
        return Pixels(image[:3], image[3:])

    return Frame(path.stem, camera, params, pixels)


class Faces(DatasetReader):
    def subjects(self, root):
        return {path.name: path for path in root.iterdir()}

    def read(self, folder, options):
        if not folder.is_dir():
            from headbench.harness.errors import DataError
            raise DataError(f"{folder} is no folder")
        frames = tuple(frame(path) for path in sorted(folder.glob("*.png")))
        return Subject(folder.name, "faces", "openhead", torch.zeros(1, 4), frames[:1], frames[1:])

    def check(self, folder, options):
        return []
'''


def paint(path: Path, colour: tuple[int, ...], mode: str) -> None:
    Image.new(mode, (32, 32), colour).save(path)


@pytest.fixture
def faces(tmp_path: Path, plug: Plug) -> Registry:
    """A registry with a dataset of pictures, read by a plugin's own module."""
    (tmp_path / "code").mkdir()
    (tmp_path / "code" / "toy_faces_reader.py").write_text(TOY_READER, encoding="utf-8")
    plug(tmp_path / "code")
    plugin = types.ModuleType("toy")
    plugin.register_datasets = hookimpl(  # type: ignore[attr-defined]
        lambda register: register(DatasetSpec("faces", "toy_faces_reader:Faces"))
    )
    return Registry([Source("toy", lambda: plugin)])


@pytest.fixture
def pictured(new_run: Callable[..., Any], tmp_path: Path) -> Any:
    """A run of one method on a subject of one training and five test pictures, half transparent."""
    data = tmp_path / "data" / "anna"
    data.mkdir(parents=True)
    for number in range(6):
        paint(data / f"{number:05d}.png", (40 * number, 0, 0, 128), "RGBA")
    folder = new_run()
    ids = [f"{number:05d}" for number in range(1, 6)]
    cell = folder.result("A", psnr=[30.0] * 5, ids=ids, dataset="faces")
    renders = cell / "renders" / "train-white"
    renders.mkdir(parents=True)
    for number, frame in enumerate(ids, 1):
        paint(renders / f"{frame}.png", (40 * number, 127, 127), "RGB")
    lines = [f"{hashlib.sha256(p.read_bytes()).hexdigest()}  {p.name}\n" for p in sorted(renders.glob("*.png"))]
    (renders / "sha256.txt").write_text("".join(lines), encoding="utf-8")
    (renders / "render.json").write_text(json.dumps({"background": "white"}), encoding="utf-8")
    key = {"method": "A", "preset": "demo", "variant": "", "dataset": "faces", "subject": "anna", "seed": 0}
    job: dict[str, Any] = {"cell": key, "config": {}, "config_hash": "", "data": str(data), "data_options": {}}
    job |= {"limit": None, "protocols": ["headbench@1"], "device": "cpu", "rasterizer": "auto"}
    job |= {"deterministic": False, "tensorboard": False, "fingerprint": {}, "argv": []}
    (cell / "job.json").write_text(json.dumps(job), encoding="utf-8")
    folder.data, folder.renders = data, renders
    return folder
