"""Memory that a process asked for and did not get, by what the exception says of it."""

from __future__ import annotations

import re

__all__ = ["MORE_GPU_MEMORY", "lacking_gpu_memory", "lacking_memory"]

MORE_GPU_MEMORY = "end what else is on that GPU, take a larger one, or a smaller preset"
"""Remedy for a GPU that is full."""

_HOST_MEMORY = re.compile(
    r"DefaultCPUAllocator: (?:can't allocate|not enough) memory(?:: you tried to allocate (\d+) bytes)?"
)
"""Text of the plain RuntimeError by which torch says that the host has no memory left."""
_GPU_MEMORY = re.compile(r"[Tt]ried to allocate ([0-9.]+ [KMGT]?i?B)")
"""Text of torch's error for a GPU\'s memory that says how much was asked for."""


def lacking_gpu_memory(error: BaseException) -> str | None:
    """Say that a GPU had too little memory left; None where an error is of another kind."""
    if type(error).__name__ != "OutOfMemoryError":  # torch's
        return None
    asked = _GPU_MEMORY.search(str(error))
    return f"its GPU had no {asked[1]} left" if asked else "its GPU had no memory left"


def lacking_memory(error: BaseException) -> str | None:
    """Say that the machine had too little memory left; None where an error is of another kind."""
    if isinstance(error, RuntimeError) and (refused := _HOST_MEMORY.search(str(error))):
        return f"the machine had no {refused[1]} bytes left" if refused[1] else "the machine had no memory left"
    if isinstance(error, MemoryError):
        return " ".join(str(error).split()) or "the machine had no memory left"
    return None
