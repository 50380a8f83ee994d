"""Interface of renderers, which take views without images and write picture files."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple, Protocol

from headbench.harness.types import Camera, HeadParams

__all__ = ["Renderer", "View"]


class View(NamedTuple):
    """One picture to render: its name, the head's pose and the camera.

    Example:
        >>> view = View("front", frame.params, frame.camera)
        >>> view.label(), view.camera.width
        ('frame front', 32)
    """

    name: str
    """Frame id, which is also the stem of the picture's file."""
    params: HeadParams
    """Head parameters, B = 1."""
    camera: Camera
    """Camera, B = 1; it has the picture's size."""
    place: str = ""
    """Name of the view in messages; empty for ``frame <name>``."""

    def label(self) -> str:
        """Name of the view in messages."""
        return self.place or f"frame {self.name}"


class Renderer(Protocol):
    """Renders views to picture files: a session, or a program that works on files.

    Example:
        >>> renderer: Renderer = open_checkpoint(checkpoint, "cpu")
        >>> renderer.write([View("front", frame.params, frame.camera)], folder, "white")
        >>> [path.name for path in folder.iterdir()]
        ['front.png']
    """

    def about(self) -> Mapping[str, str]:
        """Back end and device, which tell its pictures from those of another renderer of the same weights."""
        ...

    def write(
        self,
        views: Sequence[View],
        folder: Path,
        background: str,
        wrote: Callable[[int, int], None] | None = None,
        floats: bool = False,
    ) -> None:
        """Write ``<name>.png`` of each view, 8-bit RGB, each file whole or not at all.

        Args:
            views: in the order of writing.
            folder: is made where it is missing.
            background: white, black or green.
            wrote: called with (pictures written, pictures in all).
            floats: write ``<name>.safetensors`` too, with the picture as half floats that are not clamped.

        Raises:
            BenchError: a picture cannot be made; the message names its view.
        """
        ...
