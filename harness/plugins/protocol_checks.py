"""Checks of registered protocols: the spec at registration, and its files when they are loaded."""

from __future__ import annotations

import re
from importlib import resources
from pathlib import Path
from typing import Any

from headbench.harness.errors import BenchError, PluginError
from headbench.harness.plugins.checks import HELP
from headbench.harness.plugins.loading import guarded, load_target
from headbench.harness.plugins.specs import ProtocolSpec
from headbench.harness.problems import Problem

__all__ = ["protocol_faults", "protocol_files", "protocols_of"]

_NAME = re.compile(r"[a-z0-9][a-z0-9-]*")
_FILE = re.compile(r"[\w.]+:(?:[\w-]+/)*([a-z0-9-]+)@([1-9][0-9]{0,5})\.yaml")
_READ = "headbench.metrics.protocol.load:read_protocol"


def protocol_faults(spec: ProtocolSpec) -> list[str]:
    """Faults of a protocol's spec besides its target."""
    if not _NAME.fullmatch(spec.name):
        return [f"name {spec.name!r} must be lower-case letters, digits and -, without a version"]
    if not isinstance(spec.files, tuple) or not spec.files:
        return [f"files must be a tuple of package:{spec.name}@1.yaml, got {spec.files!r}"]
    parts = [_FILE.fullmatch(each) if isinstance(each, str) else None for each in spec.files]
    wrong = [each for each, match in zip(spec.files, parts, strict=True) if match is None or match[1] != spec.name]
    return [f"file {each!r} must read package:{spec.name}@VERSION.yaml" for each in wrong]


def protocol_files(spec: ProtocolSpec) -> dict[str, str]:
    """Label of each version, ``name@version`` -> ``package:path`` of its file."""
    return {each.rpartition(":")[2].rpartition("/")[2].removesuffix(".yaml"): each for each in spec.files}


def protocols_of(spec: ProtocolSpec, plugin: str) -> tuple[Any, ...]:
    """Load all versions of a protocol, and check them.

    Args:
        spec: the registered spec.
        plugin: name of the plugin that registered it, for messages.

    Raises:
        PluginError: a file is missing or no protocol of its name and version.
    """
    read: Any = load_target(_READ)
    found = []
    for label, place in protocol_files(spec).items():

        def load(place: str = place) -> Any:
            try:
                return read(resource_path(place))
            except BenchError as error:
                return error

        made = guarded(plugin, f"protocol {label}: reading {place}", load)
        if isinstance(made, Problem):
            raise PluginError(made.text(), help=HELP)
        if isinstance(made, BenchError):
            raise PluginError(f"{plugin}: protocol {label}: {made.args[0]}", help=made.help or HELP)
        found.append(made)
    return tuple(found)


def resource_path(place: str) -> Path:
    """File of a package's data, ``package:path``."""
    package, _, path = place.partition(":")
    return Path(str(resources.files(package).joinpath(path)))
