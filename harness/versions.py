"""Versions of installed packages."""

from __future__ import annotations

import functools
import importlib.metadata

__all__ = ["installed_version"]


@functools.cache  # it parses the package's metadata, and this process goes on with what it has imported
def installed_version(package: str) -> str | None:
    """Return the version of a package that is installed; None for one that is not."""
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None
