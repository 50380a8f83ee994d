"""A distribution of its own: two stages, one on top of the other, a metric, and an executor."""

from headbench.harness.plugins import ExecutorSpec, MetricSpec, StageSpec, hookimpl

NEEDS = frozenset({"trained"})


@hookimpl
def register_stages(register):
    presets = {"red": {"colour": (1.0, 0.0, 0.0)}, "dim": {"colour": (0.0, 0.0, 0.0)}}
    tint = "moves all colours towards one"
    register(StageSpec("tint", "headbench_tints.stages:Tint", ("train",), tint, NEEDS, presets, default_preset="dim"))
    invert = "turns colours into their opposites"
    register(StageSpec("invert", "headbench_tints.stages:Invert", ("tint", "train"), invert, NEEDS))
    # Of which the tests' methods have nothing.
    register(StageSpec("carve", "headbench_tints.stages:Invert", ("train",), "needs a surface", frozenset({"carrier"})))


@hookimpl
def register_metrics(register):
    register(MetricSpec("redness", "headbench_tints.work:Redness", unit="%", digits=2))


@hookimpl
def register_executors(register):
    register(ExecutorSpec("backwards", "headbench_tints.work:Backwards", "begins with the last cell"))
