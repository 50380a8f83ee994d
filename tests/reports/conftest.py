"""Run folders written by hand, file by file, as a run leaves them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

HASH = "ab" * 32
METRICS = ("psnr", "ssim", "lpips_alex", "lpips_vgg")


class RunFolder:
    """A run folder that grows cell by cell."""

    def __init__(self, path: Path, protocols: Sequence[str] = ("headbench@1",)) -> None:
        self.path = path
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
        columns = {"psnr": psnr, "ssim": ssim or [0.9] * len(psnr), "lpips_alex": lpips or [0.1] * len(psnr)}
        frames = list(ids or [f"{k:05d}" for k in range(len(psnr))])
        self.scores(folder, frames, columns, protocol, digest, {"lpips_alex": lpips_reason} if lpips_reason else {})
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
        absent = {key: f"n/a (not part of {protocol})" for key in METRICS if key not in columns}
        header = {"protocol": name, "version": int(version), "hash": digest, "render_key": "train-white"}
        header |= {"weights": dict(weights or {}), "versions": {}, "device": "cpu", "frames": len(ids)}
        lines: list[dict[str, Any]] = [{**header, "reasons": {**absent, **(reasons or {})}}]
        for place, frame in enumerate(ids):
            values = {key: columns[key][place] if key in columns else None for key in METRICS}
            lines.append({"id": frame, **values})
        (folder / "scores").mkdir(exist_ok=True)
        text = "".join(json.dumps(line) + "\n" for line in lines)
        path = folder / "scores" / f"{protocol}.jsonl"
        path.write_text(text, encoding="utf-8")
        self.mark(path)

    def mark(self, path: Path) -> None:
        """Write the marker of a file of scores, as its score stage does last."""
        marker = {"scores": hashlib.sha256(path.read_bytes()).hexdigest()}
        path.with_suffix(".json").write_text(json.dumps(marker), encoding="utf-8")

    def _write_plan(self) -> None:
        plan = {"format": 1, "cells": self.plan, "notes": []}
        (self.path / "plan.json").write_text(json.dumps(plan), encoding="utf-8")


@pytest.fixture
def new_run(tmp_path: Path) -> Callable[..., RunFolder]:
    """Makes an empty run folder."""

    def make(name: str = "demo", **options: Any) -> RunFolder:
        return RunFolder(tmp_path / name, **options)

    return make


@pytest.fixture
def run(new_run: Callable[..., RunFolder]) -> RunFolder:
    """Two subjects, two methods and a baseline, one seed, all finished."""
    folder = new_run()
    for subject, offset in (("anna", 0.0), ("ben_2", 1.0)):
        folder.result("FateAvatar", subject, psnr=[28.0 + offset, 30.0 + offset], ssim=[0.91, 0.93], lpips=[0.08, 0.1])
        folder.result("GaussianAvatars", subject, psnr=[27.0 + offset, 28.0 + offset], ssim=[0.94, 0.96], fps=50.0)
        folder.result(
            "nearest-frame", subject, psnr=[20.0 + offset] * 2, seconds=0.0, gaussians=0, fps=900.0, baseline=True
        )
    return folder
