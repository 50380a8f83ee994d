"""The render loop: one thread that serves all clients in turn, each with the latest of what it looks at."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future

from headbench.harness.errors import BenchError
from headbench.viewer.client import Client
from headbench.viewer.client_look import Look
from headbench.viewer.loop_picture import Painter, Picture
from headbench.viewer.loop_timing import Times

__all__ = ["RenderLoop"]

_RECENT = 500
"""Number of pictures of which the typical times are told."""


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
        self._asked: deque[tuple[Look, Future[Picture]]] = deque()
        self._open = True
        self._thread = threading.Thread(target=self._run, name="viewer-render", daemon=True)
        self.failure: BaseException | None = None
        """What ended the loop, where it was no request of ours."""
        self.size = (0, 0)
        """Width and height of the picture that was sent last."""
        self._recent: deque[Times] = deque(maxlen=_RECENT)
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
        self._give_up()

    def end(self, failure: BaseException) -> None:
        """End because of a fault."""
        self.failure, self._open = failure, False
        self.ended.set()
        self.wake()

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

    def ask(self, look: Look) -> Future[Picture]:
        """Have one picture of full size made, in turn with those of the clients, such as for a video that is saved.

        Its error is a BenchError where it cannot be made, or the loop has ended.

        Args:
            look: what it shows.
        """
        asked: Future[Picture] = Future()
        with self._something:
            self._asked.append((look, asked))
        if self._open and not self.ended.is_set():
            self.wake()
        else:
            self._give_up()
        return asked

    def wake(self) -> None:
        """Look again what clients want."""
        with self._something:
            self._woken = True
            self._something.notify_all()

    def times(self) -> Times:
        """Typical times of the last pictures that were sent, all of one size."""
        with self._something:
            return Times.typical(list(self._recent))

    def _run(self) -> None:
        try:
            while self._open:
                served, answered = self._serve(), self._answer()
                if not served and not answered:
                    self._sleep()
        except BaseException as error:
            self.end(error)
        finally:
            self.ended.set()
            self._give_up()

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
                self._note(client.size, client.times)
            return True
        return False

    def _note(self, size: tuple[int, int], times: Times) -> None:
        """Note what a picture took that was sent."""
        with self._something:
            if size != self.size:
                self._recent.clear()
            self.size = size
            self._recent.append(times)

    def _answer(self) -> bool:
        """Make at most one picture that was asked for; whether there was one."""
        with self._something:
            if not self._asked:
                return False
            look, asked = self._asked.popleft()
        try:
            asked.set_result(self._painter.paint(look))
        except BaseException as error:
            asked.set_exception(error)
            if not isinstance(error, BenchError):
                raise
        return True

    def _give_up(self) -> None:
        """Make none of the pictures that were asked for."""
        with self._something:
            left, self._asked = self._asked, deque()
        for _, asked in left:
            asked.set_exception(BenchError("the viewer has ended."))

    def _sleep(self) -> None:
        with self._something:
            waiting = list(self._clients)
        # Not while holding the lock: a client that changes holds its own, and then wants this one to wake us.
        now = time.monotonic()
        soonest = min((client.due(now) for client in waiting), default=1.0)
        with self._something:
            if not self._woken and self._open:
                self._something.wait(soonest)
