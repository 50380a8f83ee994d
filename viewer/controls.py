"""Controls of one page: what a person may choose there, and what it tells of the pictures."""

from __future__ import annotations

import html
import math
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from typing import TYPE_CHECKING, cast

from headbench.harness.names import one_line
from headbench.viewer.client import Client
from headbench.viewer.client_look import BESIDE, ERROR, NOTHING, SPLIT, TRUTH, Look
from headbench.viewer.controls_listen import listen, put
from headbench.viewer.controls_pose import PoseControls
from headbench.viewer.controls_save import SaveControls
from headbench.viewer.controls_timeline import TimelineControls

if TYPE_CHECKING:
    import viser

    from headbench.viewer.loop_picture import Painter, Picture
    from headbench.viewer.overlay import Kind
    from headbench.viewer.server_page import ViserPage

__all__ = ["FRAME", "FREE", "Controls"]

FRAME, FREE = "the frame's", "free"
"""Names of the cameras that a page may look through."""


class Controls:
    """Controls of one page, which change its client.

    Args:
        page: where they stand.
        client: what they change.
        painter: knows avatars and timeline.
        look_through: places the page's camera where the frame's own stands.
        ask: has a picture of full size made, for what is saved.
    """

    def __init__(
        self,
        page: ViserPage,
        client: Client,
        painter: Painter,
        look_through: Callable[[], None],
        ask: Callable[[Look], Future[Picture]],
    ) -> None:
        self._page, self._client, self._painter = page, client, painter
        self._look_through = look_through
        gui = page.handle.gui
        gui.configure_theme(show_logo=False, show_share_button=False, control_width="large")
        gui.main_panel.dock_right()
        gui.set_panel_label("headbench")
        self._status = gui.add_html("…")
        self._compare(gui)
        self._camera(gui)
        self._timeline = TimelineControls(gui, client, painter.timeline, look_through)
        self._pose = PoseControls(gui, client, painter)
        self._save = SaveControls(page.handle, client, painter, ask)

    def close(self) -> None:
        """Give up what is being saved; the page is gone."""
        self._save.close()

    def refresh(self) -> None:
        """Show what changed by itself: rates, the frame that plays, the pose that the controls stand for."""
        client, look = self._client, self._client.look
        times, (width, height) = client.times, client.size
        # Numbers alone, as HTML: a page compiles Markdown anew for each change.
        text = (
            f"<div style='padding: 0 0.8em'><b>{client.frames_per_second():.0f} frames/s</b> · {width} × {height}<br>"
            f"drive {times.drive:.1f} · raster {times.raster:.1f} · read {times.read:.1f} · "
            f"encode {times.encode:.1f} ms</div>"
        )
        if text != self._status.content:
            self._status.content = text
        put(self._lens, FRAME if look.exact else FREE)
        put(self._fov, min(max(round(math.degrees(look.camera.fov), 1), 5.0), 90.0))
        put(self._border, round(look.border, 3))
        self._tell_overlay(look)
        self._timeline.refresh()
        self._pose.refresh()

    def _compare(self, gui: viser.GuiApi) -> None:
        """Avatars, what they are compared with, and what is drawn over them."""
        labels = [shown.label for shown in self._painter.avatars]
        truth = [TRUTH, ERROR] if self._painter.timeline.frames else []
        with gui.add_folder("Avatar"):
            self._avatar = gui.add_dropdown("avatar", labels, visible=len(labels) > 1)
            others = [NOTHING, *(labels if len(labels) > 1 else []), *truth]
            self._against = gui.add_dropdown("compare with", others, hint="It stands at the right")
            self._layout = gui.add_dropdown("layout", [SPLIT, BESIDE], visible=False)
            self._border = gui.add_slider("border", 0.0, 1.0, 0.005, 0.5, visible=False)
            self._overlay = gui.add_dropdown("overlay", [NOTHING, *self._painter.overlay(0).kinds])
            self._legend = gui.add_html("", visible=False)
            self._background = gui.add_dropdown("background", ["white", "black", "green"])
        listen(self._avatar, lambda value: self._client.change(avatar=labels.index(value)))
        listen(self._against, self._compare_with)
        listen(self._layout, self._lay_out)
        listen(self._border, lambda value: self._client.change(border=value))
        listen(self._overlay, lambda value: self._client.change(overlay=value))
        listen(self._background, lambda value: self._client.change(background=value))

    def _camera(self, gui: viser.GuiApi) -> None:
        """Which camera is looked through, and the field of view."""
        with gui.add_folder("Camera"):
            self._lens = gui.add_dropdown("look through", [FRAME, FREE])
            self._fov = gui.add_slider("field of view", 5.0, 90.0, 0.5, 30.0, hint="Vertical, in degrees")
            reset = gui.add_button("Reset", hint="Look through the frame's own camera")
        listen(self._lens, self._choose_lens)
        listen(self._fov, self._set_fov)
        listen(reset, lambda value: self._look_through())

    def _compare_with(self, value: str) -> None:
        self._client.change(against=value)
        for handle in (self._layout, self._border):
            handle.visible = value != NOTHING
        self._lay_out(self._layout.value)
        if value in (TRUTH, ERROR):
            self._look_through()

    def _lay_out(self, value: str) -> None:
        self._client.change(layout=value)
        self._border.visible = value == SPLIT and self._client.look.against != NOTHING

    def _tell_overlay(self, look: Look) -> None:
        """Say which mesh is drawn, and what the colours of regions mean."""
        text = ""
        if look.overlay != NOTHING:
            labels = [shown.label for shown in self._painter.avatars]
            seen = [look.avatar, *(index for index, label in enumerate(labels) if label == look.against)]
            overlays = [self._painter.overlay(index) for index in seen]
            sentences = dict.fromkeys(overlay.says(cast("Kind", look.overlay)) for overlay in overlays)
            text = _legend(" ".join(sentences), overlays[0].legend if look.overlay == "regions" else {})
        if text != self._legend.content:
            self._legend.content = text
            self._legend.visible = text != ""

    def _choose_lens(self, value: str) -> None:
        if value == FRAME:
            self._look_through()
        else:
            self._client.change(through=False)

    def _set_fov(self, value: float) -> None:
        self._client.change(through=False)
        self._page.handle.camera.fov = math.radians(value)


def _legend(sentence: str, colours: Mapping[str, tuple[int, int, int]]) -> str:
    """HTML of a sentence and of what colours mean.

    Args:
        sentence: plain text.
        colours: name -> RGB from 0 to 255.
    """
    swatches = [
        f"<span style='white-space: nowrap; margin-right: 0.8em'><span style='color: rgb({r}, {g}, {b})'>■</span> "
        f"{html.escape(name.replace('_', ' '))}</span>"
        for name, (r, g, b) in colours.items()
    ]
    lines = "<br>".join([html.escape(one_line(sentence)), *([" ".join(swatches)] if swatches else [])])
    return f"<div style='padding: 0 0.8em; font-size: 0.85em'>{lines}</div>"
