"""Controls of the head on a page: presets, joints, eyelids and expression."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from headbench.viewer.client import Client
from headbench.viewer.controls_listen import listen, put

if TYPE_CHECKING:
    import viser

    from headbench.viewer.loop_picture import Painter

__all__ = ["PoseControls"]


class PoseControls:
    """Sliders of the head's controls, and its presets.

    Args:
        gui: where they stand.
        client: what they change.
        painter: knows the avatar's controls and the frames' poses.
    """

    def __init__(self, gui: viser.GuiApi, client: Client, painter: Painter) -> None:
        self._client, self._painter = client, painter
        self._sliders: dict[str, Any] = {}
        self._shown: object = None
        posing = painter.avatars[client.look.avatar].posing
        with gui.add_folder("Pose"):
            presets = gui.add_button_group("preset", list(posing.presets))
            listen(presets, self._preset)
            back = gui.add_button("As in the frame", hint="Let go of all controls")
            listen(back, lambda value: client.change(values={}))
            groups = dict.fromkeys(control.group for control in posing.controls)
            for group in groups:
                with gui.add_folder(group, expand_by_default=group == "jaw"):
                    for control in posing.controls:
                        if control.group == group:
                            self._add(gui, control)
        self.refresh()

    def refresh(self) -> None:
        """Let the sliders stand where the pose is, where nothing plays."""
        look = self._client.look
        if self._client.play is not None or self._shown == (look.frame, look.avatar, look.values):
            return
        self._shown = (look.frame, look.avatar, look.values)
        values = self._painter.avatars[look.avatar].posing.values_of(self._painter.pose(look, look.avatar))
        for name, slider in self._sliders.items():
            put(slider, values.get(name, 0.0))

    def _add(self, gui: viser.GuiApi, control: Any) -> None:
        unit = f" ({control.unit})" if control.unit else ""
        slider = gui.add_slider(
            control.name, control.low, control.high, control.step, control.clamped(0.0), hint=control.help + unit
        )
        listen(slider, self._mover(control.name))
        self._sliders[control.name] = slider

    def _mover(self, name: str) -> Callable[[float], None]:
        def move(value: float) -> None:
            self._client.move(name, value)
            self._shown = (self._client.look.frame, self._client.look.avatar, self._client.look.values)

        return move

    def _preset(self, name: str) -> None:
        self._client.stop()
        self._client.change(values=self._painter.avatars[self._client.look.avatar].posing.preset(name))
        self.refresh()
