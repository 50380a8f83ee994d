"""A synthetic subject that tests copy and damage."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from isolation import once

from headbench.datasets.synthetic import write_synthetic


@pytest.fixture(scope="session")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A sound subject of 20 frames. Read only."""

    def make(out: Path) -> None:
        write_synthetic(out, "insta", 1, 20, 64, 3, lambda _: None, workers=1, orbit=1)

    return once(tmp_path_factory, "doctor", make) / "insta" / "synth00"


@pytest.fixture
def patient(sound: Path, tmp_path: Path) -> Path:
    """A copy to damage, at ``D/insta/synth00``."""
    folder = tmp_path / "D" / "insta" / "synth00"
    shutil.copytree(sound, folder, ignore=shutil.ignore_patterns("truth", "depth", "seg_mask", "matted"))
    return folder


@pytest.fixture
def edit(patient: Path) -> Callable[[Callable[[dict[str, Any]], None]], None]:
    """Changes the content of both splits' JSON."""

    def change(how: Callable[[dict[str, Any]], None]) -> None:
        for name in ("train", "test"):
            path = patient / f"transforms_{name}.json"
            content = json.loads(path.read_text())
            how(content)
            for axis in "xy":
                content.pop(f"camera_angle_{axis}", None)
            path.write_text(json.dumps(content))

    return change
