"""Ask an address whether Ray answers there at all; Ray itself would try for more than a minute."""

from __future__ import annotations

import os
import socket

__all__ = ["answers"]

_WAIT = 5.0
"""Seconds in which an address must take a connection, and say something."""
_HELLO = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes(3) + b"\x04" + bytes(5)
"""Beginning of a connection of HTTP/2, which Ray's services speak (RFC 9113): the preface, and no settings."""
_SETTINGS = 4
"""Type of the frame that a server of HTTP/2 sends first; it is the fourth byte."""


def answers(address: str) -> bool:
    """Return whether a service of Ray's kind answers; with Ray's own TLS, whether anything takes a connection.

    Args:
        address: HOST:PORT.
    """
    host, _, port = address.rpartition(":")
    try:
        with socket.create_connection((host.strip("[]"), int(port)), _WAIT) as line:
            if os.environ.get("RAY_USE_TLS", "0") not in ("0", ""):
                return True
            line.settimeout(_WAIT)
            line.sendall(_HELLO)
            said = b""
            while len(said) < 4 and (more := line.recv(64)):
                said += more
            return len(said) >= 4 and said[3] == _SETTINGS
    except OSError:
        return False
