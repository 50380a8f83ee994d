"""A small synthetic subject, written once."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from isolation import once
from PIL import Image

from headbench.datasets.synthetic import write_synthetic


@dataclass(frozen=True)
class Written:
    """A subject's folder on disk."""

    folder: Path
    frames: int
    size: int

    def json(self, name):
        return json.loads((self.folder / name).read_text(encoding="utf-8"))

    def image(self, path):
        with Image.open(self.folder / path) as image:
            return np.array(image)

    def numbers(self, kind, index):
        return np.loadtxt(self.folder / "flame" / kind / f"{index:05d}.txt")

    def cameras(self, name="transforms.json"):
        """(T, 4, 4) camera to world, and the 3 x 3 intrinsics."""
        content = self.json(name)
        K = np.array([[content["fl_x"], 0, content["cx"]], [0, content["fl_y"], content["cy"]], [0, 0, 1]])
        return np.array([f["transform_matrix"] for f in content["frames"]]), K


@pytest.fixture(scope="session")
def written(tmp_path_factory) -> Written:

    def make(out: Path) -> None:
        write_synthetic(out, "insta", 1, 10, 96, 3, lambda line: None, workers=1)

    return Written(once(tmp_path_factory, "synthetic", make) / "insta" / "synth00", 10, 96)
