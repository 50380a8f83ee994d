"""Loading of protocols: built-in ones by name and version, others from their files."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any

from headbench.harness.errors import BenchError, did_you_mean
from headbench.harness.names import quoted
from headbench.harness.reading import Unreadable, parse_json, parse_yaml, read_text
from headbench.harness.validation import validate
from headbench.metrics.protocol.model import Protocol

if TYPE_CHECKING:
    from headbench.harness.plugins import Registry

__all__ = ["load_protocol", "protocol_names", "protocol_path", "read_protocol", "released"]


def _folder() -> Path:
    return Path(str(files("headbench.configs") / "protocols"))


def protocol_names(known: Registry | None = None) -> list[str]:
    """Names of the protocols, built in and of plugins, as ``name@version``, sorted.

    Args:
        known: registry of the plugins; None takes that of this process.

    Example:
        >>> "headbench@1" in protocol_names()
        True
    """
    return sorted({*_built_in(), *_registered(known)})


def protocol_path(name: str, known: Registry | None = None) -> Path:
    """File of a protocol, built in or of a plugin.

    Args:
        name: ``name@version``.
        known: registry of the plugins; None takes that of this process.

    Raises:
        BenchError: there is no such protocol.
    """
    if name in _built_in():
        return _folder() / f"{name}.yaml"
    places = _registered(known)
    if name not in places:
        raise BenchError(did_you_mean("protocol", name, protocol_names(known)), help="bench list protocols")
    from headbench.harness.plugins.protocol_checks import resource_path

    return resource_path(places[name])


def _built_in() -> list[str]:
    return [path.name.removesuffix(".yaml") for path in _folder().glob("*@*.yaml")]


def _registered(known: Registry | None) -> dict[str, str]:
    """Label of each protocol of a plugin -> ``package:path`` of its file."""
    from headbench.harness.plugins import registry
    from headbench.harness.plugins.protocol_checks import protocol_files

    specs = (registry() if known is None else known).protocols().values()
    return {label: place for spec in specs for label, place in protocol_files(spec).items()}


def load_protocol(name: str, known: Registry | None = None) -> Protocol:
    """Load a protocol such as ``headbench@1``, built in or of a plugin, or one from a path that ends in ``.yaml``.

    Args:
        name: ``name@version`` of a protocol, or the path of a file.
        known: registry in which metrics without a field of their own are looked up; None takes that of this process.

    Raises:
        BenchError: there is no such protocol, its file is not valid (the message names the field), or holds other
            values than the protocol that was released under its name and version.

    Example:
        >>> load_protocol("headbench@1").background_rgb
        (1.0, 1.0, 1.0)
    """
    path = Path(name) if name.endswith(".yaml") else protocol_path(name, known)
    protocol = read_protocol(path)
    if protocol.metrics:
        from headbench.metrics.choose import as_chosen

        protocol = as_chosen(protocol, known, path)
    _check_release(protocol, path)
    return protocol


def read_protocol(path: Path) -> Protocol:
    """Read the file of a protocol; whether there are metrics of the names that it has is not asked.

    Raises:
        BenchError: it cannot be read, or is no protocol; the message names the field.
    """
    try:
        values = parse_yaml(read_text(path), path, once=True)
    except Unreadable as error:
        raise BenchError(f"Cannot read protocol {path}: {error.found}.", error.help) from error
    if not isinstance(values, dict):
        raise BenchError(f"{path} is not a protocol: expected a mapping, found {type(values).__name__}.")
    _check_stage(values, path)
    protocol: Protocol = validate(Protocol, values, f"{path} is not a protocol")
    if path.name.count("@") and path.name != f"{protocol.label}.yaml":
        raise BenchError(f"{path} holds protocol {protocol.label}; the file must be called {protocol.label}.yaml.")
    if not protocol.asked():
        raise BenchError(
            f"{path} asks for no metric: expected psnr, ssim, lpips or metrics.", help="bench list metrics"
        )
    return protocol


def released() -> dict[str, str]:
    """Hash of each released protocol by its label, ``name@version``, as it was when it was released.

    Example:
        >>> released()["headbench@1"] == load_protocol("headbench@1").hash
        True
    """
    listing: dict[str, str] = parse_json(read_text(_folder() / "released.json"), _folder() / "released.json")
    return listing


def _check_release(protocol: Protocol, path: Path) -> None:
    """Refuse values other than those that were released under the same name and version, wherever the file lies."""
    known = released().get(protocol.label)
    if known is not None and known != protocol.hash:
        raise BenchError(
            f"{path} holds other values than the released {protocol.label}: expected the hash {known[:12]}…, "
            f"found {protocol.hash[:12]}….",
            help=f"give it a name of its own, or another version: {protocol.name}@{protocol.version + 1}",
        )


def _check_stage(values: Mapping[str, Any], path: Path) -> None:
    """Refuse a protocol that names a stage other than `train`: its scores would stand in another stage's row."""
    stage = values.get("stage", "train")
    if stage != "train":
        raise BenchError(
            f"{path}: stage is {quoted(stage)}, expected train, which means the instance of a stage that is asked for; "
            f"a protocol names no other.",
            help=f"write stage: train into {path.name}; what is shown is for the run to name",
        )
