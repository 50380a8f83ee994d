"""What a render task asks for: views without images in, files out."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple, Protocol

from headbench.harness.types import Camera, HeadParams

__all__ = ["Renderer", "View"]


class View(NamedTuple):
    """One picture to make.

    Example:
        >>> view = View("front", frame.params, frame.camera)
        >>> view.label(), view.camera.width
        ('frame front', 32)
    """

    name: str
    """Frame id, also the file's stem."""
    params: HeadParams
    """B = 1."""
    camera: Camera
    """B = 1; it has the picture's size."""
    place: str = ""
    """What messages call it; empty for ``frame <name>``."""

    def label(self) -> str:
        """What messages call it."""
        return self.place or f"frame {self.name}"


class Renderer(Protocol):
    """Makes pictures of views: a session, or a program that works on files.

    Example:
        >>> renderer: Renderer = open_checkpoint(checkpoint, "cpu")
        >>> renderer.write([View("front", frame.params, frame.camera)], folder, "white")
        >>> [path.name for path in folder.iterdir()]
        ['front.png']
    """

    def about(self) -> Mapping[str, str]:
        """What tells its pictures from those of another renderer of the same weights: back end and device."""
        ...

    def write(
        self, views: Sequence[View], folder: Path, background: str, wrote: Callable[[int, int], None] | None = None
    ) -> None:
        """Write ``<name>.png`` of each view, 8-bit RGB, each file whole or not at all.

        Args:
            views: in the order of writing.
            folder: is made where it is missing.
            background: white, black or green.
            wrote: called with (pictures written, pictures in all).

        Raises:
            BenchError: a picture cannot be made; the message names its view.
        """
        ...
