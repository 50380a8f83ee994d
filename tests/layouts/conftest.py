"""The same person, the same frames, in several layouts."""

from __future__ import annotations

from pathlib import Path

import pytest

from headbench.datasets.synthetic import write_synthetic

LAYOUTS = ("insta", "imavatar", "vhap")


@pytest.fixture(scope="session")
def layouts(tmp_path_factory) -> dict[str, Path]:
    """Layout -> the subject's folder: 6 frames of 64 x 64."""
    out = tmp_path_factory.mktemp("layouts")
    return {name: write_synthetic(out, name, 1, 6, 64, 5, lambda line: None, workers=1, orbit=1)[0] for name in LAYOUTS}
