"""A synthetic dataset and methods that go wrong in every way, for the tests of runs."""

from headbench.harness.plugins import DatasetSpec, MethodSpec, hookimpl

TROUBLE = ("Average", "Raises", "Segfaults", "Hangs", "NotANumber", "Exits", "Hungry", "WrongShape", "Noisy")


@hookimpl
def register_datasets(register):
    register(DatasetSpec("discs", "headbench_toys.discs:Discs", provides=frozenset({"mouth"})))


@hookimpl
def register_methods(register):
    presets = {name: f"headbench_toys:{name}.yaml" for name in ("demo", "wide", "read")}
    for name in TROUBLE:
        register(MethodSpec(name, f"headbench_toys.trouble:{name}", presets, "demo", baseline=name == "Average"))
    register(MethodSpec("NeedsBrows", "headbench_toys.trouble:Average", presets, "demo", needs=frozenset({"brows"})))
    register(MethodSpec("NeedsVgg", "headbench_toys.trouble:NeedsVgg", presets, "demo"))
