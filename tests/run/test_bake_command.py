"""`bench run --stages train/bake` on a toy subject: killed, taken up again, scored; and refused where it cannot be."""

from __future__ import annotations

import csv
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from headbench.harness.files import sha256_of
from headbench.reports import build_table
from headbench.reports.text import to_csv
from headbench.stages.bake.stage import _Training

COMMON = ("--preset", "tiny", "--device", "cpu", "--rasterizer", "torch", "--no-report", "--protocol", "headbench@1")
SMALL = ("--set", "bake.size=32", "--set", "bake.epochs=1", "--checkpoint-every", "2", "--deterministic")


@pytest.fixture
def run(bench: Callable[..., Any], faces: Path) -> Callable[..., Any]:
    def call(stages: str, *arguments: str, out: str = "out", method: str = "FateAvatar") -> Any:
        place = ("--data-root", faces, "--out", out, "--datasets", "discs[anna]", "--methods", method)
        return bench("run", *place, *COMMON, "--stages", stages, *arguments)

    return call


def baked(out: Path) -> dict[str, str]:
    """Weights of the baked instance and its renders."""
    (cell,) = (out / "cells").glob("*/discs/anna/seed0")
    folder = cell / "stages" / "train" / "bake:texture"
    newest = max(folder.glob("checkpoint-*"), key=lambda path: int(path.name.partition("-")[2]))
    maps = sorted((folder / "maps").iterdir())
    found = {path.name: sha256_of(path) for path in (newest / "model.safetensors", *maps)}
    (hashes,) = (path for path in cell.rglob("sha256.txt") if "bake:texture" in str(path))
    return found | {"renders": hashes.read_text()}


@pytest.mark.slow
@pytest.mark.tried("faults in runs", "a bake killed by SIGKILL, and its run started again")
def test_a_killed_bake_goes_on_is_scored_and_equals_one_left_alone(
    run: Callable[..., Any], bench: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert run("train,train/bake:texture", *SMALL, out="calm").code == 0
    state = _Training._state

    def killed_after_the_first(self: Any, log: Any) -> Any:
        if any(self.work.folder.glob("checkpoint-*")):
            os.kill(os.getpid(), signal.SIGKILL)
        return state(self, log)

    monkeypatch.setattr(_Training, "_state", killed_after_the_first)
    killed = run("train,train/bake:texture", *SMALL)
    assert killed.code == 2 and "killed by SIGKILL in stage train/bake:texture" in killed.out
    monkeypatch.setattr(_Training, "_state", state)
    assert run("train,train/bake:texture", *SMALL).code == 0
    assert baked(tmp_path / "out") == baked(tmp_path / "calm")
    table = list(csv.DictReader(to_csv(build_table(tmp_path / "out")).splitlines()))
    psnr = {row["stage"]: row["psnr"] for row in table if row["subject"]}
    assert set(psnr) == {"train", "train/bake:texture"} and all(float(value) > 5 for value in psnr.values())
    assert "all is as it was written" in bench("verify", "out").out


def test_what_a_bake_cannot_be_made_from_is_refused_with_the_reason(run: Callable[..., Any]) -> None:
    mono = run("train/bake:texture", method="MonoGaussianAvatar")
    assert "stage bake needs carrier and surface, which MonoGaussianAvatar does not have" in " ".join(mono.out.split())
    lacking = run("train/bake", out="lacking")
    assert mono.code == lacking.code == 2 and "lpips/vgg16" in lacking.out and "bench assets" in lacking.out, lacking
