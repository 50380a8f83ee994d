"""Listening to controls of viser in the order in which a person moves them."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

__all__ = ["listen", "offered", "put"]


def listen(handle: Any, act: Callable[[Any], None]) -> None:
    """Call a function with a control's value when the person at the page changes it, in the order of the changes.

    It runs on the server's event loop, so it must not take long.

    Args:
        handle: control of viser, a button among them.
        act: takes the value.
    """

    # viser runs functions that are no coroutines in a pool of threads, where a later value may overtake an earlier one.
    async def heard(event: Any) -> None:
        # Values that we set ourselves come with no client.
        if event.client is not None and offered(event.target):
            act(event.target.value)

    (handle.on_click if hasattr(handle, "on_click") else handle.on_update)(heard)


def offered(handle: Any) -> bool:
    """Whether a control's value is one that the control offers; a page may send anything."""
    if hasattr(handle, "options"):
        return handle.value in handle.options
    if hasattr(handle, "min") and hasattr(handle, "max"):
        low = -math.inf if handle.min is None else handle.min
        high = math.inf if handle.max is None else handle.max
        return bool(low <= handle.value <= high)
    return True


def put(handle: Any, value: Any) -> None:
    """Let a control show a value; nothing is sent where it shows it already.

    Args:
        handle: control of viser.
        value: of the control's type.
    """
    handle.value = value
