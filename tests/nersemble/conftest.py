"""A person of the NeRSemble benchmark, written by hand, that tests may damage."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
from isolation import once

from headbench.datasets.synthetic import samples, write_synthetic


@pytest.fixture(scope="session")
def _sound(nersemble_format, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("nersemble") / "393"
    nersemble_format.Author(folder).write()
    return folder


@pytest.fixture
def author(nersemble_format, _sound, tmp_path) -> Any:
    """A sound person at ``D/nersemble/mono_flame_avatar/393`` and what can be done to it."""
    folder = tmp_path / "D" / "nersemble" / "mono_flame_avatar" / "393"
    shutil.copytree(_sound, folder)
    return nersemble_format.Author(folder)


@pytest.fixture
def short(nersemble_format, _sound, tmp_path) -> Any:
    """The same person with 5 of the 18 training sequences, for tests that need no more."""
    folder = tmp_path / "D" / "nersemble" / "mono_flame_avatar" / "393"
    kept = ("EXP-1-head", "EXP-2-eyes", "EXP-3-cheeks+nose", "EXP-9-jaw-2", "EMO-4-disgust+happy")
    left_out = {name for name in nersemble_format.TRAIN if name not in kept}
    shutil.copytree(_sound, folder, ignore=lambda place, names: left_out & {*names})
    return nersemble_format.Author(folder)


@pytest.fixture(scope="session")
def synthetic(tmp_path_factory) -> Path:
    """A data root with a synthetic participant of 22 frames, one per sequence, and the same performance as INSTA."""

    def make(root: Path) -> None:
        samples.nersemble(root)
        write_synthetic(root, "insta", 1, 22, samples.SIZE, 3, lambda line: None, workers=1, orbit=1)

    return once(tmp_path_factory, "synthetic-participant", make)
