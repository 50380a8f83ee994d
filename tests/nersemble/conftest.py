"""A person of the NeRSemble benchmark, written by hand, that tests may damage."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from damage_cases import Kept
from discs import thin_hair
from isolation import once

from headbench.datasets.synthetic import samples, write_synthetic


@pytest.fixture(scope="session")
def _sound(nersemble_format, tmp_path_factory) -> Kept:
    folder = tmp_path_factory.mktemp("nersemble") / "393"
    nersemble_format.Author(folder).write()
    return Kept(folder)


@pytest.fixture
def author(nersemble_format, _sound, tmp_path) -> Any:
    """A sound person at ``D/nersemble/mono_flame_avatar/393`` and what can be done to it."""
    return nersemble_format.Author(_sound.write(tmp_path / "D" / "nersemble" / "mono_flame_avatar" / "393"))


@pytest.fixture
def short(nersemble_format, _sound, tmp_path) -> Any:
    """The same person with 5 of the 18 training sequences, for tests that need no more."""
    kept = ("EXP-1-head", "EXP-2-eyes", "EXP-3-cheeks+nose", "EXP-9-jaw-2", "EMO-4-disgust+happy")
    left_out = "|".join(re.escape(name) for name in nersemble_format.TRAIN if name not in kept)
    folder = tmp_path / "D" / "nersemble" / "mono_flame_avatar" / "393"
    return nersemble_format.Author(_sound.write(folder, rf"sequences/({left_out})(/|$)"))


@pytest.fixture(scope="session")
def synthetic(tmp_path_factory) -> Path:
    """A data root with a synthetic participant of 22 frames, one per sequence, and the same performance as INSTA."""

    def make(root: Path) -> None:
        samples.nersemble(root)
        with thin_hair():  # as the samples
            write_synthetic(root, "insta", 1, 22, samples.SIZE, 3, lambda line: None, workers=1, orbit=1)

    return once(tmp_path_factory, "synthetic-participant", make)
