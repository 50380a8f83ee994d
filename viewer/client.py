"""Clients: one per open page, each with what it looks at, what it was shown, and how fast it takes pictures."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Protocol

from headbench.viewer.client_look import Look
from headbench.viewer.loop_picture import QUARTER, Picture
from headbench.viewer.loop_timing import Rate, Times

__all__ = ["AHEAD", "REST", "Client", "Order", "Page", "Play"]

AHEAD = 2
"""Number of pictures that may be on their way to a page: one is shown while the next is made, and none waits."""
REST = 0.25
"""Seconds without a change after which a page gets a picture of full size."""
LOST = 2.0
"""Seconds after which a page that does not acknowledge, such as one in a hidden tab, is sent a picture nevertheless."""


class Page(Protocol):
    """What a client needs of its page in the browser."""

    def show(self, picture: Picture, resting: bool) -> float:
        """Send a picture, and return the milliseconds that its encoding took.

        Args:
            picture: to show.
            resting: whether nothing moves, so that the picture stays.
        """
        ...

    def acknowledged(self) -> None:
        """Wait until the page has taken all that was sent before.

        Raises:
            ConnectionError: the page is gone.
        """
        ...


@dataclass(frozen=True)
class Play:
    """Timeline that plays, by the clock: a slow machine leaves frames out and stays in time."""

    frames: tuple[int, ...]
    """Indices of the frames that play, in their order."""
    start: int
    """Place in `frames` at the beginning."""
    since: float
    """Time of the beginning, seconds of `time.monotonic`."""
    rate: float
    """Frames per second."""
    loop: bool

    def frame(self, now: float) -> int:
        """Index of the frame at a time; the last one stays where it does not loop."""
        place, count = self.start + int((now - self.since) * self.rate), len(self.frames)
        return self.frames[place % count if self.loop else min(place, count - 1)]

    def until_next(self, now: float) -> float:
        """Seconds until the next frame."""
        passed = (now - self.since) * self.rate
        return max((int(passed) + 1 - passed) / self.rate, 0.001)


@dataclass(frozen=True)
class Order:
    """Picture that a page is to get."""

    look: Look
    part: int
    """1 for the full size, `QUARTER` while something moves."""
    version: int


class Client:
    """One page: its state may be changed from any thread; pictures of it are made by one.

    Args:
        look: what it looks at first.
        page: the page itself.
        wake: tells the render thread that something is to be done.
        clock: seconds, as `time.monotonic`.
    """

    def __init__(
        self, look: Look, page: Page, wake: Callable[[], None], clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.page, self.times = page, Times()
        self.rate = Rate()
        """Frames per second that the page takes."""
        self.size = (0, 0)
        """Width and height of the picture that was sent last."""
        self._lock, self._news = threading.RLock(), threading.Condition()
        self._look, self._version, self._changed = look, 1, clock()
        self._shown, self._part = 0, QUARTER
        self._sent = self._taken = 0
        self._sent_at = 0.0
        self._play: Play | None = None
        self._wake, self._clock = wake, clock
        self._open = True

    @property
    def look(self) -> Look:
        """What the page looks at now."""
        with self._lock:
            return self._look

    @property
    def play(self) -> Play | None:
        """The timeline that plays; None where it stands."""
        with self._lock:
            return self._play

    def change(self, **fields: Any) -> None:
        """Change what the page looks at; the latest state is what will be rendered.

        Args:
            fields: of `Look`.
        """
        with self._lock:
            look, before = replace(self._look, **fields), self._look
            self._look = look
            if look == before or look.seen == before.seen:
                return
            self._version, self._changed = self._version + 1, self._clock()
        self._wake()

    def move(self, name: str, value: float | None) -> None:
        """Move a control away from the frame's pose; None: back to it."""
        with self._lock:
            rest = {key: kept for key, kept in self._look.values.items() if key != name}
            self.change(values=rest if value is None else {**rest, name: value})

    def start(self, rate: float, frames: tuple[int, ...], loop: bool) -> None:
        """Play frames, from the present one on where it is among them and not the last of a single turn.

        Args:
            rate: frames per second.
            frames: indices in the timeline.
            loop: whether to begin again at their end.
        """
        with self._lock:
            start = frames.index(self._look.frame) if self._look.frame in frames else 0
            start = 0 if not loop and start == len(frames) - 1 else start
            self._play = Play(frames, start, self._clock(), rate, loop)
            self._look = replace(self._look, values={})
            self._changed = self._clock()
            self._version += 1
        self._wake()

    def stop(self) -> None:
        """Let the timeline stand."""
        with self._lock:
            self._play, self._changed = None, self._clock()
        self._wake()

    def order(self, now: float) -> Order | None:
        """The picture that the page is to get now; None where it has the latest, or enough is on the way."""
        with self._lock:
            self._advance(now)
            if not self._open or (self._sent - self._taken >= AHEAD and now - self._sent_at < LOST):
                return None
            if self._version != self._shown:
                return Order(self._look, QUARTER, self._version)
            if self._part != 1 and self._play is None and now - self._changed >= REST:
                return Order(self._look, 1, self._version)
            return None

    def due(self, now: float) -> float:
        """Seconds until the page may want a picture without anybody's doing."""
        with self._lock:
            if self._play is not None:
                return self._play.until_next(now)
            if self._sent > self._taken:
                return max(self._sent_at + LOST - now, 0.001)
            return max(self._changed + REST - now, 0.001) if self._part != 1 else 1.0

    def deliver(self, order: Order, picture: Picture) -> None:
        """Send a picture that was ordered."""
        encode = self.page.show(picture, order.part == 1)
        with self._lock:
            self._shown, self._part = order.version, order.part
            self._sent, self._sent_at = self._sent + 1, self._clock()
            self.times = replace(picture.times, encode=encode)
            self.size = (picture.image.shape[1], picture.image.shape[0])
        with self._news:
            self._news.notify_all()

    def fail(self, order: Order) -> None:
        """Give an order up, of which no picture can be made."""
        with self._lock:
            self._shown, self._part = order.version, 1

    def follow(self) -> None:
        """Note what the page acknowledges, until it is gone or closed; runs in a thread of its own."""
        while self._wait_for_sent():
            with self._lock:
                sent = self._sent
            try:
                self.page.acknowledged()
            except ConnectionError:
                break
            with self._lock:
                for _ in range(sent - self._taken):
                    self.rate.count(self._clock())
                self._taken = sent
            self._wake()
        self.close()

    def close(self) -> None:
        """Want no more pictures."""
        with self._lock:
            self._open = False
        with self._news:
            self._news.notify_all()

    def frames_per_second(self) -> float:
        """Pictures per second that the page took lately."""
        with self._lock:
            return self.rate.value(self._clock())

    def _wait_for_sent(self) -> bool:
        with self._news:
            self._news.wait_for(lambda: not self._open or self._sent > self._taken)
            return self._open

    def _advance(self, now: float) -> None:
        """Move the timeline on that plays."""
        if self._play is None:
            return
        frame = self._play.frame(now)
        if frame != self._look.frame:
            self._look, self._changed = replace(self._look, frame=frame), now
            self._version += 1
        if not self._play.loop and frame == self._play.frames[-1]:
            self._play = None
