"""An avatar with random Gaussians on the open head and its subject; nothing is trained."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

_PATH = Path(__file__).parents[1] / "export" / "conftest.py"
_SPEC = importlib.util.spec_from_file_location("made_for_exports", _PATH)
_MADE = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(_MADE)

made_subject, checkpoint_of = _MADE.made_subject, _MADE.checkpoint_of


@pytest.fixture(scope="session")
def checkpoint(checkpoint_of):
    """Folder of a checkpoint of GaussianAvatars on the open head."""
    return checkpoint_of("GaussianAvatars")


@pytest.fixture(scope="session")
def session(checkpoint):
    """That avatar, opened."""
    from headbench.harness.session import open_checkpoint

    return open_checkpoint(checkpoint, "cpu")
