"""Two stages of a distribution of its own: one changes colours, one works on top of it."""

from headbench.harness.plugins import StageSpec, hookimpl


@hookimpl
def register_stages(register):
    register(
        StageSpec(
            name="tint",
            target="headbench_tints.stages:Tint",
            parents=("train",),
            summary="moves all colours towards one",
            needs=frozenset({"trained"}),
            presets={"red": {"colour": (1.0, 0.0, 0.0)}, "dim": {"colour": (0.0, 0.0, 0.0)}},
            default_preset="dim",
        )
    )
    register(
        StageSpec(
            name="invert",
            target="headbench_tints.stages:Invert",
            parents=("tint", "train"),
            summary="turns colours into their opposites",
            needs=frozenset({"trained"}),
        )
    )
