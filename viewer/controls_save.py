"""Saving from a page: a still, a video of the timeline, a camera path, as downloads of the person who looks."""

from __future__ import annotations

import tempfile
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from headbench.harness.errors import BenchError
from headbench.harness.names import one_line, safe_name
from headbench.harness.reading import read_bytes
from headbench.viewer.client import Client
from headbench.viewer.client_look import Look
from headbench.viewer.controls_listen import listen
from headbench.viewer.controls_timeline import FPS
from headbench.viewer.paths import CameraPath, Key, key_of, write_path
from headbench.viewer.pictures import Rgb8
from headbench.viewer.saving import save_still, save_video

if TYPE_CHECKING:
    import viser

    from headbench.viewer.loop_picture import Painter, Picture

__all__ = ["SaveControls"]

_PATIENCE = 600.0
"""Seconds that one picture of full size may take, behind those of other pages."""
_LARGEST = 2**31
"""Limit of a file that is sent to a page in bytes."""
_PAUSE = 2.0
"""Default time between two keys of a camera path in seconds."""


class SaveControls:
    """Buttons that save what a page looks at. Files go to the page, and none stays on the server.

    Pictures are made in turn with those of all pages, so nobody waits for a video to be finished.

    Args:
        handle: the page, which gets the files.
        client: what it looks at.
        painter: knows cameras, poses and the timeline.
        ask: has a picture of full size made.
    """

    def __init__(
        self, handle: viser.ClientHandle, client: Client, painter: Painter, ask: Callable[[Look], Future[Picture]]
    ) -> None:
        self._handle, self._client, self._painter, self._ask = handle, client, painter, ask
        self._keys: list[Key] = []
        self._size = (0, 0)
        self._busy, self._stopped = threading.Lock(), threading.Event()
        self._filming = False
        gui, frames = handle.gui, len(painter.timeline.ids)
        with gui.add_folder("Save", expand_by_default=False):
            still = gui.add_button("Still", hint="PNG of what is shown, at full size")
            self._film = gui.add_button("Video", hint="MP4 of the timeline", visible=frames > 1)
            self._pause = gui.add_number("seconds to key", _PAUSE, min=0.04, max=600.0, step=0.02)
            add = gui.add_button("Add camera key", hint="Camera and pose that are shown, as the path's next key")
            self._save = gui.add_button("Camera path", hint="JSON for bench render --path", disabled=True)
            self._forget = gui.add_button("Forget keys", disabled=True)
            self._said = gui.add_markdown("")
        listen(still, lambda value: self._begin(self._still))
        listen(self._film, lambda value: self._toggle())
        listen(add, lambda value: self._add_key())
        listen(self._save, lambda value: self._begin(self._path))
        listen(self._forget, lambda value: self._forget_keys())

    def close(self) -> None:
        """Give up what is being saved; the page is gone."""
        self._stopped.set()

    def _begin(self, work: Callable[[Path], Path]) -> None:
        """Save in a thread of its own, unless something is being saved, which is said then."""
        if not self._busy.acquire(blocking=False):
            self._refuse("something is being saved already.")
            return
        self._filming = work == self._video
        self._film.label = "Stop" if self._filming else "Video"
        threading.Thread(target=self._run, args=(work,), name="viewer-save", daemon=True).start()

    def _refuse(self, sentence: str) -> None:
        """Say on the page why nothing was saved."""
        self._handle.add_notification("Not saved", one_line(sentence), auto_close_seconds=10.0, color="red")

    def _run(self, work: Callable[[Path], Path]) -> None:
        """Let `work` write a file into a folder for the moment, and send it."""
        try:
            with tempfile.TemporaryDirectory() as folder:
                file = work(Path(folder))
                if not self._stopped.is_set():
                    self._handle.send_file_download(file.name, read_bytes(file, _LARGEST), save_immediately=True)
        except BenchError as error:
            self._refuse(str(error))
        finally:
            self._said.content, self._film.label, self._filming = "", "Video", False
            self._busy.release()

    def _still(self, folder: Path) -> Path:
        look = self._client.look
        file = folder / f"{self._stem(look)}.png"
        save_still(self._picture(look), file)
        return file

    def _toggle(self) -> None:
        """Begin a video, or stop the one that is being made."""
        if self._filming:
            self._stopped.set()
            return
        self._client.stop()
        self._stopped.clear()
        self._begin(self._video)

    def _video(self, folder: Path) -> Path:
        look, timeline = self._client.look, self._painter.timeline
        # Cameras of one moment are no sequence: the video has the frames of the one that is shown.
        name = timeline.frames[look.frame].camera_id if timeline.frames else timeline.cameras[0]
        frames = timeline.seen_by(name)

        def pictures() -> Iterator[Rgb8]:
            for number, frame in enumerate(frames, start=1):
                if self._stopped.is_set():
                    raise BenchError("the video was stopped.")
                self._said.content = f"frame {number} of {len(frames)}"
                yield self._picture(replace(look, frame=frame))

        file = folder / f"{self._named(look)}.mp4"
        save_video(pictures(), file, FPS)
        return file

    def _path(self, folder: Path) -> Path:
        head = self._painter.avatars[self._client.look.avatar].session.loaded.identity.head
        file = folder / "path.json"
        write_path(CameraPath.of(tuple(self._keys), *self._size, FPS, head), file)
        return file

    def _add_key(self) -> None:
        """Add the camera and the pose that are shown to the path."""
        look = self._client.look
        camera = self._painter.camera(look)
        if not self._keys:
            self._size = (camera.width, camera.height)
        time = self._keys[-1].time + float(self._pause.value) if self._keys else 0.0
        self._keys.append(key_of(camera, time, params=self._painter.pose(look, look.avatar)))
        self._tell_keys()

    def _forget_keys(self) -> None:
        self._keys = []
        self._tell_keys()

    def _tell_keys(self) -> None:
        count = len(self._keys)
        self._save.label = f"Camera path ({count} key{'s' * (count != 1)})" if count else "Camera path"
        self._save.disabled = self._forget.disabled = count == 0

    def _picture(self, look: Look) -> Rgb8:
        """Picture of full size.

        Raises:
            BenchError: it cannot be made, or not in time.
        """
        try:
            return self._ask(look).result(timeout=_PATIENCE).image
        except TimeoutError as error:
            raise BenchError(f"no picture came within {_PATIENCE:g} seconds.") from error

    def _named(self, look: Look) -> str:
        return self._painter.avatars[look.avatar].label.replace("/", "-").replace(" ", "-")

    def _stem(self, look: Look) -> str:
        return safe_name(f"{self._named(look)}-{self._painter.timeline.ids[look.frame]}", "name", "still")
