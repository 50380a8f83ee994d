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
    """Frame, play, speed and loop; the arrow keys step, P plays and pauses.

    Args:
        gui: where they stand.
        client: what they change.
        timeline: the frames.
        look_through: is called where another frame is shown, whose camera may stand elsewhere.
    """

    def __init__(self, gui: viser.GuiApi, client: Client, timeline: Timeline, look_through: Callable[[], None]) -> None:
        self._client, self._timeline, self._look_through = client, timeline, look_through
        self._frames = timeline.seen_by(timeline.cameras[0])
        last = len(self._frames) - 1
        with gui.add_folder("Timeline", visible=len(timeline.ids) > 1):
            self._camera = gui.add_dropdown("camera", timeline.cameras, visible=len(timeline.cameras) > 1)
            self._frame = gui.add_slider("frame", 0, max(last, 1), 1, 0)
            self._name = gui.add_text("", self._said(0), disabled=True)
            self._play = gui.add_button("Play", hint="P; arrow keys step")
            self._speed = gui.add_dropdown("speed", SPEEDS, initial_value="1")
            self._loop = gui.add_checkbox("loop", True)
        self._stood = 0
        listen(self._camera, self._choose_camera)
        listen(self._frame, lambda value: self.go(self._frames[int(value)]))
        listen(self._play, lambda value: self.toggle())
        for handle in (self._speed, self._loop):
            listen(handle, lambda value: self._again())
        # Not the space bar: it also presses the button that has the focus.
        for label, key, act in (
            ("Next frame", "arrowright", lambda: self.step(1)),
            ("Previous frame", "arrowleft", lambda: self.step(-1)),
            ("Play or pause", "P", self.toggle),
        ):
            command = gui.add_command(label, hotkey=key)  # type: ignore[arg-type]  # of viser's literals

            async def heard(event: object, act: Callable[[], None] = act) -> None:
                act()

            command.on_trigger(heard)

    def go(self, frame: int) -> None:
        """Show a frame, by its index in the timeline, as it was tracked."""
        self._client.stop()
        self._client.change(frame=int(frame), values={})

    def step(self, by: int) -> None:
        """Show a frame further on; beyond the last is the first again."""
        self.go(self._frames[(self._place() + by) % len(self._frames)])

    def toggle(self) -> None:
        """Play, or pause."""
        if self._client.play is not None:
            self._client.stop()
        elif len(self._frames) > 1:
            self._start()
        self.refresh()

    def refresh(self) -> None:
        """Show the present frame."""
        frame, playing = self._client.look.frame, self._client.play is not None
        put(self._frame, self._place())
        put(self._name, self._said(frame))
        self._play.label = "Pause" if playing else "Play"
        if not playing and frame != self._stood:
            self._stood = frame
            if self._client.look.exact:
                self._look_through()

    def _start(self) -> None:
        self._client.start(FPS * float(self._speed.value), self._frames, self._loop.value)

    def _again(self) -> None:
        if self._client.play is not None:
            self._start()

    def _place(self) -> int:
        """Place of the present frame among those of its camera."""
        frame = self._client.look.frame
        return self._frames.index(frame) if frame in self._frames else 0

    def _choose_camera(self, name: str) -> None:
        """Show the same moment as another camera saw it, and let the timeline be of that camera's frames."""
        frames = self._timeline.frames
        moment = frames[self._client.look.frame]
        self._frames = self._timeline.seen_by(name)
        self._frame.max = max(len(self._frames) - 1, 1)
        same = [
            k for k in self._frames if (frames[k].sequence, frames[k].timestep) == (moment.sequence, moment.timestep)
        ]
        self.go((same or self._frames)[0])
        self.refresh()

    def _said(self, frame: int) -> str:
        return f"{self._timeline.splits[frame]} {self._timeline.ids[frame]}"
