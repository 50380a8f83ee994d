"""A page without a browser that looks at a viewer, acknowledges pictures and moves on: for measurements and tests.

`python -P -m headbench.viewer.loop_page URL SECONDS SIZE` is one, in a process of its own as a browser is.
"""

from __future__ import annotations

import json
import math
import sys
import time
from typing import Any

import msgspec
import numpy as np
import viser
import zstandard
from viser import transforms
from websockets.sync.client import connect
from websockets.typing import Subprotocol

__all__ = ["LoopbackPage"]

_STILL = 1
"""Number of pictures that the page takes before it moves: it says once that it stands where it was told to."""
_WARM = 2.0
"""Seconds before the measurement, for kernels that are compiled and graphs that are recorded."""
_PATIENCE = 60.0
"""Seconds to wait for a picture."""


class LoopbackPage:
    """A page: it stands where it is told to, then swings around what it looks at, and counts pictures.

    Args:
        socket: connection to the viewer.
        size: width and height of its canvas in pixels.
    """

    def __init__(self, socket: Any, size: int) -> None:
        self._socket, self._size = socket, size
        self._told = {"position": (0.0, 0.0, 1.0), "look_at": (0.0, 0.0, 0.0), "up": (0.0, 1.0, 0.0)}
        self._fov = 0.5
        self.frames = self.bytes = self._moves = 0
        self.tell()

    def take(self, packet: bytes) -> None:
        """Do what the messages of a packet ask for."""
        compressed = int.from_bytes(packet[8:16], "little")
        content = msgspec.msgpack.decode(zstandard.ZstdDecompressor().decompress(packet[16 : 16 + compressed]))
        for message in content["messages"]:
            self._handle(message)

    def _handle(self, message: dict[str, Any]) -> None:
        kind = message["type"]
        if kind == "LocalStorageGetItemRequestMessage":
            answer = {"value": None, "error": None, "request_uuid": message["request_uuid"]}
            self._send("LocalStorageGetItemResponseMessage", **answer)
        elif kind == "BackgroundImageMessage" and message["rgb_data"] is not None:
            self.frames, self.bytes = self.frames + 1, self.bytes + len(message["rgb_data"])
            self._moves += 1
            self.tell()
        elif kind in ("SetCameraPositionMessage", "SetCameraUpDirectionMessage"):
            self._told["position" if "Position" in kind else "up"] = message["position"]
        elif kind == "SetCameraLookAtMessage":
            self._told["look_at"] = message["look_at"]
        elif kind == "SetCameraFovMessage":
            self._fov = message["fov"]

    def tell(self) -> None:
        """Tell the viewer where the page's camera stands: as it was told for some pictures, then from side to side."""
        centre, up = np.array(self._told["look_at"]), np.array(self._told["up"])
        angle = 0.3 * math.sin(max(self._moves - _STILL, 0) / 10)
        turn = transforms.SO3.exp(angle * up / np.linalg.norm(up))
        position = centre + turn @ (np.array(self._told["position"]) - centre)
        forward = (centre - position) / max(float(np.linalg.norm(centre - position)), 1e-9)
        right = np.cross(forward, up) / np.linalg.norm(np.cross(forward, up))
        rotation = transforms.SO3.from_matrix(np.stack([right, np.cross(forward, right), forward], axis=1))
        self._send(
            "ViewerCameraMessage",
            wxyz=rotation.wxyz.tolist(),
            position=position.tolist(),
            fov=self._fov,
            near=0.01,
            far=100.0,
            image_height=self._size,
            image_width=self._size,
            look_at=centre.tolist(),
            up_direction=up.tolist(),
        )

    def _send(self, kind: str, **fields: Any) -> None:
        self._socket.send(msgspec.msgpack.encode({"type": kind, **fields}))


def _looked(url: str, seconds: float, size: int) -> dict[str, float]:
    """Look at a viewer for a while."""
    protocol = Subprotocol(f"viser-v{viser.__version__}")
    with connect(url.replace("http://", "ws://"), subprotocols=[protocol], max_size=None, compression=None) as socket:
        page = LoopbackPage(socket, size)
        while page.frames <= _STILL:
            page.take(socket.recv(timeout=_PATIENCE, decode=False))
        begun = time.monotonic() + _WARM
        while time.monotonic() < begun + seconds:
            if time.monotonic() < begun:
                page.frames = page.bytes = 0
            page.take(socket.recv(timeout=_PATIENCE, decode=False))
        return {"frames": page.frames, "seconds": seconds, "kilobytes": page.bytes / max(page.frames, 1) / 1000}


if __name__ == "__main__":
    sys.stdout.write(json.dumps(_looked(sys.argv[1], float(sys.argv[2]), int(sys.argv[3]))))
