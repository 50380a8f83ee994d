"""Checks of registered metrics: the spec at registration, and the class when it is loaded."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from headbench.harness.errors import PluginError, did_you_mean
from headbench.harness.names import quoted
from headbench.harness.plugins.checks import HELP, NAME, checked_class
from headbench.harness.plugins.loading import load_target
from headbench.harness.plugins.specs import BETTER, SCOPES, MetricSpec, Variant

if TYPE_CHECKING:
    from headbench.metrics import Metric

__all__ = ["is_taken", "metric_class", "metric_faults"]

_TAKEN = frozenset(
    {
        *("run", "protocol", "protocol_hash", "test_time_tracking", "kind", "dataset", "subject", "method", "preset"),
        *("variant", "seeds", "state", "reason", "notes", "stage", "id", "hash", "frames", "sequence"),
        *("train_seconds", "fps", "gaussians", "device"),
    }
)
"""Names of columns of tables and of fields of records, which no metric may have."""
_ENDINGS = ("_std", "_mark", "_ci95_low", "_ci95_high")
"""Endings of columns that tables have beside each metric's."""
_MOST_DIGITS = 12
_INTERFACE = "headbench.metrics.metric:Metric"


def is_taken(field: str) -> bool:
    """Whether no metric may be called `field`: every table has such a column, or it ends as ``psnr_std`` does."""
    return field.lower() in _TAKEN or field.lower().endswith(_ENDINGS)


def metric_faults(spec: MetricSpec) -> list[str]:
    """Faults of a metric's spec besides the forms of its name and target."""
    faults = []
    if isinstance(spec.name, str) and is_taken(spec.name):
        faults.append(f"name {spec.name!r} is taken by a column that every table has")
    for what, value, known in (("scope", spec.scope, SCOPES), ("better", spec.better, BETTER)):
        if value not in known:
            faults.append(did_you_mean(what, str(value), [each or "''" for each in known]))
    if not isinstance(spec.digits, int) or isinstance(spec.digits, bool) or not 0 <= spec.digits <= _MOST_DIGITS:
        faults.append(f"digits {spec.digits!r} must be a number from 0 to {_MOST_DIGITS}")
    if not isinstance(spec.needs, frozenset):
        faults.append(f"needs must be a frozenset of names, got {spec.needs!r}")
    if not isinstance(spec.variants, Mapping):
        return [*faults, f"variants must map names to Variant, got {spec.variants!r}"]
    for name, variant in spec.variants.items():
        if not isinstance(name, str) or not NAME.fullmatch(name):
            faults.append(f"variant {quoted(name)} must be letters, digits, - and _, starting with a letter or digit")
        if not isinstance(variant, Variant) or not isinstance(variant.needs, frozenset):
            faults.append(f"variant {quoted(name)} must be a Variant whose needs are a frozenset, got {variant!r}")
    return faults


def metric_class(spec: MetricSpec, plugin: str) -> type[Metric]:
    """Load the class of a metric, and check it against the interface.

    Args:
        spec: the registered spec.
        plugin: name of the plugin that registered it, for messages.

    Raises:
        PluginError: the class cannot be imported, is no Metric, has no options that refuse unknown names, or does not
            define what its scope asks for.
    """
    loaded = checked_class("metric", spec, plugin, _INTERFACE)
    where, base = f"{plugin}: metric {spec.name}: {spec.target}", load_target(_INTERFACE)
    options = load_target("headbench.metrics.options:MetricOptions")
    found = getattr(loaded, "options_type", None)
    assert isinstance(options, type)
    if not isinstance(found, type) or not issubclass(found, options):
        expected = "a class derived from headbench.metrics.MetricOptions"
        raise PluginError(f"{where}.options_type must be {expected}, got {found!r}", help=HELP)
    needed = (spec.scope, "gather") if spec.scope == "sequence" else (spec.scope,)
    left = [name for name in needed if getattr(loaded, name, None) is getattr(base, name)]
    if left:
        raise PluginError(f"{where} lacks {', '.join(left)}, which scope {spec.scope} asks for", help=HELP)
    return loaded
