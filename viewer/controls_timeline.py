"""Timeline of a page: the frame that is shown, playing, and keys."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from headbench.viewer.client import Client
from headbench.viewer.controls_listen import listen, put

if TYPE_CHECKING:
    import viser

    from headbench.viewer.server_avatars import Timeline

__all__ = ["FPS", "TimelineControls"]

FPS = 25.0
"""Frames per second of a timeline at speed 1."""
SPEEDS = ("0.25", "0.5", "1", "2", "4")


class TimelineControls:
    """Frame, play, speed and loop; the arrow keys step, the space bar plays.

    Args:
        gui: where they stand.
        client: what they change.
        timeline: the frames.
        look_through: is called where another frame is shown, whose camera may stand elsewhere.
    """

    def __init__(self, gui: viser.GuiApi, client: Client, timeline: Timeline, look_through: Callable[[], None]) -> None:
        self._client, self._timeline, self._look_through = client, timeline, look_through
        last = len(timeline.ids) - 1
        with gui.add_folder("Timeline", visible=last > 0):
            self._frame = gui.add_slider("frame", 0, max(last, 1), 1, 0)
            self._name = gui.add_text("", self._said(0), disabled=True)
            self._play = gui.add_button("Play", hint="Space bar; arrow keys step.")
            self._speed = gui.add_dropdown("speed", SPEEDS, initial_value="1")
            self._loop = gui.add_checkbox("loop", True)
        self._stood = 0
        listen(self._frame, self.go)
        listen(self._play, lambda value: self.toggle())
        for handle in (self._speed, self._loop):
            listen(handle, lambda value: self._again())
        for label, key, act in (
            ("Next frame", "arrowright", lambda: self.step(1)),
            ("Previous frame", "arrowleft", lambda: self.step(-1)),
            ("Play or pause", "space", self.toggle),
        ):
            command = gui.add_command(label, hotkey=key)  # type: ignore[arg-type]  # of viser's literals

            async def heard(event: object, act: Callable[[], None] = act) -> None:
                act()

            command.on_trigger(heard)

    def go(self, frame: int) -> None:
        """Show a frame as it was tracked."""
        self._client.stop()
        self._client.change(frame=int(frame), values={})

    def step(self, by: int) -> None:
        """Show a frame further on; beyond the last is the first again."""
        self.go((self._client.look.frame + by) % len(self._timeline.ids))

    def toggle(self) -> None:
        """Play, or pause."""
        if self._client.play is not None:
            self._client.stop()
        elif len(self._timeline.ids) > 1:
            self._start()
        self.refresh()

    def refresh(self) -> None:
        """Show the present frame."""
        frame, playing = self._client.look.frame, self._client.play is not None
        put(self._frame, frame)
        put(self._name, self._said(frame))
        self._play.label = "Pause" if playing else "Play"
        if not playing and frame != self._stood:
            self._stood = frame
            if self._client.look.exact:
                self._look_through()

    def _start(self) -> None:
        self._client.start(FPS * float(self._speed.value), len(self._timeline.ids), self._loop.value)

    def _again(self) -> None:
        if self._client.play is not None:
            self._start()

    def _said(self, frame: int) -> str:
        return f"{self._timeline.splits[frame]} {self._timeline.ids[frame]}"
