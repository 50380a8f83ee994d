"""The metrics of a protocol: looked up in the plugin registry, once each, with their options checked."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from headbench.harness.errors import BenchError, PluginError, did_you_mean
from headbench.harness.names import one_line, quoted
from headbench.harness.plugins.metric_checks import is_taken
from headbench.harness.plugins.specs import MetricSpec
from headbench.harness.validation import validate
from headbench.metrics.keys import field_of, is_key, join_key, split_key

if TYPE_CHECKING:
    from headbench.harness.plugins import Registry
    from headbench.metrics.metric import Metric
    from headbench.metrics.options import MetricOptions
    from headbench.metrics.protocol import Asked, Protocol

__all__ = ["Chosen", "as_chosen", "choose", "find"]


@dataclass(frozen=True)
class Chosen:
    """A metric that a protocol asks for, found in the registry; its class is loaded and not yet instantiated."""

    key: str
    """Name or name/variant, in the spelling of the plugin that registered it."""
    spec: MetricSpec
    variant: str
    plugin: str
    origin: str
    """Distribution and version of the plugin that registered the metric; ``built in`` for this project's own."""
    kind: type[Metric]
    options: MetricOptions


def choose(protocol: Protocol, known: Registry | None = None) -> tuple[Chosen, ...]:
    """Find the metrics that a protocol asks for, in the order of tables, and load their classes.

    Args:
        protocol: names the metrics and their options.
        known: registry in which they are looked up; None takes the registry of this process.

    Raises:
        BenchError: a metric is not registered, is asked for twice, is broken or does not take its options.
    """
    known = _registry(known)
    chosen = []
    for asked, spec, variant in _found(protocol, known, protocol.label):
        kind = known.load_metric(spec.name)
        options = validate(kind.options_type, asked.options, f"{protocol.label}: {asked.where}")
        key = join_key(spec.name, variant)
        chosen.append(Chosen(key, spec, variant, known.owner(spec), known.origin(spec), kind, options))
    return tuple(chosen)


def find(protocol: Protocol, known: Registry | None = None) -> tuple[tuple[str, MetricSpec], ...]:
    """Key and spec of each metric that a protocol asks for, without loading its class.

    Raises:
        BenchError: a metric is not registered or is asked for twice.
    """
    found = _found(protocol, _registry(known), protocol.label)
    return tuple((join_key(spec.name, variant), spec) for _, spec, variant in found)


def as_chosen(protocol: Protocol, known: Registry | None, path: Path) -> Protocol:
    """Protocol with its metrics in canonical form, so that its hash does not depend on how the file spells them.

    `metrics` gets names as they are registered, and checked options without those that have their defaults.

    Args:
        protocol: as it was read.
        known: registry in which metrics are looked up; None takes the registry of this process.
        path: the protocol's file, for messages.

    Raises:
        BenchError: a metric is not registered, is asked for twice, is broken or does not take its options; the message
            names the file.
    """
    known = _registry(known)
    canonical: dict[str, Mapping[str, Any]] = {}
    for asked, spec, variant in _found(protocol, known, str(path)):
        if not asked.where.startswith("metrics."):
            continue
        kind = known.load_metric(spec.name)
        options = validate(kind.options_type, asked.options, f"{path}: {asked.where}")
        canonical[join_key(spec.name, variant)] = options.model_dump(mode="json", exclude_defaults=True)
    return protocol.model_copy(update={"metrics": canonical})


def _registry(known: Registry | None) -> Registry:
    from headbench.harness.plugins import registry

    return registry() if known is None else known


def _found(protocol: Protocol, known: Registry, where: str) -> list[tuple[Asked, MetricSpec, str]]:
    """The metrics that a protocol asks for, each with its registered spec and its variant.

    Raises:
        BenchError: a metric is not registered or is asked for twice; the message begins with `where`.
    """
    found: list[tuple[Asked, MetricSpec, str]] = []
    fields: dict[str, Asked] = {}
    for asked in protocol.asked():
        spec, variant = _look_up(asked, known, where)
        other = fields.setdefault(field_of(join_key(spec.name, variant)).lower(), asked)
        if is_taken(field_of(join_key(spec.name, variant))):
            raise BenchError(
                f"{where}: {one_line(asked.where)} would be a column that every table has; expected another label.",
                help="give it another label behind the slash",
            )
        if other is not asked:
            raise BenchError(
                f"{where}: expected each metric once, found {one_line(other.where)} and {one_line(asked.where)}, "
                f"which are one column.",
                help="leave one of them out",
            )
        found.append((asked, spec, variant))
    return found


def _look_up(asked: Asked, known: Registry, where: str) -> tuple[MetricSpec, str]:
    if not is_key(asked.key):
        raise BenchError(
            f"{where}: {quoted(asked.key)} names no metric: expected name or name/variant.", help="bench list metrics"
        )
    name, variant = split_key(asked.key)
    try:
        spec = known.metric(name)
    except PluginError as error:
        owners = dict.fromkeys(one_line(known.owner(each)) for each in known.metrics().values())
        brings = f"Plugins that bring metrics: {', '.join(owners) or 'none'}."
        raise BenchError(f"{where}: {error.args[0]} {brings}", help="bench list metrics") from error
    if not spec.variants:
        return spec, variant
    same = next((each for each in spec.variants if each.lower() == variant.lower()), "")
    if not same:
        said = did_you_mean(f"variant of metric {spec.name}", variant, spec.variants) if variant else ""
        expected = f"{one_line(asked.where)} names no variant: expected {' or '.join(spec.asked_as())}."
        raise BenchError(f"{where}: {said or expected}", help="bench list metrics")
    return spec, same
