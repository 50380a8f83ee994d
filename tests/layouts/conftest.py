"""The same person, the same frames, in several layouts."""

from __future__ import annotations

from pathlib import Path

import pytest
from isolation import once

from headbench.datasets.synthetic import write_synthetic

LAYOUTS = ("insta", "imavatar", "vhap")


@pytest.fixture(scope="session")
def layouts(tmp_path_factory) -> dict[str, Path]:
    """Layout -> the subject's folder: 6 frames of 64 x 64."""

    def make(out: Path) -> None:
        for name in LAYOUTS:
            write_synthetic(out, name, 1, 6, 64, 5, lambda line: None, workers=1, orbit=1)

    out = once(tmp_path_factory, "layouts", make)
    return {name: next((out / name).iterdir()) for name in LAYOUTS}
