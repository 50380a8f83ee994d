"""Metrics of a distribution of its own, one of each scope, for the tests of scores."""

from headbench.harness.plugins import MetricSpec, Variant, hookimpl

METRICS = "headbench_measures.metrics"


@hookimpl
def register_metrics(register):
    register(MetricSpec("shade", f"{METRICS}:Shade", "%", 1, "lower", "Shade", summary="difference of mean brightness"))
    register(
        MetricSpec("flicker", f"{METRICS}:Flicker", better="lower", scope="pair", summary="change beside the truth")
    )
    register(MetricSpec("drift", f"{METRICS}:Drift", better="lower", scope="sequence", summary="brightness over time"))
    register(MetricSpec("lips", f"{METRICS}:Masked", better="lower", needs=frozenset({"mouth"})))
    register(MetricSpec("brows", f"{METRICS}:Masked", better="lower", needs=frozenset({"brows"})))
    register(MetricSpec("face", f"{METRICS}:Face", needs=frozenset({"projection"})))
    register(
        MetricSpec("network", f"{METRICS}:Shade", variants={"a": Variant("Net-A", needs=frozenset({"lpips-alex"}))})
    )
    for name in ("Raises", "WrongShape", "NoNumber", "Endless"):
        register(MetricSpec(name.lower(), f"{METRICS}:{name}"))
