"""Frames that a page shows: one subject's truth and renders, as the text that lies inside the page."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any

__all__ = ["BUDGET", "Embed", "Scene", "Source"]

BUDGET = 17_000_000
"""Usual limit of the previews of all scenes in characters of base64: with all else a page is below 25 MB."""


class Embed(StrEnum):
    """How much of the frames lies inside the page."""

    FULL = "full"
    """All frames as they were rendered, without loss."""
    PREVIEW = "preview"
    """Reduced and compressed, as many as the budget of the page allows."""
    NONE = "none"
    """No frames; figures are linked."""


@dataclass(frozen=True)
class Source:
    """What one row of a scene's pictures shows: the ground truth, or a cell's renders."""

    cell: str
    """Path of the cell in the run and stage instance; empty for the ground truth."""
    entry: tuple[str, ...]
    """Method, preset, variant and stage instance; empty for the ground truth."""
    seed: int | None


@dataclass(frozen=True)
class Scene:
    """Pictures of one subject's frames."""

    dataset: str
    subject: str
    views: str
    """Set of views: test, the held-out frames, or all-around."""
    frames: tuple[str, ...]
    """Ids of the frames that have pictures."""
    kind: str
    """Type of the pictures, image/webp or image/png."""
    sources: tuple[Source, ...]
    pictures: tuple[tuple[str | None, ...], ...]
    """Per source and frame the base64 of a picture; None where a render is missing."""

    def plain(self) -> dict[str, Any]:
        """Values for a JSON file."""
        return asdict(self)

    @classmethod
    def of(cls, values: Mapping[str, Any]) -> Scene:
        """Scene of the values that `plain` gave."""
        sources = tuple(Source(each["cell"], tuple(each["entry"]), each["seed"]) for each in values["sources"])
        pictures = tuple(map(tuple, values["pictures"]))
        return cls(**{**values, "frames": tuple(values["frames"]), "sources": sources, "pictures": pictures})
