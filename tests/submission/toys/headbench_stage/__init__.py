"""A synthetic dataset with a benchmark, and portraits that are drawn rather than trained."""

from headbench.harness.plugins import DatasetSpec, MethodSpec, hookimpl


@hookimpl
def register_datasets(register):
    register(DatasetSpec("stage", "headbench_stage.stage:Stage"))
    register(DatasetSpec("backstage", "headbench_stage.stage:Backstage"))


@hookimpl
def register_methods(register):
    presets = {"demo": "headbench_stage:demo.yaml"}
    for name in ("Puppet", "Torn", "Slow"):
        register(MethodSpec(name, f"headbench_stage.puppet:{name}", presets, "demo"))
    register(MethodSpec("Still", "headbench_stage.puppet:Still", presets, "demo", baseline=True))
