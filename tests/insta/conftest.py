"""A subject in INSTA layout that tests damage."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType
from typing import Any

import pytest


@pytest.fixture
def author(insta_format: ModuleType, tmp_path: Path) -> Any:
    """A sound subject at ``D/insta/someone`` and what can be done to it."""
    made = insta_format.Author(tmp_path / "D" / "insta" / "someone")
    made.write()
    return made
