"""Addresses that a viewer is served at, and what viser needs."""

from __future__ import annotations

import errno
import ipaddress
import socket
from dataclasses import dataclass
from typing import Any

from headbench.harness.errors import BenchError, of_system

__all__ = ["Address", "viser_module"]

_EXTRA = "pip install 'headbench[viewer]'"


@dataclass(frozen=True)
class Address:
    """Host and port of a server."""

    host: str = "127.0.0.1"
    port: int = 8080

    @property
    def url(self) -> str:
        """Address for a browser."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"http://{host}:{self.port}"

    @property
    def loopback(self) -> bool:
        """Whether only this machine reaches it."""
        if self.host == "localhost":
            return True
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return False

    def refuse_taken(self) -> None:
        """Try whether the address can be served at.

        Raises:
            BenchError: another program listens there, or this machine has no such address.
        """
        try:
            found = socket.getaddrinfo(self.host, self.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
            family, kind, protocol, _, place = found[0]
            with socket.socket(family, kind, protocol) as probe:
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                probe.bind(place)
        except socket.gaierror:
            raise BenchError(f"--host {self.host}: no such host is known.", help="--host 127.0.0.1") from None
        except OSError as error:
            raise self._refused(error) from error

    def _refused(self, error: OSError) -> BenchError:
        if error.errno == errno.EADDRINUSE:
            return BenchError(
                f"port {self.port} of {self.host} is in use by another program.", help="--port 0 takes a free one"
            )
        if error.errno == errno.EADDRNOTAVAIL:
            return BenchError(f"--host {self.host}: this machine has no such address.", help="--host 127.0.0.1")
        if error.errno == errno.EACCES:
            return BenchError(f"port {self.port} is for the system's own programs.", help="--port 0 takes a free one")
        return of_system(error, f"{self.host}:{self.port}")


def viser_module() -> Any:
    """The module viser, which serves pages.

    Raises:
        BenchError: it is not installed.
    """
    try:
        import viser
    except ImportError as error:
        raise BenchError("bench view needs the package viser, which is not installed.", help=_EXTRA) from error
    return viser
