"""View prior `folder`: pictures that anybody made, with their cameras."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from pydantic import Field

from headbench.harness.avatar import Section
from headbench.harness.errors import BenchError
from headbench.harness.view_prior import PseudoView, ViewPrior, ViewWork
from headbench.stages.complete.storage import read_views

__all__ = ["Folder", "FolderConfig"]


class FolderConfig(Section):
    """Options of the prior `folder`."""

    background: tuple[float, float, float] | None = None
    """Colour in [0, 1] behind pictures without alpha and mask; None takes that of the picture's border."""
    least: int = Field(default=1, ge=1)
    """Least number of views."""


class Folder(ViewPrior):
    """Reads pictures and an INSTA-style ``transforms.json`` from a folder, as `read_views` says."""

    config_type = FolderConfig

    def make(self, work: ViewWork) -> Sequence[PseudoView]:
        """Views of the folder `work.source`.

        Raises:
            BenchError: the folder has no such document, a file is missing or damaged, or there are too few views.
        """

        folder = work.source or Path()
        views = read_views(folder, work.config.background)
        if len(views) < work.config.least:
            raise BenchError(f"{folder}: expected at least {work.config.least} views, found {len(views)}.")
        return views
