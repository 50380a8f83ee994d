"""The render loop: one thread that serves all clients in turn, each with the latest of what it looks at."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from headbench.harness.errors import BenchError
from headbench.viewer.client import Client
from headbench.viewer.loop_picture import Painter

__all__ = ["RenderLoop"]


class RenderLoop:
    """Renders for clients in a thread of its own. Nothing is queued: a client says what it wants when it is its turn.

    Args:
        painter: makes the pictures.
        tell: is called with a client and a sentence where no picture can be made of what it looks at.
    """

    def __init__(self, painter: Painter, tell: Callable[[Client, str], None]) -> None:
        self._painter, self._tell = painter, tell
        self._clients: list[Client] = []
        self._something = threading.Condition()
        self._woken = False
        self._open = True
        self._thread = threading.Thread(target=self._run, name="viewer-render", daemon=True)
        self.failure: BaseException | None = None
        """What ended the loop, where it was no request of ours."""
        self.ended = threading.Event()

    def start(self) -> None:
        """Begin to render."""
        self._thread.start()

    def stop(self) -> None:
        """End after the picture that is being made."""
        self._open = False
        self.wake()
        if self._thread.is_alive():
            self._thread.join(timeout=30)

    def add(self, client: Client) -> None:
        """Serve a client from now on."""
        with self._something:
            self._clients.append(client)
        self.wake()

    def remove(self, client: Client) -> None:
        """Serve a client no more."""
        client.close()
        with self._something:
            if client in self._clients:
                self._clients.remove(client)

    def wake(self) -> None:
        """Look again what clients want."""
        with self._something:
            self._woken = True
            self._something.notify_all()

    def _run(self) -> None:
        try:
            while self._open:
                if not self._serve():
                    self._sleep()
        except BaseException as error:
            self.failure = error
        finally:
            self.ended.set()

    def _serve(self) -> bool:
        """Make at most one picture, for the client that has waited for its turn longest; whether one was made."""
        with self._something:
            self._woken = False
            waiting = list(self._clients)
        for client in waiting:
            order = client.order(time.monotonic())
            if order is None:
                continue
            with self._something:
                if client in self._clients:
                    self._clients.remove(client)
                    self._clients.append(client)
            try:
                picture = self._painter.paint(order.look, order.part)
            except BenchError as error:
                client.fail(order)
                self._tell(client, str(error))
            else:
                client.deliver(order, picture)
            return True
        return False

    def _sleep(self) -> None:
        with self._something:
            waiting = list(self._clients)
        # Not while holding the lock: a client that changes holds its own, and then wants this one to wake us.
        now = time.monotonic()
        soonest = min((client.due(now) for client in waiting), default=1.0)
        with self._something:
            if not self._woken and self._open:
                self._something.wait(soonest)
