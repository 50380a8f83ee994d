"""A subject in INSTA layout that tests damage."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from damage_cases import Kept


@pytest.fixture(scope="session")
def _sound(insta_format: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> Kept:
    folder = tmp_path_factory.mktemp("insta") / "someone"
    insta_format.Author(folder).write()
    return Kept(folder)


@pytest.fixture
def author(insta_format: ModuleType, _sound: Kept, tmp_path: Path) -> Any:
    """A sound subject at ``D/insta/someone`` and what can be done to it."""
    return insta_format.Author(_sound.write(tmp_path / "D" / "insta" / "someone"))
