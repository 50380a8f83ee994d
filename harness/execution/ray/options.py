"""Options of the executor `ray`."""

from __future__ import annotations

import ipaddress
import re
from typing import Annotated, Any

from pydantic import BeforeValidator, Field, field_validator

from headbench.harness.execution.executor import ExecutorOptions

__all__ = ["RayOptions"]


def _range(value: Any) -> Any:
    """First and last port of LOW-HIGH."""
    if not isinstance(value, str):
        return value
    found = re.fullmatch(r"\s*(\d{1,5})\s*-\s*(\d{1,5})\s*", value)
    if found is None:
        raise ValueError("expected LOW-HIGH, such as 24000-25999")
    return int(found[1]), int(found[2])


class RayOptions(ExecutorOptions):
    """Options of the executor `ray`: which cluster, what each cell asks for, and where a cluster of our own listens."""

    address: str | None = None
    """HOST:PORT of a running cluster, of which this machine is a node; None: a cluster of this machine alone, which
    starts and ends with the run. ``RAY_ADDRESS`` and clusters that happen to run here are never joined unasked."""
    cpus: int | None = Field(default=None, ge=1)
    """Cores per cell, which has as many threads unless --threads says otherwise or it was begun with others; None: 4,
    or all that the largest node has."""
    gpus: float | None = Field(default=None, gt=0, le=1)
    """Part of a GPU per cell, such as 0.25 for four cells on one; None: a whole one where --device is cuda."""
    throttle: int | None = Field(default=None, ge=1)
    """Largest number of cells that are with Ray at once; None: no such limit."""
    retries: int = Field(default=10, ge=0)
    """How often a cell goes on elsewhere after its node or the Ray worker that watches it was lost."""
    host: str = "127.0.0.1"
    """IPv4 address of this machine on which a cluster of our own listens; by default other machines cannot reach it."""
    ports: Annotated[tuple[int, int], BeforeValidator(_range)] = (24000, 25999)
    """First and last port of the range in which a cluster of our own takes its ports, LOW-HIGH."""

    @field_validator("address")
    @classmethod
    def _host_and_port(cls, address: str | None) -> str | None:
        if address is None:
            return None
        host, _, port = address.rpartition(":")
        if "://" in address or not host or not port.isdecimal() or not 0 < int(port) < 65536:
            raise ValueError("expected HOST:PORT, as `ray start --head` prints it, such as 10.0.0.5:6379")
        return address

    @field_validator("host")
    @classmethod
    def _is_ip(cls, host: str) -> str:
        try:
            return str(ipaddress.IPv4Address(host))
        except ValueError:
            raise ValueError("expected an IPv4 address of this machine, such as 127.0.0.1") from None

    @field_validator("ports")
    @classmethod
    def _ordered(cls, ports: tuple[int, int]) -> tuple[int, int]:
        if not 1024 <= ports[0] < ports[1] <= 65535:
            raise ValueError("expected LOW-HIGH with 1024 <= LOW < HIGH <= 65535")
        return ports
