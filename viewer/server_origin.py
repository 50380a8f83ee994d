"""Which pages a viewer serves: its own, and not those of other sites that are open in the same browser."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from headbench.harness.errors import BenchError
from headbench.viewer.server_address import Address

__all__ = ["foreign", "headers_of", "refuse_blind"]

_LOCAL = {"127.0.0.1", "localhost", "::1"}


def foreign(headers: Mapping[str, str], address: Address) -> bool:
    """Whether a connection comes from a page of another site.

    Browsers let every site open connections to this machine, and tell from which site they come. A name that leads to
    this machine by a trick (DNS rebinding) is told as the host.

    Args:
        headers: of the connection's request; programs that are no browsers tell no origin.
        address: where the viewer is served.
    """
    host, origin = headers.get("Host", ""), headers.get("Origin", "")
    if origin and urlsplit(origin).netloc != host:
        return True
    return address.loopback and urlsplit(f"//{host}").hostname not in {*_LOCAL, address.host}


def headers_of(server: Any, client: int) -> Mapping[str, str]:
    """Headers of the request by which a page connected; empty where it has gone."""
    connection = server._websock_server._live_connections.get(client)
    return {} if connection is None or connection.request is None else connection.request.headers


def refuse_blind(server: Any) -> None:
    """Refuse a viser that does not let us look at connections.

    Raises:
        BenchError: it is another version than this was written for.
    """
    if not hasattr(getattr(server, "_websock_server", None), "_live_connections"):
        import viser

        raise BenchError(
            f"viser {viser.__version__} does not tell which site a page is from, so no page would be safe.",
            help="pip install 'viser==1.1.1'",
        )
