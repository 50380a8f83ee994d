"""The viewer's server: pages of browsers, each with controls of its own, and one thread that renders for all."""

from __future__ import annotations

import contextlib
import io
import threading
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from headbench.harness.errors import BenchError
from headbench.harness.names import one_line
from headbench.viewer.client import Client
from headbench.viewer.client_camera import placed
from headbench.viewer.client_look import Look
from headbench.viewer.controls import Controls
from headbench.viewer.loop import RenderLoop
from headbench.viewer.loop_picture import Painter
from headbench.viewer.loop_timing import Times
from headbench.viewer.server_address import Address, viser_module
from headbench.viewer.server_avatars import Shown, Timeline
from headbench.viewer.server_border import Border
from headbench.viewer.server_origin import foreign, headers_of, refuse_blind
from headbench.viewer.server_page import ViserPage, camera_of

if TYPE_CHECKING:
    import viser

__all__ = ["Viewer"]

_RESIZED = 0.02
"""Part by which the proportions of a page change where its window has another size."""
_REFRESH = 0.4
"""Seconds between two looks at what a page should say."""


@dataclass
class _Guest:
    """A page with its controls and its client."""

    page: ViserPage
    client: Client
    border: Border
    controls: Controls | None = None

    def refresh(self) -> None:
        """Show what changed by itself."""
        self.border.refresh()
        if self.controls is not None:
            self.controls.refresh()


class Viewer:
    """Shows avatars to the browsers that come to its address, until it is stopped.

    Args:
        avatars: that are shown; the first one first.
        timeline: frames that pose them.
        address: where it is served; a port of 0 becomes a free one.
        longest: limit of the longer side of a picture in pixels.

    Raises:
        BenchError: viser is not installed, or the port is in use.
    """

    def __init__(self, avatars: Sequence[Shown], timeline: Timeline, address: Address, longest: int = 1024) -> None:
        self._painter = Painter(avatars, timeline, longest)
        self._centre = avatars[0].centre.double().numpy()
        self._guests: dict[int, _Guest] = {}
        self._lock = threading.Lock()
        self._loop = RenderLoop(self._painter, self._tell)
        self._stopping = threading.Event()
        self._server = _served(address)
        self.address = Address(address.host, self._server.get_port())
        self._ticker = threading.Thread(target=self._tick, name="viewer-refresh", daemon=True)
        self._welcome()
        self._loop.start()
        self._ticker.start()

    def wait(self) -> None:
        """Wait until rendering ends by a fault, which is raised.

        Raises:
            KeyboardInterrupt: the user ended it.
        """
        while not self._loop.ended.wait(timeout=1.0):
            pass
        if self._loop.failure is not None:
            raise self._loop.failure

    def stop(self) -> None:
        """Let all pages go and free the port."""
        self._stopping.set()
        self._loop.stop()
        with self._lock:
            guests = list(self._guests.values())
        for guest in guests:
            self._loop.remove(guest.client)
        with contextlib.redirect_stdout(io.StringIO()):
            self._server.stop()

    def clients(self) -> list[Client]:
        """Clients of the pages that are open."""
        with self._lock:
            return [guest.client for guest in self._guests.values()]

    def last(self) -> tuple[tuple[int, int], Times]:
        """Width and height of the picture that was sent last, and the typical times of those of this size."""
        return self._loop.size, self._loop.times()

    def _welcome(self) -> None:
        """Set the first view of pages, and serve those that come."""
        server = self._server
        server.scene.set_up_direction("+y")
        # A page shows pictures and a box that nobody sees: lights and shadows would stop it for seconds without a GPU.
        server.scene.configure_default_lights(enabled=False, cast_shadow=False)
        server.scene.configure_environment_map(None)
        first = placed(self._painter.timeline.poses[0][0].camera, self._centre, 1.0)
        camera = server.initial_camera
        camera.up, camera.position, camera.look_at = first.up, first.position, first.look_at
        camera.fov = first.fov
        server.on_client_connect(self._come)
        server.on_client_disconnect(self._go)

    def _come(self, handle: viser.ClientHandle) -> None:
        if foreign(headers_of(self._server, handle.client_id), self.address):
            return  # It gets no controls and no pictures.
        seen = camera_of(handle.camera)
        if seen is None:
            return
        page = ViserPage(handle)
        client = Client(Look(seen), page, self._loop.wake)
        guest = _Guest(page, client, Border(handle, client))

        def look_through() -> None:
            self._look_through(guest)

        async def moved(camera: viser.CameraHandle) -> None:
            self._moved(guest, camera)

        # Before the controls, beside which the picture becomes narrower.
        handle.camera.on_update(moved)
        guest.controls = Controls(page, guest.client, self._painter, look_through, self._loop.ask)
        with self._lock:
            self._guests[handle.client_id] = guest
        threading.Thread(target=guest.client.follow, name="viewer-follow", daemon=True).start()
        look_through()
        self._loop.add(guest.client)
        if handle.client_id not in self._server.get_clients():
            self._go(handle)  # It went while its controls were made.

    def _go(self, handle: viser.ClientHandle) -> None:
        with self._lock:
            guest = self._guests.pop(handle.client_id, None)
        if guest is not None:
            self._loop.remove(guest.client)
            if guest.controls is not None:
                guest.controls.close()

    def _moved(self, guest: _Guest, camera: viser.CameraHandle) -> None:
        """Take a page's camera; one that looks through the frame's own lets go of it when the person moves it."""
        seen, before = camera_of(camera), guest.client.look
        if seen is None:
            return
        # A slow browser changes the number of pixels by itself; other proportions come from the window.
        resized = abs(seen.width * before.camera.height / (seen.height * before.camera.width) - 1) > _RESIZED
        free = not before.exact or (guest.page.moved(seen) and not resized)
        guest.client.change(camera=seen, through=not free and before.through)
        guest.border.refresh()
        if resized and before.exact:
            self._look_through(guest)

    def _look_through(self, guest: _Guest) -> None:
        """Place a page's camera where the camera of its frame stands."""
        guest.client.change(through=True)
        look = guest.client.look
        camera = self._painter.timeline.poses[look.avatar][look.frame].camera
        guest.page.place(placed(camera, self._centre, look.camera.width / look.camera.height))

    def _tick(self) -> None:
        """Keep what pages say up to date."""
        while not self._stopping.wait(_REFRESH):
            with self._lock:
                guests = list(self._guests.values())
            for guest in guests:
                try:
                    guest.refresh()
                except Exception as error:
                    # A page that has just gone may refuse anything; a fault of ours ends the viewer with its report.
                    if guest.client in self.clients():
                        self._loop.end(error)

    def _tell(self, client: Client, sentence: str) -> None:
        """Say on a page why there is no picture."""
        with self._lock:
            pages = [guest.page for guest in self._guests.values() if guest.client is client]
        for page in pages:
            page.handle.add_notification("No picture", one_line(sentence), auto_close_seconds=10.0, color="red")


def _served(address: Address) -> Any:
    """Start viser's server at an address.

    Raises:
        BenchError: viser is not installed, or the port is in use.
    """
    viser = viser_module()

    class Server(viser.ViserServer):  # type: ignore[misc, name-defined]
        """Server of viser that opens no tunnel to the outside, whatever a page asks for."""

        def request_share_url(self, verbose: bool = True) -> str | None:
            return None

    address.refuse_taken()
    # A page may go while its picture is made.
    warnings.filterwarnings("ignore", message="Queued a .* on a closed connection", category=UserWarning)
    # It prints a panel of its own.
    with contextlib.redirect_stdout(io.StringIO()):
        server = Server(host=address.host, port=address.port, verbose=False)
    found = server.get_port()
    try:
        refuse_blind(server)
    except BenchError:
        server.stop()
        raise
    if address.port and found != address.port:
        server.stop()
        raise BenchError(
            f"port {address.port} of {address.host} was taken while the viewer started.",
            help="--port 0 takes a free one",
        )
    return server
