"""Listening to controls of viser in the order in which a person moves them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

__all__ = ["listen", "put"]


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
        if event.client is not None:
            act(event.target.value)

    (handle.on_click if hasattr(handle, "on_click") else handle.on_update)(heard)


def put(handle: Any, value: Any) -> None:
    """Let a control show a value; nothing is sent where it shows it already.

    Args:
        handle: control of viser.
        value: of the control's type.
    """
    handle.value = value
